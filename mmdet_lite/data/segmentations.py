"""The ``segmentation`` values of a COCO file in flat arrays, so that forked workers share them.

Letters: n annotations, p polygon parts of all annotations.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.structures.masks import Shape


class PackedSegmentations:
    """Polygons and RLE of many annotations without a Python object for each.

    Args:
        segmentations: n checked values (see :func:`segmentation_fault`).
        sizes: (n, 2) (height, width) of each annotation's image.
    """

    def __init__(self, segmentations: Sequence[list | dict], sizes: np.ndarray):
        parts = [value if isinstance(value, list) else [] for value in segmentations]
        flat_parts = list(chain.from_iterable(parts))
        rles = [
            _compressed_counts(value, size) if isinstance(value, dict) else b""
            for value, size in zip(segmentations, sizes.tolist(), strict=True)
        ]
        self._sizes = sizes
        self._part_offsets = _offsets(parts)  # (n + 1,) into parts
        self._point_offsets = _offsets(flat_parts)  # (p + 1,) into coordinates
        self._coordinates = np.fromiter(
            chain.from_iterable(flat_parts), np.float64, self._point_offsets[-1]
        )
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
        parts = range(*self._part_offsets[row : row + 2])
        return [
            self._coordinates[slice(*self._point_offsets[part : part + 2])].reshape(-1, 2)
            for part in parts
        ]

    def to_coco(self, row: int) -> list | dict:
        """One annotation's ``segmentation`` value, with plain types only."""
        shape = self[row]
        if isinstance(shape, dict):
            return {"size": shape["size"], "counts": shape["counts"].decode()}
        return [points.reshape(-1).tolist() for points in shape]


def segmentation_fault(value: Any, size: tuple[int, int]) -> str | None:
    """What makes a COCO ``segmentation`` unusable for an image of (height, width) ``size``."""
    if isinstance(value, list):
        return next(filter(None, map(_polygon_fault, value)), None)
    if isinstance(value, dict):
        return _rle_fault(value, size)
    return f"a {type(value).__name__}, expected a list of polygons or an RLE dict"


def _polygon_fault(polygon: Any) -> str | None:
    if not isinstance(polygon, list):
        return f"holds {polygon!r}, expected polygons [x1, y1, x2, y2, x3, y3, ...]"
    if len(polygon) < 6 or len(polygon) % 2:
        return f"a polygon of {len(polygon)} numbers, expected 6, 8, 10, ..."
    try:
        finite = np.isfinite(sum(polygon))
    except TypeError:
        return f"a polygon that holds other things than numbers: {polygon[:6]}"
    return None if finite else "a polygon with NaN or infinite coordinates"


def _rle_fault(rle: dict, size: tuple[int, int]) -> str | None:
    if rle.get("size") != list(size):
        return f"an RLE of size {rle.get('size')}, expected the image's [height, width] {size}"
    counts = rle.get("counts")
    if isinstance(counts, str) and counts:
        return None
    if not isinstance(counts, list) or not all(isinstance(c, int) and c >= 0 for c in counts):
        return f"an RLE whose counts are {type(counts).__name__}, expected integers or a string"
    if sum(counts) != size[0] * size[1]:
        return f"an RLE whose counts sum to {sum(counts)}, expected {size[0] * size[1]} pixels"
    return None


def _compressed_counts(rle: dict, size: Sequence[int]) -> bytes:
    if isinstance(rle["counts"], str):
        return rle["counts"].encode()
    return coco_mask.frPyObjects(rle, *size)["counts"]


def _offsets(groups: Sequence[Sequence]) -> np.ndarray:
    lengths = np.fromiter(map(len, groups), np.int64, len(groups))
    return np.concatenate([[0], lengths.cumsum()])
