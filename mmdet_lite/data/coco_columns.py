"""The records of a COCO file, checked for their types, field by field as arrays.

A field of all records is looked at in one go: of 800,000 records, the few that are wrong are
looked for only where there are some. Letters: N images, n annotations, K categories.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np

from mmdet_lite.data.problems import Problems, show

_LARGEST_SIDE = 1_000_000  # pixels
_EXPECTED = "A COCO file is a dict with the lists 'images', 'annotations' and 'categories'."
_NEEDED = {
    "images": "id (int), file_name (text), height and width (int, 1 or more).",
    "categories": "id (int) and name (text).",
    "annotations": "id, image_id, category_id (int) and bbox (4 numbers [x, y, width, height]); "
    "area (a number) and iscrowd (0 or 1) may be there.",
}
_MISSING = object()


@dataclass
class Images:
    """The images of a file.

    Attributes:
        records: N dicts.
        ids: (N,) int64.
        file_names: N names.
        sizes: (N, 2) int64 (height, width).
        listed_ids: int64, of those records too that are not sound otherwise.
    """

    records: list[dict]
    ids: np.ndarray
    file_names: list[str]
    sizes: np.ndarray
    listed_ids: np.ndarray

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """The rows of images with these ids, -1 of unknown ones; the first of those of one id."""
        if not len(self.ids):
            return np.full(len(ids), -1)
        order = np.argsort(self.ids, kind="stable")
        places = np.searchsorted(self.ids, ids, sorter=order).clip(max=len(order) - 1)
        rows = order[places]
        return np.where(self.ids[rows] == ids, rows, -1)


@dataclass
class Categories:
    """The categories of a file: K records, (K,) int64 ids, K names; listed ids as of images."""

    records: list[dict]
    ids: np.ndarray
    names: list[str]
    listed_ids: np.ndarray


@dataclass
class Annotations:
    """The annotations of a file, or some of them.

    Attributes:
        records: n dicts.
        ids, image_ids, category_ids: (n,) int64.
        boxes: (n, 4) float64 xywh, as in the file.
        areas: (n,) float64; NaN where there is none.
        is_crowd: (n,) bool.
    """

    records: list[dict]
    ids: np.ndarray
    image_ids: np.ndarray
    category_ids: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    is_crowd: np.ndarray

    def __len__(self) -> int:
        return len(self.records)

    def name(self, row: int) -> str:
        """What a message calls one of them."""
        return f"annotation {self.ids[row]} (image {self.image_ids[row]})"

    def select(self, rows: np.ndarray) -> Annotations:
        """Those at (m,) indices, or where an (n,) mask is True."""
        if rows.dtype == bool:
            if rows.all():
                return self
            rows = np.flatnonzero(rows)
        records, *columns = (getattr(self, field.name) for field in fields(self))
        return Annotations(_take(records, rows), *(column[rows] for column in columns))


@dataclass
class CocoColumns:
    """The records of a file that have the fields needed, with the right types."""

    images: Images
    annotations: Annotations
    categories: Categories


def read_columns(content: Any, problems: Problems) -> CocoColumns | None:
    """Check the format of a COCO file.

    Args:
        content: what the file holds.
        problems: where every field is noted that is not there, of a wrong type or not finite.

    Returns:
        The sound records; None if a list is not there.
    """
    if not isinstance(content, dict):
        found = f"the top level is {_type(content)}, expected dict"
        problems.add("error", "wrong_type", None, found, _EXPECTED)
        return None
    for name in _NEEDED:
        if name not in content:
            found = f"{name!r} is missing; there are {show(sorted(content))}"
            problems.add("error", "missing_key", None, found, _EXPECTED)
        elif not isinstance(content[name], list):
            found = f"{name!r} is {_type(content[name])}, expected list"
            problems.add("error", "wrong_type", None, found, _EXPECTED)
    if not all(isinstance(content.get(name), list) for name in _NEEDED):
        return None
    lists = {name: _Records(name, content[name], problems) for name in _NEEDED}
    return CocoColumns(
        _images(lists["images"]),
        _annotations(lists["annotations"]),
        _categories(lists["categories"]),
    )


def _images(records: _Records) -> Images:
    ids = records.integers("id")
    has_id = records.is_sound.copy()
    names = records.texts("file_name")
    sizes = [records.integers(name, 1, _LARGEST_SIDE) for name in ("height", "width")]
    rows = np.flatnonzero(records.is_sound)
    sound, names = _take(records.records, rows), _take(names, rows)
    return Images(sound, ids[rows], names, np.stack(sizes, axis=1)[rows], ids[has_id])


def _categories(records: _Records) -> Categories:
    ids = records.integers("id")
    has_id = records.is_sound.copy()
    names = records.texts("name")
    rows = np.flatnonzero(records.is_sound)
    sound, names = _take(records.records, rows), _take(names, rows)
    return Categories(sound, ids[rows], names, ids[has_id])


def _annotations(records: _Records) -> Annotations:
    ids = [records.integers(name) for name in ("id", "image_id", "category_id")]
    boxes, areas, is_crowd = records.boxes(), records.areas(), records.flags("iscrowd")
    table = Annotations(records.records, *ids, boxes, areas, is_crowd)
    return table.select(records.is_sound)


class _Records:
    """The dicts of one list.

    Args:
        name: the list's.
        records: what it holds.
        problems: where faults are noted.

    Attributes:
        records: those that are dicts, with their positions in the list.
        is_sound: (n,) bool, whether no fault was found so far.
    """

    def __init__(self, name: str, records: list, problems: Problems):
        self.name, self.problems = name, problems
        self.fix = f"Each of {name!r} needs: {_NEEDED[name]}"
        self.records = [record for record in records if type(record) is dict]
        self.positions = range(len(records))
        if len(self.records) < len(records):
            self.positions = [i for i, record in enumerate(records) if type(record) is dict]
            for i, record in enumerate(records):
                if type(record) is not dict:
                    found = f"{name}[{i}]: {show(record)}, expected a dict"
                    problems.add("error", "wrong_type", None, found, self.fix)
        self.is_sound = np.ones(len(self.records), bool)

    def integers(self, field: str, low: int = -(2**63), high: int = 2**63 - 1) -> np.ndarray:
        """(n,) int64; 1 where the field is at fault."""
        expected = "int" if low < 0 else f"an int of {low} to {high}"
        values = self._column(field, {int}, expected, 1)
        if values and not (low <= min(values) and max(values) <= high):
            for row, value in enumerate(values):
                if not low <= value <= high:
                    within = expected if low >= 0 else "an int of 64 bits"
                    self._wrong(row, field, value, within)
                    values[row] = 1
        return np.array(values, np.int64)

    def texts(self, field: str) -> list[str]:
        """n texts; '' where the field is at fault."""
        values = self._column(field, {str}, "text", "")
        if not all(map(_is_usable, values)):
            for row, value in enumerate(values):
                if not _is_usable(value) and self.is_sound[row]:
                    self._wrong(row, field, value, "text that can be a name")
        return values

    def flags(self, field: str) -> np.ndarray:
        """(n,) bool; False where there is none."""
        values = self._column(field, {int, bool}, "0 or 1", 0, default=0)
        if set(values) - {0, 1}:
            for row, value in enumerate(values):
                if value not in (0, 1):
                    self._wrong(row, field, value, "0 or 1")
        return np.array(values, bool)

    def areas(self) -> np.ndarray:
        """(n,) float64; NaN where there is none."""
        values = self._column("area", {int, float, type(None)}, "a number", None, default=None)
        areas = _floats([math.nan if value is None else value for value in values])
        for row in np.flatnonzero(~np.isfinite(areas)).tolist():
            if values[row] is not None:
                self._not_finite(row, "area", values[row])
        return areas

    def boxes(self) -> np.ndarray:
        """(n, 4) float64; zeros where the field is at fault."""
        zeros = [0, 0, 0, 0]
        expected = "4 numbers [x, y, width, height]"
        boxes = self._column("bbox", {list}, expected, zeros)
        if set(map(len, boxes)) - {4} or not _are_numbers(chain.from_iterable(boxes)):
            for row, box in enumerate(boxes):
                if len(box) != 4 or not _are_numbers(box):
                    self._wrong(row, "bbox", box, expected)
                    boxes[row] = zeros
        array = _floats(list(chain.from_iterable(boxes))).reshape(-1, 4)
        for row in np.flatnonzero(~np.isfinite(array).all(axis=1)).tolist():
            self._not_finite(row, "bbox", boxes[row])
        return array

    def _column(
        self, field: str, types: set[type], expected: str, filler: Any, default: Any = _MISSING
    ) -> list:
        """One field of all records, with a filler in place of what has another type."""
        values = [record.get(field, default) for record in self.records]
        if set(map(type, values)) <= types:
            return values
        for row, value in enumerate(values):
            if type(value) not in types:
                self._wrong(row, field, value, expected)
                values[row] = filler
        return values

    def _wrong(self, row: int, field: str, value: Any, expected: str) -> None:
        if value is _MISSING:
            found = f"{field!r} is missing; there are {show(sorted(self.records[row]))}"
            return self._add("missing_key", row, found)
        return self._add("wrong_type", row, f"{field!r} is {show(value)}, expected {expected}")

    def _not_finite(self, row: int, field: str, value: Any) -> None:
        self._add("not_finite", row, f"{field} {show(value)}")

    def _add(self, kind: str, row: int, found: str) -> None:
        self.is_sound[row] = False
        key = self.records[row].get("id")
        where = f"{self.name}[{self.positions[row]}]"
        if type(key) not in (int, str):
            key = None
        elif not found.startswith("'id' "):
            where += f" (id {show(key)})"
        self.problems.add("error", kind, key, f"{where}: {found}", self.fix)


def _are_numbers(values: Any) -> bool:
    return set(map(type, values)) <= {int, float}


def _floats(values: list) -> np.ndarray:
    """(n,) float64; infinite where a number is beyond it."""
    try:
        return np.array(values, np.float64)
    except OverflowError:
        return np.array([_float(value) for value in values])


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _is_usable(name: str) -> bool:
    """Whether a text can be a name: it has something in it, and can be written and printed."""
    if name.isascii():
        return bool(name) and "\0" not in name
    return "\0" not in name and not any("\ud800" <= letter <= "\udfff" for letter in name)


def _type(value: Any) -> str:
    return type(value).__name__


def _take(items: list, rows: np.ndarray) -> list:
    return [items[row] for row in rows.tolist()]
