"""Precision and recall where objects are many, and where they overlap.

Letters: N images, G objects, n detections.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mmdet_lite.evaluation.average_precision import average_precisions, mean_precision
from mmdet_lite.evaluation.matching import NO_MATCH, Matches
from mmdet_lite.evaluation.overlaps import Overlaps, Truth, box_pairs

OBJECTS_AN_IMAGE = ((1, 1), (2, 3), (4, 7), (8, 15), (16, None))  # first, last of each group
OVERLAPS = (0.0, 0.1, 0.3, 0.5)  # where groups of objects begin


def by_objects_an_image(overlaps: Overlaps, matches: Mapping[float, Matches]) -> list[dict]:
    """Average precision of images with few and with many objects; crowds do not count as objects.

    Args:
        overlaps: of detections and objects.
        matches: by IoU threshold; 0.5 among them.

    Returns:
        A row for each of ``OBJECTS_AN_IMAGE``: its 'first' and 'last' number, how many 'images'
        and 'objects', 'AP' over the thresholds and 'AP_50' of these images (NaN without objects).
    """
    truth = overlaps.truth
    objects = ~truth.crowd
    counts = np.bincount(truth.images[objects], minlength=len(truth.image_ids))
    rows = []
    for first, last in OBJECTS_AN_IMAGE:
        is_in = (counts >= first) & (counts <= (last or counts.max(initial=0)))
        labels = truth.labels[objects & is_in[truth.images]]
        num_objects = np.bincount(labels, minlength=truth.num_classes)
        precision = {
            threshold: _precision(overlaps, each, is_in[overlaps.images], num_objects)
            for threshold, each in matches.items()
        }
        rows.append(
            {
                "first": first,
                "last": last,
                "images": int(is_in.sum()),
                "objects": len(labels),
                "AP": float(np.mean(list(precision.values()))),
                "AP_50": precision[0.5],
            }
        )
    return rows


def by_overlap(truth: Truth, matches: Matches) -> list[dict]:
    """Recall of objects by the largest IoU of their box with that of another object.

    Args:
        truth: the objects; crowds do not count.
        matches: they decide what is found, at any score.

    Returns:
        A row for each of ``OVERLAPS``: 'from' and 'to' which IoU, how many 'objects', 'found' ones.
    """
    largest = _largest_overlaps(truth)
    is_found = matches.found_by != NO_MATCH
    rows = []
    for first, last in zip(OVERLAPS, (*OVERLAPS[1:], 1.0), strict=True):
        is_in = (largest >= first) & ((largest < last) | (last == 1)) & ~truth.crowd
        found = int((is_in & is_found).sum())
        rows.append({"from": first, "to": last, "objects": int(is_in.sum()), "found": found})
    return rows


def _precision(
    overlaps: Overlaps, matches: Matches, keep: np.ndarray, num_objects: np.ndarray
) -> float:
    counted = keep & (matches.is_true | matches.is_false)
    values = average_precisions(overlaps.labels[counted], matches.is_true[counted], num_objects)
    return mean_precision(values)


def _largest_overlaps(truth: Truth) -> np.ndarray:
    """(G,) IoU with the object next to each, 0 below ``LEAST_IOU``."""
    first, second, iou = box_pairs(truth, truth.images, truth.boxes_xywh)
    keep = (first != second) & ~truth.crowd[first] & ~truth.crowd[second]
    largest = np.zeros(len(truth.labels))
    np.maximum.at(largest, first[keep], iou[keep])
    return largest
