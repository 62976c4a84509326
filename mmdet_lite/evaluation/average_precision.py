"""Average precision of detections that are known to be true or false, as COCO computes it.

For what COCO itself does not evaluate: some of the images, or detections that were corrected.
"""

from __future__ import annotations

import numpy as np

RECALLS = np.linspace(0, 1, 101)


def average_precisions(
    labels: np.ndarray, is_true: np.ndarray, num_objects: np.ndarray
) -> np.ndarray:
    """Mean of the interpolated precision at 101 recalls.

    Args:
        labels: (n,) classes of the detections, sorted by score, the best first.
        is_true: (n,) bool.
        num_objects: (K,) objects of each class.

    Returns:
        (K,) values; NaN for a class without objects.
    """
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(len(num_objects) + 1))
    values = np.full(len(num_objects), np.nan)
    for label in np.flatnonzero(num_objects):
        hits = is_true[order[bounds[label] : bounds[label + 1]]]
        values[label] = _interpolate(hits, num_objects[label]).mean()
    return values


def mean_precision(values: np.ndarray) -> float:
    """Mean over the classes that have objects; NaN if none has."""
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else float("nan")


def _interpolate(hits: np.ndarray, num_objects: int) -> np.ndarray:
    """(101,) highest precision at each recall or beyond."""
    true = np.cumsum(hits)
    # COCO adds the spacing of 1, against 0/0 where it has detections that are ignored
    precision = true / (np.arange(1, len(hits) + 1) + np.spacing(1))
    best = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(true / num_objects, RECALLS, side="left")
    return np.append(best, 0)[np.minimum(places, len(hits))]
