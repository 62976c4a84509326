"""Pascal VOC's average precision (devkit of VOC 2012, section 3.4), without loops over images.

Letters: N detections, M objects, K classes, P pairs of a detection and an object of its image and
class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NO_OBJECTS = -1.0  # where the ground truth has nothing to find
_RECALLS = 10  # precision is looked up at recalls 0, 1/10, ..., 1


@dataclass
class Objects:
    """Ground truth, sorted by ``keys``.

    Attributes:
        keys: (M,) int64, equal for objects of the same image and class.
        boxes: (M, 4) float64 xyxy.
        is_difficult: (M,) bool; they count neither as found nor as missed.
    """

    keys: np.ndarray
    boxes: np.ndarray
    is_difficult: np.ndarray


def best_overlaps(
    keys: np.ndarray, boxes: np.ndarray, objects: Objects
) -> tuple[np.ndarray, np.ndarray]:
    """The object of its image and class that each detection overlaps the most.

    Args:
        keys: (N,) int64, as those of the objects.
        boxes: (N, 4) float64 xyxy.
        objects: the ground truth.

    Returns:
        (N,) IoU, 0 where there is no object; (N,) int64 index of the object, the first of equals.
    """
    start = np.searchsorted(objects.keys, keys, side="left")
    counts = np.searchsorted(objects.keys, keys, side="right") - start
    has_object = counts > 0
    overlaps, found = np.zeros(len(keys)), np.zeros(len(keys), np.int64)
    if not has_object.any():
        return overlaps, found
    counts, start = counts[has_object], start[has_object]
    first_pair = np.cumsum(counts) - counts
    detection = np.repeat(np.flatnonzero(has_object), counts)  # (P,)
    within = np.arange(len(detection)) - np.repeat(first_pair, counts)
    candidate = np.repeat(start, counts) + within  # (P,)
    iou = _paired_iou(boxes[detection], objects.boxes[candidate])
    best = np.maximum.reduceat(iou, first_pair)
    is_best = iou == np.repeat(best, counts)
    first_best = np.minimum.reduceat(np.where(is_best, candidate, len(objects.keys)), first_pair)
    overlaps[has_object], found[has_object] = best, first_best
    return overlaps, found


def average_precision(
    overlaps: np.ndarray,
    found: np.ndarray,
    is_difficult: np.ndarray,
    num_objects: int,
    iou_thr: float,
    mode: str,
) -> float:
    """The average precision of one class.

    A detection is right if it overlaps an object by the threshold or more and is the first, by
    descending score, that does; further ones of the same object are wrong. One whose object is
    difficult is neither.

    Args:
        overlaps: (N,) IoU with the best object, by descending score.
        found: (N,) index of that object.
        is_difficult: of all objects.
        num_objects: of the class, without difficult ones.
        iou_thr: least IoU of a match.
        mode: 'area' under the curve, or '11points'.

    Returns:
        In 0..1; -1 if there are no objects.
    """
    if num_objects == 0:
        return NO_OBJECTS
    matches = overlaps >= iou_thr
    ignored = matches & is_difficult[found] if len(found) else matches
    is_right = np.zeros(len(overlaps), dtype=bool)
    rows = np.flatnonzero(matches & ~ignored)
    is_right[rows[np.unique(found[rows], return_index=True)[1]]] = True
    right = np.cumsum(is_right[~ignored])
    precision = right / np.arange(1, len(right) + 1)
    return (
        _eleven_points(right, precision, num_objects)
        if mode == "11points"
        else _area(right, precision, num_objects)
    )


def _area(right: np.ndarray, precision: np.ndarray, num_objects: int) -> float:
    """The area under the curve, made to fall (VOC 2010 on): each object found adds a step."""
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    steps = np.diff(right, prepend=0)
    return float((falling * steps).sum() / num_objects)


def _eleven_points(right: np.ndarray, precision: np.ndarray, num_objects: int) -> float:
    """The mean of the best precision at recalls of at least 0, 0.1, ..., 1 (VOC 2007)."""
    best = [
        precision[right * _RECALLS >= step * num_objects].max(initial=0.0)
        for step in range(_RECALLS + 1)
    ]
    return float(np.mean(best))


def _paired_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(P,) IoU of pairs of (P, 4) xyxy boxes."""
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return shared / np.maximum(areas[0] + areas[1] - shared, np.finfo(np.float64).tiny)


def stack_objects(
    annotations: Sequence[dict], category_ids: Sequence[int]
) -> tuple[Objects, np.ndarray, np.ndarray]:
    """Ground truth of COCO's annotations.

    Args:
        annotations: crowds are difficult objects.
        category_ids: the K ids, by label.

    Returns:
        The objects, (M,) labels, and the sorted ids of the images that have one.
    """
    label_of = {key: label for label, key in enumerate(category_ids)}
    labels = np.array([label_of[a["category_id"]] for a in annotations], np.int64)
    ids = np.array([a["image_id"] for a in annotations], np.int64)
    boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
    boxes = np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]])
    difficult = np.array([a.get("iscrowd", 0) for a in annotations], bool)
    image_ids = np.unique(ids)
    keys = np.searchsorted(image_ids, ids) * len(label_of) + labels
    order = np.argsort(keys, kind="stable")
    return Objects(keys[order], boxes[order], difficult[order]), labels[order], image_ids
