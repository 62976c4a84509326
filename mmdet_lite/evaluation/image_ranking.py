"""Which images to look at: the worst, the best, and where one run beats another. N images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmdet_lite.evaluation.score_counts import ImageCounts


@dataclass(frozen=True)
class Comparison:
    """Images by which of two runs has the higher F1 in them.

    Attributes:
        wins: places of those where this run has, the largest difference first.
        losses: where the other one has, likewise.
        ties: how many are left.
    """

    wins: np.ndarray
    losses: np.ndarray
    ties: int


def worst_images(counts: ImageCounts, number: int) -> np.ndarray:
    """Places of the images with the lowest F1, the most errors first where it is the same."""
    order = np.lexsort((-counts.errors, counts.f1))
    return order[counts.errors[order] > 0][:number]


def best_images(counts: ImageCounts, number: int) -> np.ndarray:
    """Places of the images with the highest F1, the most objects first where it is the same."""
    order = np.lexsort((-counts.true, -counts.f1))
    return order[counts.true[order] > 0][:number]


def compare_images(this: ImageCounts, other: ImageCounts) -> Comparison:
    """Compare two runs image by image.

    Args:
        this: of N images.
        other: of the same images.
    """
    gain = this.f1 - other.f1
    changed = np.abs(this.errors - other.errors)
    order = np.lexsort((-changed, -gain))
    wins, losses = order[gain[order] > 0], order[::-1][gain[order[::-1]] < 0]
    return Comparison(wins, losses, len(gain) - len(wins) - len(losses))
