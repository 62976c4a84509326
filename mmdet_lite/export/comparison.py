"""How far two forms of a model agree. Letters: B images, D detections, m side of a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MOST_PIXELS, MOST_SCORE, LEAST_MASK_IOU = 1e-2, 1e-4, 0.99
_SAME_PLACE = 1.0  # pixels: boxes further apart are not the same detection


@dataclass
class Difference:
    """The largest differences found so far.

    Attributes:
        boxes: in pixels.
        scores: absolute.
        mask_iou: the smallest overlap of two masks; None: there are none.
        compared: detections, or boxes, that were compared.
        unmatched: detections that only one of the two has.
    """

    boxes: float = 0.0
    scores: float = 0.0
    mask_iou: float | None = None
    compared: int = 0
    unmatched: int = 0

    def is_small(self) -> bool:
        """Whether the two can be taken for the same."""
        masks = self.mask_iou is None or self.mask_iou >= LEAST_MASK_IOU
        close = self.boxes <= MOST_PIXELS and self.scores <= MOST_SCORE
        return close and masks and not self.unmatched

    def __str__(self) -> str:
        masks = "" if self.mask_iou is None else f", masks' IoU at least {self.mask_iou:.4f}"
        alone = f", {self.unmatched} detections of one only" if self.unmatched else ""
        return (
            f"{self.compared} compared: boxes within {self.boxes:.1e} pixels, scores within "
            f"{self.scores:.1e}{masks}{alone}"
        )

    def add_raw(self, expected: Sequence[np.ndarray], given: Sequence[np.ndarray]) -> None:
        """Compare boxes (B, A, 4) and scores (B, A, K), row by row."""
        (boxes, scores), (other_boxes, other_scores) = expected, given
        self.boxes = max(self.boxes, _largest(boxes - other_boxes))
        self.scores = max(self.scores, _largest(scores - other_scores))
        self.compared += boxes.shape[0] * boxes.shape[1]

    def add_detections(
        self, expected: Sequence[np.ndarray], given: Sequence[np.ndarray], mask_thr: float = 0.5
    ) -> None:
        """Compare detections, image by image, in whatever order they are.

        Args:
            expected, given: boxes (B, D, 4), scores (B, D), labels (B, D), valid (B, D) and, with a
                mask branch, masks (B, D, m, m).
            mask_thr: a pixel belongs to the mask from this probability on.
        """
        for image in range(len(expected[0])):
            ours, theirs = (
                [part[image][parts[3][image]] for part in parts] for parts in (expected, given)
            )
            self._add_image(ours, theirs, mask_thr)

    def _add_image(self, ours: list[np.ndarray], theirs: list[np.ndarray], mask_thr: float) -> None:
        pairs = _pairs(ours, theirs)
        rows, others = pairs.T
        self.compared += len(pairs)
        self.boxes = max(self.boxes, _largest(ours[0][rows] - theirs[0][others]))
        self.scores = max(self.scores, _largest(ours[1][rows] - theirs[1][others]))
        if len(ours) > 4 and len(pairs):
            own, other = ours[4][rows] >= mask_thr, theirs[4][others] >= mask_thr
            least = float(_mask_iou(own, other).min())
            self.mask_iou = least if self.mask_iou is None else min(self.mask_iou, least)
        # At the lowest score that is kept, a last digit decides who is in.
        alone = [np.delete(ours[1], rows), np.delete(theirs[1], others)]
        lowest = min([*ours[1], *theirs[1]], default=0.0)
        self.unmatched += sum(int((scores > lowest + MOST_SCORE).sum()) for scores in alone)


def _pairs(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> np.ndarray:
    """(n, 2) rows of the same detection: of one label, each other's nearest, at one place."""
    distance = np.abs(ours[0][:, None] - theirs[0][None]).max(axis=2, initial=0)
    distance = np.where(ours[2][:, None] == theirs[2][None], distance, np.inf)
    if not distance.size:
        return np.zeros((0, 2), dtype=np.int64)
    nearest = distance.argmin(axis=1)
    rows = np.arange(len(nearest))
    mutual = distance.argmin(axis=0)[nearest] == rows
    here = mutual & (distance[rows, nearest] <= _SAME_PLACE)
    return np.stack([rows[here], nearest[here]], axis=1)


def _mask_iou(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """(n, m, m) twice to (n,); two empty masks are the same."""
    both = (ours & theirs).sum(axis=(1, 2))
    either = (ours | theirs).sum(axis=(1, 2))
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def _largest(difference: np.ndarray) -> float:
    return float(np.abs(difference).max(initial=0.0))
