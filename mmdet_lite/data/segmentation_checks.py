"""Whether the ``segmentation`` values of a COCO file can be used.

All values are looked at in one go; those that are wrong are looked for only where there are some.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np

from mmdet_lite.data.coco_columns import Annotations
from mmdet_lite.data.findings import Severity
from mmdet_lite.data.problems import SKIP, Problems, show
from mmdet_lite.data.rle_checks import count_faults, rle_fault
from mmdet_lite.data.segmentations import PackedSegmentations

_FORM = (
    "A segmentation is a list of polygons [[x1, y1, x2, y2, x3, y3, ...], ...] or an RLE "
    "{'size': [height, width], 'counts': ...}."
)
_SHORT = (
    "Correct or remove these polygons; training leaves them out, and annotations that have no "
    "others."
)
_OUTSIDE = "Clip them, if they are right but for that; what is outside is not drawn."
_MISSING = (
    "Add the masks, or use the boxes alone: with_masks=False and a model without mask head, such as"
    " those of configs/faster_rcnn."
)

_ROUNDING = 1.0  # pixels that a polygon may reach out of its image
_FAR = 10  # of the image's longer side


@np.errstate(over="ignore", invalid="ignore")  # huge numbers, which are noted
def check_segmentations(
    annotations: Annotations, sizes: np.ndarray, missing: Severity | None, problems: Problems
) -> tuple[PackedSegmentations, np.ndarray]:
    """Masks are well formed and of their image's size.

    Args:
        annotations: n of them.
        sizes: (n, 2) (height, width) of each one's image.
        missing: what it is if an annotation has no mask; None: not worth noting.
        problems: where everything wrong is noted.

    Returns:
        The masks: n, without the parts that cannot be used; and (n,) bool, whether there is one.
    """
    check = _Check(annotations, sizes, problems)
    if missing:
        check.note_missing(missing)
    check.top_level()
    check.polygons()
    check.run_lengths()
    packed = PackedSegmentations(check.values, sizes)
    if not np.isfinite(packed.coordinates).all():
        check.finite(packed)
        packed = PackedSegmentations(check.values, sizes)
    if check.inside(packed):
        packed = PackedSegmentations(check.values, sizes)
    return packed, np.fromiter(map(bool, check.values), bool, len(annotations))


class _Check:
    """n values, which become [] where they cannot be used.

    Args:
        annotations: n of them.
        sizes: (n, 2) of each one's image.
        problems: where everything wrong is noted.
    """

    def __init__(self, annotations: Annotations, sizes: np.ndarray, problems: Problems):
        self.annotations, self.sizes, self.problems = annotations, sizes, problems
        self.values: list[Any] = [r.get("segmentation") or [] for r in annotations.records]

    def note_missing(self, severity: Severity) -> None:
        """Annotations have a mask."""
        for row, value in enumerate(self.values):
            if value == []:
                self._add(severity, "missing_key", row, "no 'segmentation'", _MISSING)

    def top_level(self) -> None:
        """Lists of lists, or dicts."""
        if not set(map(type, self.values)) <= {list, dict}:
            for row, value in enumerate(self.values):
                if type(value) not in (list, dict):
                    found = f"segmentation is {show(value)}, expected polygons or an RLE"
                    self._drop("wrong_type", row, found, _FORM)
        if set(map(type, self._parts())) <= {list}:
            return
        for row, value in self._polygon_values():
            if not all(type(part) is list for part in value):
                found = f"segmentation holds {show(value)}, expected a list of polygons"
                self._drop("wrong_type", row, found, _FORM)

    def polygons(self) -> None:
        """Parts of three points or more, of an even count of numbers."""
        if not set(map(type, chain.from_iterable(self._parts()))) <= {int, float}:
            for row, value in self._polygon_values():
                if not set(map(type, chain.from_iterable(value))) <= {int, float}:
                    found = f"a polygon of other things than numbers: {show(value)}"
                    self._drop("wrong_type", row, found, _FORM)
        lengths = set(map(len, self._parts()))
        if all(length >= 6 and length % 2 == 0 for length in lengths):
            return
        for row, value in self._polygon_values():
            odd = [part for part in value if len(part) % 2]
            for part in odd:
                found = f"a polygon of {len(part)} numbers: {show(part)}"
                self._drop("polygon_odd", row, found, SKIP)
            if not odd and any(len(part) < 6 for part in value):
                self._drop_short_parts(row, value)

    def _drop_short_parts(self, row: int, value: list) -> None:
        for part in value:
            if len(part) < 6:
                found = f"a polygon of {len(part) // 2} points: {show(part)}"
                self._add("warning", "polygon_too_short", row, found, _SHORT)
        self.values[row] = [part for part in value if len(part) >= 6]

    def run_lengths(self) -> None:
        """RLEs of the image's size; compressed ones are decoded all at once."""
        compressed = []
        sizes = self.sizes.tolist() if any(type(value) is dict for value in self.values) else []
        for row, value in enumerate(self.values if sizes else []):
            if type(value) is not dict:
                continue
            if fault := rle_fault(value, sizes[row]):
                self._drop("rle_invalid", row, fault, SKIP)
            elif isinstance(value["counts"], str):
                compressed.append(row)
        counts = [self.values[row]["counts"].encode("utf-8", "surrogatepass") for row in compressed]
        num_pixels = self.sizes[compressed].prod(axis=1)
        for i, fault in sorted(count_faults(counts, num_pixels).items()):
            self._drop("rle_invalid", compressed[i], fault, SKIP)

    def finite(self, packed: PackedSegmentations) -> None:
        """No coordinate is NaN or infinite."""
        for row in packed.rows_of_coordinates(~np.isfinite(packed.coordinates)):
            found = "a polygon with NaN or infinite coordinates"
            self._drop("not_finite", row, found, "Correct or remove these annotations.")

    def inside(self, packed: PackedSegmentations) -> bool:
        """Polygons lie in their image, but for a pixel; whether there were some far out of it.

        Far out is an error: memory for drawing a polygon grows with its length in pixels.
        """
        owners = np.repeat(np.arange(len(packed)), np.diff(packed.part_offsets))
        low, high = np.split(packed.part_extents(), 2, axis=1)
        beyond = np.maximum(-low, high - np.flip(self.sizes[owners], 1)).max(axis=1)
        is_far = beyond > _FAR * self.sizes[owners].max(axis=1)
        for part in np.flatnonzero(beyond > _ROUNDING).tolist():
            row = int(owners[part])
            height, width = self.sizes[row].tolist()
            found = f"a polygon reaches {beyond[part]:.4g} pixels out of an image {width} wide and "
            found += f"{height} high"
            if is_far[part]:
                self._drop("polygon_outside", row, found, SKIP)
            else:
                self._add("warning", "polygon_outside", row, found, _OUTSIDE)
        return bool(is_far.any())

    def _parts(self) -> chain:
        return chain.from_iterable(value for value in self.values if type(value) is list)

    def _polygon_values(self) -> list[tuple[int, list]]:
        return [(row, value) for row, value in enumerate(self.values) if type(value) is list]

    def _drop(self, kind: str, row: int, found: str, fix: str) -> None:
        self._add("error", kind, row, found, fix)
        self.values[row] = []

    def _add(self, severity: str, kind: str, row: int, found: str, fix: str) -> None:
        key, name = int(self.annotations.ids[row]), self.annotations.name(row)
        self.problems.add(severity, kind, key, f"{name}: {found}", fix)
