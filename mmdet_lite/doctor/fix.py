"""A corrected annotation file, where there is one clear reading; the list of what was changed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_lite.data.coco_checks import check_boxes
from mmdet_lite.data.coco_columns import Annotations, CocoColumns, read_columns
from mmdet_lite.data.coco_file import CocoDict
from mmdet_lite.data.findings import Finding
from mmdet_lite.data.problems import Problems
from mmdet_lite.doctor.annotations import FORMATS, check_annotation_file, check_annotations
from mmdet_lite.doctor.box_readings import convert_centers, convert_normalized, convert_xyxy
from mmdet_lite.doctor.duplicates import exact_copies
from mmdet_lite.doctor.masks import wrong_areas
from mmdet_lite.doctor.report import summary, write_json
from mmdet_lite.garbage_collection import garbage_collection_paused

_DIGITS = 3  # of what is computed


@dataclass(frozen=True)
class Change:
    """What was done to a record.

    Args:
        section: 'images', 'annotations' or 'categories'.
        id: the record's, before.
        kind: the kind of finding that was the reason.
        action: what was done.
        before, after: the value that was changed; None of what was removed or added.
    """

    section: str
    id: int
    kind: str
    action: str
    before: Any
    after: Any


@dataclass
class Correction:
    """What was written: the list of changes, and the findings that are left."""

    changes: list[Change]
    left: list[Finding]

    def as_text(self, out: str) -> str:
        """What was done, by kind, with counts."""
        counts = Counter((change.kind, change.action) for change in self.changes)
        lines = [f"    {kind}: {action} ({count})" for (kind, action), count in counts.items()]
        number = len(self.changes)
        title = (
            f"wrote {out} with {number} change{'s' * (number != 1)}, listed in {out}.changes.json"
        )
        return "\n".join([title, *lines, f"left in it: {summary(self.left)}"])


def check_new(out: str | Path) -> None:
    """Refuse to write a correction over anything.

    Raises:
        FileExistsError: one of the files to write exists.
    """
    for file in (Path(out), _changes_file(out)):
        if os.path.lexists(file):
            raise FileExistsError(f"--fix: {file} exists; name a file that does not")


def _changes_file(out: str | Path) -> Path:
    return Path(f"{out}.changes.json")


def write_corrected(
    path: str | Path,
    out: str | Path,
    trust_boxes: bool = False,
    wrong_sizes: Collection[int] = (),
) -> Correction:
    """Write a corrected annotation file, and ``OUT.changes.json`` beside it.

    Args:
        path: the annotation file; it is not touched.
        out: the file to write.
        trust_boxes: boxes that look like another format's are not converted.
        wrong_sizes: ids of images whose size is not that of their file: their boxes stay as they
            are, as what is outside of the image is not known.

    Raises:
        FileExistsError: one of the files to write exists, or is the annotation file.
        ValueError: the annotation file cannot be read, or is not in COCO's format.
    """
    check_new(out)
    report = check_annotation_file(path, trust_boxes=trust_boxes)
    problems = Problems(path)
    problems.found = report.findings
    if report.columns is None:
        problems.raise_if_any("cannot be corrected")
    formats = [finding.kind for finding in report.findings if finding.kind in FORMATS]
    with garbage_collection_paused():
        changes = correct(report.content, str(path), formats, wrong_sizes)
        left = check_annotations(report.content, Problems(out), trust_boxes=trust_boxes).findings
    content = {"file": str(path), "changes": list(map(asdict, changes))}
    content["left"] = list(map(asdict, left))
    write_json(out, report.content, indent=None)
    write_json(_changes_file(out), content)
    return Correction(changes, left)


@np.errstate(over="ignore")  # areas of huge boxes
def correct(
    content: CocoDict,
    file: str,
    formats: Collection[str] = (),
    wrong_sizes: Collection[int] = (),
) -> list[Change]:
    """Correct what an annotation file holds, in place.

    Args:
        content: the file's; its three lists are there.
        file: its name.
        formats: the formats that its boxes were found to look like.
        wrong_sizes: see :func:`write_corrected`.
    """
    correction = _Correcting(content, file, wrong_sizes)
    correction.merge_repeated()
    correction.nest_polygons()
    correction.remove_unknown()
    correction.remove_copies()
    correction.renumber()
    correction.convert_boxes(formats)
    if not formats or correction.changes:
        correction.correct_polygons()
        correction.correct_boxes()
        correction.correct_areas()
    return correction.changes


class _Correcting:
    """Steps that each read the sound records again, and change them or take them out."""

    def __init__(self, content: CocoDict, file: str, wrong_sizes: Collection[int]):
        self.content, self.file, self.wrong_sizes = content, file, list(wrong_sizes)
        self.changes: list[Change] = []

    def merge_repeated(self) -> None:
        """A record that is there twice, the same in everything, is there once."""
        for section in ("images", "categories", "annotations"):
            first: dict[int, dict] = {}
            repeated = []
            for record in getattr(self._columns(), section).records:
                if first.setdefault(record["id"], record) is not record:
                    repeated.append(record)
            same = [record for record in repeated if record == first[record["id"]]]
            self._remove(section, same, lambda _: "duplicate_id", "repeated, the same in all")

    def nest_polygons(self) -> None:
        """``[x1, y1, x2, y2, ...]`` is a polygon without the list around it."""
        for record in self._columns().annotations.records:
            value = record.get("segmentation")
            if type(value) is list and value and set(map(type, value)) <= {int, float}:
                self._set(record, "segmentation", [value], "wrong_type", "list put around it")

    def remove_unknown(self) -> None:
        """Annotations of what is not there are nothing; unless an id that is given twice is the
        reason, as then it is not known whose they are."""
        columns = self._columns()
        annotations = columns.annotations
        for kind, ids, table in (
            ("unknown_image", annotations.image_ids, columns.images),
            ("unknown_category", annotations.category_ids, columns.categories),
        ):
            if len(np.unique(table.ids)) < len(table.ids):
                continue
            rows = np.flatnonzero(~np.isin(ids, table.listed_ids)).tolist()
            records = [annotations.records[row] for row in rows]
            self._remove("annotations", records, lambda _, kind=kind: kind, "removed")

    def remove_copies(self) -> None:
        """Of annotations that are the same in everything but the id, the first stays."""
        annotations = self._columns().annotations
        copies = [annotations.records[row] for row in exact_copies(annotations)]
        action = "removed, the same as an earlier one but for the id"
        self._remove("annotations", copies, lambda _: "annotation_duplicate", action)

    def renumber(self) -> None:
        """Annotations whose id another has get the next free one."""
        annotations = self._columns().annotations
        seen: set[int] = set()
        free = int(annotations.ids.max(initial=0)) + 1
        for record in annotations.records:
            if record["id"] in seen:
                self._set(record, "id", free, "duplicate_id", "renumbered")
                free += 1
            seen.add(record["id"])

    def convert_boxes(self, formats: Collection[str]) -> None:
        """Boxes of another format become COCO's."""
        annotations, sizes = self._known()
        for kind, convert in (
            ("box_xyxy_suspected", convert_xyxy),
            ("box_center_suspected", convert_centers),
            ("box_normalized_suspected", convert_normalized),
        ):
            if kind not in formats:
                continue
            converted = convert(annotations, sizes)
            if converted is None:
                continue
            for record, box in zip(annotations.records, converted.boxes.tolist(), strict=True):
                self._set(record, "bbox", _rounded(box), kind, converted.action)
            for row, value in converted.segmentations.items():
                record = annotations.records[row]
                self._set(record, "segmentation", value, kind, converted.action)

    def correct_polygons(self) -> None:
        """Odd tails and parts of fewer than three points go; annotations that had no others too."""
        emptied = []
        for record in self._known()[0].records:
            value = record.get("segmentation")
            if not _are_polygons(value) or not value:
                continue
            even = [part[: len(part) // 2 * 2] for part in value]
            if even != value:
                self._set(record, "segmentation", even, "polygon_odd", "last number dropped")
            whole = [part for part in even if len(part) >= 6]
            if not whole:
                emptied.append(record)
            elif whole != even:
                action = "parts of fewer than three points dropped"
                self._set(record, "segmentation", whole, "polygon_too_short", action)
        action = "removed: no polygon has three points"
        self._remove("annotations", emptied, lambda _: "polygon_too_short", action)

    def correct_boxes(self) -> None:
        """Boxes are clipped; annotations of boxes without area in their image go."""
        annotations, sizes = self._known()
        is_sure = ~np.isin(annotations.image_ids, self.wrong_sizes)
        annotations, sizes = annotations.select(is_sure), sizes[is_sure]
        problems = Problems(self.file)
        unusable = check_boxes(annotations, sizes, True, problems)
        rows = {key: row for row, key in enumerate(annotations.ids.tolist())}
        kinds = {}
        for finding in problems.found:
            row = rows[finding.id]
            record = annotations.records[row]
            if unusable[row]:
                kinds[finding.id] = finding.kind
            else:
                box = _clipped(record["bbox"], *sizes[row].tolist())
                self._set(record, "bbox", box, finding.kind, "clipped")
        records = [record for record in annotations.records if record["id"] in kinds]
        self._remove("annotations", records, lambda r: kinds[r["id"]], "removed")

    def correct_areas(self) -> None:
        """Areas that are not there or wrong become those of the masks, or of the boxes."""
        report = check_annotations(self.content, Problems(self.file), trust_boxes=True)
        annotations = report.annotations
        box_areas = annotations.boxes[:, 2:].prod(axis=1)
        areas = np.where(np.isnan(report.mask_areas), box_areas, report.mask_areas)
        wrong = np.isnan(annotations.areas) | wrong_areas(annotations, report.mask_areas)
        for row in np.flatnonzero(wrong).tolist():
            record, area = annotations.records[row], round(float(areas[row]), _DIGITS)
            if 0 < area < np.inf:
                self._set(record, "area", area, "area_mismatch", "computed")

    def _columns(self) -> CocoColumns:
        columns = read_columns(self.content, Problems(self.file))
        assert columns is not None, "only files with the three lists are corrected"
        return columns

    def _known(self) -> tuple[Annotations, np.ndarray]:
        """Sound annotations of known images, and (n, 2) those images' sizes."""
        columns = self._columns()
        rows = columns.images.rows_of(columns.annotations.image_ids)
        return columns.annotations.select(rows >= 0), columns.images.sizes[rows[rows >= 0]]

    def _set(self, record: dict, field: str, value: Any, kind: str, action: str) -> None:
        before = record.get(field)
        if before != value:
            change = Change("annotations", record["id"], kind, f"{field}: {action}", before, value)
            self.changes.append(change)
            record[field] = value

    def _remove(
        self, section: str, records: list[dict], kind_of: Callable[[dict], str], action: str
    ) -> None:
        for record in records:
            self.changes.append(
                Change(section, record["id"], kind_of(record), action, record, None)
            )
        if records:
            removed = set(map(id, records))
            self.content[section] = [r for r in self.content[section] if id(r) not in removed]


def _are_polygons(value: Any) -> bool:
    if type(value) is not list or set(map(type, value)) - {list}:
        return False
    return all(set(map(type, part)) <= {int, float} for part in value)


def _clipped(box: list[float], height: int, width: int) -> list[float]:
    x, y, w, h = box
    left, top = max(x, 0), max(y, 0)
    return _rounded([left, top, min(x + w, width) - left, min(y + h, height) - top])


def _rounded(numbers: list[float]) -> list[float]:
    return [round(value, _DIGITS) for value in numbers]
