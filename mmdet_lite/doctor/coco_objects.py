"""The usable objects of a COCO file, whatever else is in it, as arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Objects:
    """Letters: n objects, N images, K classes.

    Args:
        classes: K names.
        image_sizes: (N, 2) float64 width and height.
        image_rows: (n,) int64, the image of each object.
        labels: (n,) int64 in 0..K-1.
        boxes: (n, 4) float64 xyxy, clipped to their image; all have area.
        num_crowds: annotations with iscrowd.
        num_left_out: annotations that are neither crowds nor usable.
    """

    classes: tuple[str, ...]
    image_sizes: np.ndarray
    image_rows: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    num_crowds: int
    num_left_out: int

    @property
    def num_images(self) -> int:
        return len(self.image_sizes)

    @property
    def extents(self) -> np.ndarray:
        """(n, 2) width and height."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    @property
    def sizes(self) -> np.ndarray:
        """(n,) square root of the area."""
        return np.sqrt(np.prod(self.extents, axis=1))


def read_objects(content: dict[str, Any], classes: Sequence[str] | None = None) -> Objects:
    """Take from a COCO file what can be used; nothing in it is an error here.

    Args:
        content: of the file; records may be of any type.
        classes: names to use, in the order of their labels; None: all of the file.
    """
    images = {
        image["id"]: (image["width"], image["height"])
        for image in _records(content, "images")
        if _is_id(image.get("id")) and _is_size(image.get("width"), image.get("height"))
    }
    ids = {
        category["name"]: category["id"]
        for category in _records(content, "categories")
        if isinstance(category.get("name"), str) and _is_id(category.get("id"))
    }
    names = tuple(ids if classes is None else classes)
    labels = {ids[name]: label for label, name in enumerate(names) if name in ids}
    rows = {id: row for row, id in enumerate(images)}
    annotations = _records(content, "annotations")
    objects = [a for a in annotations if not a.get("iscrowd")]
    sizes = np.array(list(images.values()), np.float64).reshape(-1, 2)
    try:
        columns = _columns(objects, rows, labels)
    except (TypeError, ValueError):  # something has another type than it should
        columns = _columns([a for a in objects if _is_usable(a, rows, labels)], rows, labels)
    image_rows, object_labels, boxes = columns
    boxes[:, 2:] += boxes[:, :2]
    is_known = (image_rows >= 0) & (object_labels >= 0) & np.isfinite(boxes).all(axis=1)
    image_rows, object_labels, boxes = (column[is_known] for column in columns)
    boxes = np.clip(boxes, 0, np.tile(sizes[image_rows], 2))
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Objects(
        classes=names,
        image_sizes=sizes,
        image_rows=image_rows[has_area],
        labels=object_labels[has_area],
        boxes=boxes[has_area],
        num_crowds=len(annotations) - len(objects),
        num_left_out=len(objects) - int(has_area.sum()),
    )


def _columns(
    objects: list[dict], rows: dict, labels: dict
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) row of the image, (n,) label, -1 where there is none, and (n, 4) box as in the file."""
    return (
        np.array([rows.get(a.get("image_id"), -1) for a in objects], np.int64),
        np.array([labels.get(a.get("category_id"), -1) for a in objects], np.int64),
        np.array([a.get("bbox") for a in objects], np.float64).reshape(len(objects), 4),
    )


def _records(content: Any, section: str) -> list[dict]:
    found = content.get(section) if isinstance(content, dict) else None
    return (
        [record for record in found if isinstance(record, dict)] if isinstance(found, list) else []
    )


def _is_usable(annotation: dict, rows: dict, labels: dict) -> bool:
    image_id, category_id = annotation.get("image_id"), annotation.get("category_id")
    if not (_is_id(image_id) and _is_id(category_id)):
        return False
    if image_id not in rows or category_id not in labels:
        return False
    box = annotation.get("bbox")
    return isinstance(box, list) and len(box) == 4 and all(map(_is_finite, box))


def _is_id(value: Any) -> bool:
    return isinstance(value, (int, str))


def _is_size(width: Any, height: Any) -> bool:
    return _is_finite(width) and _is_finite(height) and width > 0 and height > 0


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
