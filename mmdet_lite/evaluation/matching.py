"""Which detection found which object, by COCO's rule.

Letters: n detections, G objects, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mmdet_lite.evaluation.overlaps import Overlaps, count_before

NO_MATCH = -1


@dataclass(frozen=True)
class Matches:
    """Who found what. Detections are in the order of their scores, the best first.

    A detection is true, or ignored as it lies on a crowd, or else false.

    Attributes:
        object_of: (n,) int64 object that each detection found, or ``NO_MATCH``; crowds included.
        found_by: (G,) int64 detection that found each object, or ``NO_MATCH``; never for crowds.
        is_true: (n,) bool.
        is_false: (n,) bool.
    """

    object_of: np.ndarray
    found_by: np.ndarray
    is_true: np.ndarray
    is_false: np.ndarray


def match(overlaps: Overlaps, iou_threshold: float) -> Matches:
    """Let detections find objects of their class, those with the highest scores first.

    Each takes the free object that it overlaps most (the later one of equals), if that is at least
    ``iou_threshold``. What no object is left for may find a crowd, and a crowd is always free.
    As a lower score never takes from a higher one, the detections from some score on have the same
    matches when all others are left out.

    Args:
        overlaps: of detections and objects.
        iou_threshold: at least ``LEAST_IOU``.
    """
    truth = overlaps.truth
    same_class = overlaps.labels[overlaps.pair_found] == truth.labels[overlaps.pair_object]
    keep = same_class & (overlaps.pair_iou >= min(iou_threshold, 1 - 1e-10))  # as COCO has it
    groups = overlaps.images * truth.num_classes + overlaps.labels
    object_of = assign(*overlaps.pairs(keep), groups, truth.crowd)
    has_found = object_of != NO_MATCH
    is_true = has_found.copy()
    is_true[has_found] = ~truth.crowd[object_of[has_found]]
    found_by = np.full(len(truth.labels), NO_MATCH)
    found_by[object_of[is_true]] = np.flatnonzero(is_true)
    return Matches(object_of, found_by, is_true, ~has_found)


def assign(
    found: np.ndarray, things: np.ndarray, iou: np.ndarray, groups: np.ndarray, crowd: np.ndarray
) -> np.ndarray:
    """Give detections the free objects that they overlap most, in the order of their scores.

    Groups do not share objects, so the first detections of all groups take their turns together,
    then the second ones, and so on.

    Args:
        found: (P,) detections of the pairs that may match.
        things: (P,) their objects.
        iou: (P,).
        groups: (n,) the group of each detection; the detections are in the order of their scores.
        crowd: (G,) bool: objects that stay free and are taken last.

    Returns:
        (n,) int64 objects, or ``NO_MATCH``.
    """
    object_of = np.full(len(groups), NO_MATCH)
    if not len(found):
        return object_of
    candidates, places = np.unique(found, return_inverse=True)
    turns = count_before(groups[candidates])[places]
    order = np.lexsort((-things, -iou, crowd[things], found, turns))
    bounds = np.searchsorted(turns[order], np.arange(turns.max() + 2))
    is_free = np.ones(len(crowd), dtype=bool)
    for first, last in pairwise(bounds):
        rows = order[first:last]
        rows = rows[is_free[things[rows]]]
        rows = rows[np.diff(found[rows], prepend=-1) != 0]  # the preferred object of each
        object_of[found[rows]] = things[rows]
        is_free[things[rows]] = crowd[things[rows]]
    return object_of
