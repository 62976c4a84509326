"""Which detections and objects of an image overlap, and by how much: what all analyses start from.

Letters: N images, K classes, G objects (crowds included), n detections, P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.evaluation.coco_results import CocoResults

LEAST_IOU = 0.1  # pairs that overlap less are not kept
_PAIRS_AT_A_TIME = 500_000  # bounds the memory of all pairs of all images


@dataclass(frozen=True)
class Truth:
    """The objects of a data set, sorted by image.

    Attributes:
        image_ids: (N,) int64, ascending.
        images: (G,) int64 places in ``image_ids``.
        labels: (G,) int64 in 0..K-1.
        boxes_xywh: (G, 4) float64, pixels.
        areas: (G,) float64, of the masks as a rule, square pixels.
        crowd: (G,) bool: regions that do not count, COCO's ``iscrowd``.
        num_classes: K.
        segmentations: G masks as compressed COCO RLE, or None.
    """

    image_ids: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    num_classes: int
    segmentations: list[dict] | None = None


@dataclass(frozen=True)
class Overlaps:
    """Detections, the best first, and the pairs of a detection and an object that overlap.

    Crowds are among the objects; their overlap is the share of the detection that they cover.

    Attributes:
        truth: the objects.
        rows: (n,) where each detection stands in the results that it was taken from.
        images: (n,) int64 places in ``truth.image_ids``.
        labels: (n,) int64.
        scores: (n,) float, descending.
        pair_found: (P,) int64 in 0..n-1.
        pair_object: (P,) int64 in 0..G-1.
        pair_iou: (P,) float, at least ``LEAST_IOU``.
    """

    truth: Truth
    rows: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    pair_found: np.ndarray
    pair_object: np.ndarray
    pair_iou: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_objects(self) -> np.ndarray:
        """(K,) objects of each class, without crowds."""
        labels = self.truth.labels[~self.truth.crowd]
        return np.bincount(labels, minlength=self.truth.num_classes)

    def pairs(self, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Detection, object and IoU of the pairs where ``keep`` (P,) is True."""
        return self.pair_found[keep], self.pair_object[keep], self.pair_iou[keep]


def read_truth(coco_dict: dict, category_ids: Sequence[int], with_masks: bool) -> Truth:
    """The objects of a data set as columns.

    Args:
        coco_dict: in COCO's format; every annotation has ``area``, ``iscrowd`` and a category that
            counts.
        category_ids: the category id of each label.
        with_masks: read the masks too; every annotation has one.
    """
    sizes = {image["id"]: (image["height"], image["width"]) for image in coco_dict["images"]}
    image_ids = np.array(sorted(sizes), dtype=np.int64)
    label_of = {category: label for label, category in enumerate(category_ids)}
    annotations = sorted(coco_dict["annotations"], key=lambda annotation: annotation["image_id"])
    ids = np.array([annotation["image_id"] for annotation in annotations], dtype=np.int64)
    boxes = [annotation["bbox"] for annotation in annotations]
    return Truth(
        image_ids=image_ids,
        images=np.searchsorted(image_ids, ids),
        labels=np.array([label_of[a["category_id"]] for a in annotations], dtype=np.int64),
        boxes_xywh=np.array(boxes, dtype=float).reshape(-1, 4),
        areas=np.array([a["area"] for a in annotations], dtype=float),
        crowd=np.array([a["iscrowd"] for a in annotations], dtype=bool),
        num_classes=len(category_ids),
        segmentations=[_rle(a["segmentation"], sizes[a["image_id"]]) for a in annotations]
        if with_masks
        else None,
    )


def find_overlaps(
    truth: Truth, results: CocoResults, max_detections: int, with_masks: bool = False
) -> Overlaps:
    """Compare every detection with every object of its image.

    Args:
        truth: the objects.
        results: detections of the images of ``truth``.
        max_detections: of each image and class so many count, those with the highest scores.
        with_masks: compare masks instead of boxes.
    """
    images = np.searchsorted(truth.image_ids, results.image_ids)
    by_image = np.argsort(images, kind="stable")  # where scores are equal, as COCO has it
    order = by_image[np.argsort(-results.scores[by_image], kind="stable")]
    groups = images[order] * truth.num_classes + results.labels[order]
    order = order[count_before(groups) < max_detections]
    if with_masks:
        masks = [results.segmentation(row) for row in order]
        pairs = _mask_pairs(truth, images[order], masks)
    else:
        pairs = box_pairs(truth, images[order], results.boxes_xywh[order])
    scores = results.scores[order].astype(float)  # so that thresholds are not rounded to float32
    return Overlaps(truth, order, images[order], results.labels[order], scores, *pairs)


def count_before(groups: np.ndarray) -> np.ndarray:
    """How many of the rows above belong to the same group as each row; ``groups`` is (n,)."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    places = np.arange(len(groups))
    starts = np.searchsorted(ordered, ordered)
    before = np.empty(len(groups), dtype=np.int64)
    before[order] = places - starts
    return before


def box_pairs(
    truth: Truth, images: np.ndarray, boxes_xywh: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes and objects of the same image that overlap.

    Args:
        truth: the objects.
        images: (n,) places in ``truth.image_ids``.
        boxes_xywh: (n, 4).

    Returns:
        (P,) places of the boxes, ascending, (P,) of the objects, (P,) IoU.
    """
    starts = np.searchsorted(truth.images, np.arange(len(truth.image_ids) + 1))
    counts = np.diff(starts)[images]
    ends = np.cumsum(counts)
    parts = []
    first = 0
    while first < len(images):
        done = ends[first - 1] if first else 0
        last = max(int(np.searchsorted(ends, done + _PAIRS_AT_A_TIME, "right")), first + 1)
        box = np.repeat(np.arange(first, last), counts[first:last])
        within = np.arange(len(box)) - np.repeat(
            ends[first:last] - counts[first:last] - done, counts[first:last]
        )
        thing = starts[images[box]] + within
        iou = _box_iou(boxes_xywh[box], truth.boxes_xywh[thing], truth.crowd[thing])
        keep = iou >= LEAST_IOU
        parts.append((box[keep], thing[keep], iou[keep]))
        first = last
    return _join(parts)


def _mask_pairs(
    truth: Truth, images: np.ndarray, masks: list[dict]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    starts = np.searchsorted(truth.images, np.arange(len(truth.image_ids) + 1))
    by_image = np.argsort(images, kind="stable")
    bounds = np.searchsorted(images[by_image], np.arange(len(truth.image_ids) + 1))
    parts = []
    for image in range(len(truth.image_ids)):
        found = by_image[bounds[image] : bounds[image + 1]]
        things = np.arange(starts[image], starts[image + 1])
        if not len(found) or not len(things):
            continue
        iou = coco_mask.iou(
            [masks[i] for i in found],
            [truth.segmentations[i] for i in things],
            truth.crowd[things].astype(np.uint8),
        )
        row, column = np.nonzero(iou >= LEAST_IOU)
        parts.append((found[row], things[column], iou[row, column]))
    found, things, iou = _join(parts)
    order = np.argsort(found, kind="stable")
    return found[order], things[order], iou[order]


def _join(parts: list) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    empty = np.zeros(0, dtype=np.int64)
    first, second, iou = zip((empty, empty, np.zeros(0)), *parts, strict=True)
    return np.concatenate(first), np.concatenate(second), np.concatenate(iou)


def _box_iou(boxes: np.ndarray, objects: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """IoU row by row, as pycocotools computes it; with crowds, intersection over the box."""
    sides = np.minimum(boxes[:, :2] + boxes[:, 2:], objects[:, :2] + objects[:, 2:])
    sides -= np.maximum(boxes[:, :2], objects[:, :2])
    shared = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0)
    area = boxes[:, 2] * boxes[:, 3]
    union = np.where(crowd, area, area + objects[:, 2] * objects[:, 3] - shared)
    return np.divide(shared, union, out=np.zeros(len(boxes)), where=union > 0)


def _rle(segmentation: list | dict, size: tuple[int, int]) -> dict:
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, *size)
    return segmentation
