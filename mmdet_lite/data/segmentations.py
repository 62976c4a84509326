"""The ``segmentation`` values of a COCO file in flat arrays, so that forked workers share them.

Letters: n annotations, p polygon parts of all annotations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from pycocotools import mask as coco_mask

if TYPE_CHECKING:
    from mmdet_lite.structures.masks import Shape


class PackedSegmentations:
    """Polygons and RLE of many annotations without a Python object for each.

    Args:
        segmentations: n values that passed
            :func:`mmdet_lite.data.segmentation_checks.check_segmentations`; [] for none.
        sizes: (n, 2) (height, width) of each annotation's image.

    Attributes:
        coordinates: of all polygons, x and y in turn, float64.
        part_offsets: (n + 1,) into the parts; those of annotation ``i`` are
            ``part_offsets[i]:part_offsets[i + 1]``.
        point_offsets: (p + 1,) likewise of the parts into ``coordinates``.
    """

    def __init__(self, segmentations: Sequence[list | dict], sizes: np.ndarray):
        parts = [value if isinstance(value, list) else [] for value in segmentations]
        flat_parts = list(chain.from_iterable(parts))
        rles = [
            _compressed_counts(value, size) if isinstance(value, dict) else b""
            for value, size in zip(segmentations, sizes.tolist(), strict=True)
        ]
        self._sizes = sizes
        self.part_offsets = _offsets(parts)  # (n + 1,) into parts
        self.point_offsets = _offsets(flat_parts)  # (p + 1,) into coordinates
        self.coordinates = _floats(flat_parts, self.point_offsets[-1])
        self._rle_offsets = _offsets(rles)  # (n + 1,) into RLE bytes
        self._rle_bytes = np.frombuffer(b"".join(rles), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._sizes)

    def __getitem__(self, row: int) -> Shape:
        """One annotation's polygons, (points, 2) each, or its compressed RLE."""
        start, stop = self._rle_offsets[row : row + 2]
        if stop > start:
            size = self._sizes[row].tolist()
            return {"size": size, "counts": self._rle_bytes[start:stop].tobytes()}
        parts = range(*self.part_offsets[row : row + 2])
        return [
            self.coordinates[slice(*self.point_offsets[part : part + 2])].reshape(-1, 2)
            for part in parts
        ]

    def part_extents(self) -> np.ndarray:
        """(p, 4) xyxy of the polygons."""
        if not len(self.coordinates):
            return np.zeros((0, 4))
        points, starts = self.coordinates.reshape(-1, 2), self.point_offsets[:-1] // 2
        ends = np.minimum.reduceat(points, starts), np.maximum.reduceat(points, starts)
        return np.concatenate(ends, axis=1)

    def extents(self) -> np.ndarray:
        """(n, 4) xyxy of the masks, NaN where there is none."""
        extents = np.full((len(self), 4), np.nan)
        rows = np.flatnonzero(np.diff(self.part_offsets))
        if len(rows):
            first, boxes = self.part_offsets[rows], self.part_extents()
            extents[rows, :2] = np.minimum.reduceat(boxes[:, :2], first)
            extents[rows, 2:] = np.maximum.reduceat(boxes[:, 2:], first)
        rows = self.rle_rows()
        if len(rows):
            boxes = np.asarray(coco_mask.toBbox([self[row] for row in rows.tolist()]), np.float64)
            extents[rows] = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
        return extents

    def rle_rows(self) -> np.ndarray:
        """The annotations whose mask is an RLE."""
        return np.flatnonzero(np.diff(self._rle_offsets))

    def rows_of_coordinates(self, chosen: np.ndarray) -> list[int]:
        """The annotations with one of the coordinates where a mask is True."""
        parts = np.searchsorted(self.point_offsets, np.flatnonzero(chosen), side="right") - 1
        return np.unique(np.searchsorted(self.part_offsets, parts, side="right") - 1).tolist()

    def select(self, rows: np.ndarray) -> PackedSegmentations:
        """Those where an (n,) mask is True."""
        if rows.all():
            return self
        parts = np.repeat(rows, np.diff(self.part_offsets))
        lengths = np.diff(self.point_offsets)
        rle_lengths = np.diff(self._rle_offsets)
        chosen = copy(self)
        chosen._sizes = self._sizes[rows]
        chosen.coordinates = self.coordinates[np.repeat(parts, lengths)]
        chosen.part_offsets = _cumulated(np.diff(self.part_offsets)[rows])
        chosen.point_offsets = _cumulated(lengths[parts])
        chosen._rle_bytes = self._rle_bytes[np.repeat(rows, rle_lengths)]
        chosen._rle_offsets = _cumulated(rle_lengths[rows])
        return chosen

    def to_coco(self, row: int) -> list | dict:
        """One annotation's ``segmentation`` value, with plain types only."""
        shape = self[row]
        if isinstance(shape, dict):
            return {"size": shape["size"], "counts": shape["counts"].decode()}
        return [points.reshape(-1).tolist() for points in shape]


def _compressed_counts(rle: dict, size: Sequence[int]) -> bytes:
    if isinstance(rle["counts"], str):
        return rle["counts"].encode()
    return coco_mask.frPyObjects(rle, *size)["counts"]


def _offsets(groups: Sequence[Sequence]) -> np.ndarray:
    return _cumulated(np.fromiter(map(len, groups), np.int64, len(groups)))


def _cumulated(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], lengths.cumsum()])


def _floats(parts: Sequence[Sequence[float]], count: int) -> np.ndarray:
    """All numbers of all parts; infinite where a whole number is beyond float64."""
    try:
        return np.fromiter(chain.from_iterable(parts), np.float64, count)
    except OverflowError:
        numbers = chain.from_iterable(parts)
        return np.array([float(v) if abs(v) < 1e300 else math.inf for v in numbers])
