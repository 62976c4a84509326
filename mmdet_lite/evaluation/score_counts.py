"""True and false detections from each score on: by class, and by image.

Letters: N images, K classes, T score thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmdet_lite.evaluation.matching import NO_MATCH, Matches
from mmdet_lite.evaluation.overlaps import Overlaps

SCORE_THRESHOLDS = np.arange(100) / 100  # 0.00, 0.01, ..., 0.99


@dataclass(frozen=True)
class ImageCounts:
    """What is right and wrong in each image at one score threshold.

    Attributes:
        true: (N,) int64 true detections.
        false: (N,) int64 false detections.
        missed: (N,) int64 objects that no detection found.
    """

    true: np.ndarray
    false: np.ndarray
    missed: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        """(N,) false detections and missed objects."""
        return self.false + self.missed

    @property
    def f1(self) -> np.ndarray:
        """(N,) harmonic mean of precision and recall; 1 where there is nothing to find or found."""
        return np.where(
            self.true + self.errors > 0,
            2 * self.true / np.maximum(2 * self.true + self.errors, 1),
            1.0,
        )


def class_histograms(overlaps: Overlaps, matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """True and false detections by class and score.

    Args:
        overlaps: of detections and objects.
        matches: they decide what is true.

    Returns:
        Two (K, T) int64: those with a score of at least the threshold and less than the next one.
    """
    bins = np.searchsorted(SCORE_THRESHOLDS, overlaps.scores, side="right") - 1
    shape = (overlaps.truth.num_classes, len(SCORE_THRESHOLDS))
    places = overlaps.labels * shape[1] + np.maximum(bins, 0)
    true, false = (
        np.bincount(places[keep], minlength=shape[0] * shape[1]).reshape(shape)
        for keep in (matches.is_true, matches.is_false)
    )
    return true, false


def image_counts(overlaps: Overlaps, matches: Matches, score_threshold: float) -> ImageCounts:
    """Count true, false and missed ones in every image.

    Args:
        overlaps: of detections and objects.
        matches: they decide what is true.
        score_threshold: detections below do not count.
    """
    truth = overlaps.truth
    counted = overlaps.scores >= score_threshold
    is_found = matches.found_by != NO_MATCH
    is_found[is_found] = counted[matches.found_by[is_found]]

    def count(images: np.ndarray) -> np.ndarray:
        return np.bincount(images, minlength=len(truth.image_ids))

    return ImageCounts(
        count(overlaps.images[counted & matches.is_true]),
        count(overlaps.images[counted & matches.is_false]),
        count(truth.images[~is_found & ~truth.crowd]),
    )
