"""Which classes are taken for which, at every score threshold.

Letters: K classes, T score thresholds.
"""

from __future__ import annotations

import numpy as np

from mmdet_lite.evaluation.matching import NO_MATCH, Matches, assign
from mmdet_lite.evaluation.overlaps import Overlaps


def confusion(
    overlaps: Overlaps, matches: Matches, iou_threshold: float, score_threshold: float
) -> np.ndarray:
    """Count true against predicted classes.

    First come the matches of COCO's rule, within a class: they are the diagonal. Then detections
    and objects that are left over match by the same rule without regard to classes. What is left
    after that is a detection of background, or an object that is missed; detections on crowds do
    not count.

    Args:
        overlaps: of detections and objects.
        matches: of the same IoU threshold.
        iou_threshold: of both.
        score_threshold: detections below do not count.

    Returns:
        (K + 1, K + 1) int64; rows are true classes, columns predicted ones. The last row has the
        detections without an object, the last column the objects that are missed.
    """
    size = overlaps.truth.num_classes + 1
    counted = int(np.searchsorted(-overlaps.scores, -score_threshold, side="right"))
    cells = _matched_cells(overlaps, matches, iou_threshold, counted)
    counts = np.bincount(cells, minlength=size * size).reshape(size, size)
    is_ignored = ~(matches.is_true | matches.is_false)[:counted]
    labels = overlaps.labels[:counted][~is_ignored]
    counts[-1, :-1] = np.bincount(labels, minlength=size - 1) - counts[:-1, :-1].sum(axis=0)
    counts[:-1, -1] = overlaps.num_objects - counts[:-1, :-1].sum(axis=1)
    return counts


def confusion_changes(
    overlaps: Overlaps, matches: Matches, iou_threshold: float, score_thresholds: np.ndarray
) -> list[list[int]]:
    """The matched part of the matrix at many thresholds, as what changes from one to the next.

    Args:
        overlaps: of detections and objects.
        matches: of the same IoU threshold.
        iou_threshold: of both.
        score_thresholds: (T,).

    Returns:
        T lists (cell, change, cell, change, ...); a cell is ``true class * K + predicted class``.
        The sum over the first lists is the matrix at the threshold of the last of them.
    """
    num_classes = overlaps.truth.num_classes
    before = np.zeros(num_classes**2, dtype=np.int64)
    changes = []
    for threshold in score_thresholds:
        counted = int(np.searchsorted(-overlaps.scores, -threshold, side="right"))
        cells = _matched_cells(overlaps, matches, iou_threshold, counted)
        true, predicted = np.divmod(cells, num_classes + 1)
        now = np.bincount(true * num_classes + predicted, minlength=len(before))
        (changed,) = np.nonzero(now != before)
        changes.append(np.stack([changed, (now - before)[changed]], axis=1).ravel().tolist())
        before = now
    return changes


def _matched_cells(
    overlaps: Overlaps, matches: Matches, iou_threshold: float, counted: int
) -> np.ndarray:
    """``true class * (K + 1) + predicted class`` of every match among the first detections."""
    truth = overlaps.truth
    object_of = np.where(matches.is_true, matches.object_of, NO_MATCH)[:counted]
    is_open = (matches.found_by == NO_MATCH) | (matches.found_by >= counted)
    is_open &= ~truth.crowd
    may_match = (overlaps.pair_iou >= iou_threshold) & (overlaps.pair_found < counted)
    may_match &= matches.is_false[overlaps.pair_found] & is_open[overlaps.pair_object]
    others = assign(*overlaps.pairs(may_match), overlaps.images[:counted], truth.crowd)
    object_of = np.where(object_of == NO_MATCH, others, object_of)
    has_found = object_of != NO_MATCH
    true, predicted = truth.labels[object_of[has_found]], overlaps.labels[:counted][has_found]
    return true * (truth.num_classes + 1) + predicted
