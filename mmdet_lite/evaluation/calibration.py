"""Whether a score of 0.8 means that eight in ten are true.

Letters: K classes, n detections, S bins of scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmdet_lite.evaluation.matching import Matches
from mmdet_lite.evaluation.overlaps import Overlaps

BINS = 10  # S, of equal width


@dataclass(frozen=True)
class Calibration:
    """Detections by class and score; the last row is all classes together.

    Attributes:
        counts: (K + 1, S) int64 detections.
        scores: (K + 1, S) their mean score; NaN where there are none.
        shares: (K + 1, S) how many of them are true, 0..1; NaN where there are none.
    """

    counts: np.ndarray
    scores: np.ndarray
    shares: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """(K + 1,) expected calibration error: mean distance of score and share over detections."""
        distance = np.nan_to_num(np.abs(self.scores - self.shares)) * self.counts
        return _divide(distance.sum(axis=1), self.counts.sum(axis=1))


def calibrate(overlaps: Overlaps, matches: Matches) -> Calibration:
    """Compare scores with the share of true detections; those on crowds do not count.

    Args:
        overlaps: of detections and objects.
        matches: they decide what is true.
    """
    counted = matches.is_true | matches.is_false
    labels, scores = overlaps.labels[counted], overlaps.scores[counted]
    places = labels * BINS + np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)

    def add_up(weights: np.ndarray) -> np.ndarray:
        size = overlaps.truth.num_classes * BINS
        table = np.bincount(places, weights, minlength=size).reshape(-1, BINS)
        return np.vstack([table, table.sum(axis=0)])

    counts = add_up(np.ones(len(labels)))
    return Calibration(
        counts.astype(np.int64),
        _divide(add_up(scores), counts),
        _divide(add_up(matches.is_true[counted]), counts),
    )


def _divide(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
