"""What goes wrong, and what it costs: the error types of TIDE (Bolya et al., ECCV 2020).

Letters: n detections, G objects, K classes, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmdet_lite.evaluation.average_precision import average_precisions, mean_precision
from mmdet_lite.evaluation.matching import NO_MATCH, Matches
from mmdet_lite.evaluation.overlaps import LEAST_IOU, Overlaps

FOREGROUND, BACKGROUND = 0.5, LEAST_IOU  # the paper's t_f and t_b
CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, NOTHING_THERE, MISSED = (
    "classification",
    "localisation",
    "both",
    "duplicate",
    "background",
    "missed",
)
TYPES = (CLASSIFICATION, LOCALISATION, BOTH, DUPLICATE, NOTHING_THERE, MISSED)
_NO_ERROR = -1


@dataclass(frozen=True)
class Errors:
    """Every false detection has one type; every object that is not found is missed, or is the
    object that a detection of wrong class or place was about.

    Attributes:
        types: (n,) place in ``TYPES``, or -1: the detection is true or does not count.
        about: (n,) object that a detection of wrong class or place was about, or ``NO_MATCH``.
        is_missed: (G,) bool.
    """

    types: np.ndarray
    about: np.ndarray
    is_missed: np.ndarray

    def is_type(self, name: str) -> np.ndarray:
        """(n,) bool: the detections of one type."""
        return self.types == TYPES.index(name)


def find_errors(overlaps: Overlaps, matches: Matches) -> Errors:
    """Find the type of every error.

    With the largest IoU that a false detection has with objects of its class and of others:

    ===============  ========================  ========================
    type             its class                 other classes
    ===============  ========================  ========================
    localisation     ``t_b`` to ``t_f``        any
    classification   else                      ``t_f`` or more
    duplicate        ``t_f`` or more           less than ``t_f``
    both             less than ``t_b``         ``t_b`` to ``t_f``
    background       less than ``t_b``         less than ``t_b``
    ===============  ========================  ========================

    Args:
        overlaps: of detections and objects.
        matches: at an IoU of ``FOREGROUND``.
    """
    truth = overlaps.truth
    counts = ~truth.crowd[overlaps.pair_object]
    same = overlaps.labels[overlaps.pair_found] == truth.labels[overlaps.pair_object]
    own_iou, own = _best(overlaps, counts & same)
    other_iou, other = _best(overlaps, counts & ~same)
    is_near = (own_iou >= BACKGROUND) & (own_iou < FOREGROUND)
    conditions = {
        LOCALISATION: is_near,
        CLASSIFICATION: other_iou >= FOREGROUND,
        DUPLICATE: own_iou >= FOREGROUND,
        BOTH: other_iou >= BACKGROUND,
        NOTHING_THERE: np.ones(len(overlaps), dtype=bool),
    }
    names = np.array([TYPES.index(name) for name in conditions])
    first = np.argmax(np.stack(list(conditions.values())), axis=0)
    types = np.where(matches.is_false, names[first], _NO_ERROR)
    about = np.full(len(overlaps), NO_MATCH)
    for name, objects in ((LOCALISATION, own), (CLASSIFICATION, other)):
        rows = types == TYPES.index(name)
        about[rows] = objects[rows]
    is_missed = (matches.found_by == NO_MATCH) & ~truth.crowd
    is_missed[about[about != NO_MATCH]] = False
    return Errors(types, about, is_missed)


def count_errors(errors: Errors) -> dict[str, int]:
    """How many there are of each type."""
    counts = {name: int(errors.is_type(name).sum()) for name in TYPES}
    return counts | {MISSED: int(errors.is_missed.sum())}


def gains(overlaps: Overlaps, matches: Matches, errors: Errors) -> dict[str, float]:
    """How much AP50 would rise if all errors of one type were mended, and nothing else.

    As in section 2.3 of the paper: a wrong class or place is put right, and of several detections
    of one object only the one with the highest score stays; detections of the types both,
    duplicate and background are taken away; missed objects are no longer asked for.

    Args:
        overlaps: of detections and objects.
        matches: at an IoU of ``FOREGROUND``.
        errors: from :func:`find_errors`.

    Returns:
        Gains by type, and by 'false positives' (all taken away) and 'false negatives' (no object
        that is not found is asked for); NaN where there are no objects.
    """
    num_objects = overlaps.num_objects
    missed = _count(overlaps.truth.labels[errors.is_missed], len(num_objects))
    found = _count(overlaps.labels[matches.is_true], len(num_objects))
    mended = {name: _mend(overlaps, matches, errors, name) for name in TYPES[:2]}
    for name in TYPES[2:5]:
        mended[name] = _mean(overlaps.labels, matches, ~errors.is_type(name), num_objects)
    mended[MISSED] = _without(overlaps, matches, missed)
    mended["false positives"] = _mean(overlaps.labels, matches, ~matches.is_false, num_objects)
    mended["false negatives"] = _without(overlaps, matches, num_objects - found)
    now = _mean(overlaps.labels, matches, np.ones(len(overlaps), bool), num_objects)
    return {name: value - now for name, value in mended.items()}


def _best(overlaps: Overlaps, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) largest IoU of each detection among some pairs, 0 if it has none, and the object."""
    found, things, iou = overlaps.pairs(keep)
    best_iou, best = np.zeros(len(overlaps)), np.full(len(overlaps), NO_MATCH)
    order = np.argsort(iou, kind="stable")  # the last one written is the largest
    best_iou[found[order]], best[found[order]] = iou[order], things[order]
    return best_iou, best


def _mend(overlaps: Overlaps, matches: Matches, errors: Errors, name: str) -> float:
    """AP50 with the detections of one type put right."""
    is_mended = errors.is_type(name)
    objects = np.where(is_mended, errors.about, NO_MATCH)
    objects[matches.is_true] = matches.object_of[matches.is_true]
    finders = np.flatnonzero(objects != NO_MATCH)
    _, first = np.unique(objects[finders], return_index=True)  # the highest score of each object
    is_true = np.zeros(len(overlaps), dtype=bool)
    is_true[finders[first]] = True
    labels = overlaps.labels.copy()
    labels[is_mended] = overlaps.truth.labels[errors.about[is_mended]]
    counted = is_true | (matches.is_false & ~is_mended)
    values = average_precisions(labels[counted], is_true[counted], overlaps.num_objects)
    return mean_precision(values)


def _without(overlaps: Overlaps, matches: Matches, taken: np.ndarray) -> float:
    """AP50 with fewer objects; a class that has none left keeps its AP of 0."""
    num_objects = overlaps.num_objects
    left = np.where(num_objects > taken, num_objects - taken, num_objects)
    return _mean(overlaps.labels, matches, np.ones(len(overlaps), bool), left)


def _mean(labels: np.ndarray, matches: Matches, keep: np.ndarray, num_objects: np.ndarray) -> float:
    counted = keep & (matches.is_true | matches.is_false)
    return mean_precision(
        average_precisions(labels[counted], matches.is_true[counted], num_objects)
    )


def _count(labels: np.ndarray, num_classes: int) -> np.ndarray:
    return np.bincount(labels, minlength=num_classes)
