"""Boxes of other formats, read as COCO's."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mmdet_lite.data.coco_columns import Annotations

_LARGEST_SHARE = 1.5  # of the image's side: what a polygon of shares has no number above
_SLACK = 0.02  # of the image's side, that a share may be out of it


@dataclass
class Converted:
    """Boxes in COCO's format.

    Attributes:
        boxes: (n, 4) xywh, pixels.
        action: how they were read.
        segmentations: row -> polygons, where they had to be converted too.
    """

    boxes: np.ndarray
    action: str
    segmentations: dict[int, list] = field(default_factory=dict)


def convert_xyxy(annotations: Annotations, sizes: np.ndarray) -> Converted:
    """Corners to xywh; n annotations with the (n, 2) sizes of their images."""
    start, end = np.split(annotations.boxes, 2, axis=1)
    return Converted(np.concatenate([start, end - start], axis=1), "read as [x1, y1, x2, y2]")


def convert_centers(annotations: Annotations, sizes: np.ndarray) -> Converted:
    """Centres to xywh; n annotations with the (n, 2) sizes of their images."""
    center, extent = np.split(annotations.boxes, 2, axis=1)
    boxes = np.concatenate([center - extent / 2, extent], axis=1)
    return Converted(boxes, "read as [center x, center y, width, height]")


def convert_normalized(annotations: Annotations, sizes: np.ndarray) -> Converted | None:
    """Shares of the image's size to pixels, with the first reading by which all boxes fit.

    COCO's own order comes first, then corners, then YOLO's centres. None: none of them fits.
    """
    scale = np.tile(np.flip(sizes, 1), 2)
    first, second = np.split(annotations.boxes, 2, axis=1)
    readings = {
        "[x, y, width, height]": (first, first + second),
        "[x1, y1, x2, y2]": (first, second),
        "[center x, center y, width, height]": (first - second / 2, first + second / 2),
    }
    for name, (start, end) in readings.items():
        if (start >= -_SLACK).all() and (end <= 1 + _SLACK).all() and (end > start).all():
            boxes = np.concatenate([start, end - start], axis=1) * scale
            polygons = _scaled_polygons(annotations, sizes)
            return Converted(boxes, f"read as {name}, shares of the image's size", polygons)
    return None


def _scaled_polygons(annotations: Annotations, sizes: np.ndarray) -> dict[int, list]:
    """Polygons that are shares of the image's size too, in pixels."""
    scaled = {}
    for row, record in enumerate(annotations.records):
        value = record.get("segmentation")
        if type(value) is not list or not value or not all(type(part) is list for part in value):
            continue
        numbers = [number for part in value for number in part]
        if set(map(type, numbers)) <= {int, float} and max(numbers, default=2) <= _LARGEST_SHARE:
            height, width = sizes[row].tolist()
            scaled[row] = [
                [round(v * (height if i % 2 else width), 3) for i, v in enumerate(part)]
                for part in value
            ]
    return scaled
