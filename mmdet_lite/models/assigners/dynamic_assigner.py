"""Assigners that look at what the model predicts. Letters: B images, A priors, G ground truths."""

from __future__ import annotations

from torch import Tensor

from mmdet_lite.models.fitting import PREDICTIONS
from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.structures.samples import GroundTruth


class DynamicAssigner:
    """Base class: the assignment depends on the predictions of the step, and grades positives."""

    works_on = PREDICTIONS

    def assign(
        self, priors: Priors, gt: GroundTruth, valid: Tensor | None, logits: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Match every prior to at most one ground-truth box.

        Args:
            priors: A priors; their centres are the points.
            gt: padded ground truth; rows with ``valid`` False never match.
            valid: (B, A) bool, priors that may be used; the others are IGNORE. None: all may.
            logits: (B, A, K) of the classes, a sigmoid each.
            boxes: (B, A, 4) decoded, not clipped.

        Returns:
            (B, A) int64: index into G, or NEGATIVE, or IGNORE; and (B, A) float32, what a positive
            has to score as its class, in 0..1, and 0 for the others.
        """
        raise NotImplementedError
