"""Quality focal loss (Li et al. 2020, "Generalized Focal Loss", eq. 4)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_lite.models.fitting import CLASS_SCORES
from mmdet_lite.models.losses.reduce import class_scores, weighted_sum
from mmdet_lite.ranges import check_not_negative
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class QualityFocalLoss(nn.Module):
    """Sigmoid cross entropy times ``|score - sigmoid| ** beta``: one score for class and quality.

    Args:
        beta: how much samples count less the closer they are to their score.
        loss_weight: factor of the result.

    Raises:
        ValueError: ``beta`` or ``loss_weight`` is negative.
    """

    works_on = CLASS_SCORES

    def __init__(self, beta: float = 2.0, loss_weight: float = 1.0):
        super().__init__()
        check_not_negative(self, beta=beta, loss_weight=loss_weight)
        self.beta = beta
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over samples and classes.

        Args:
            pred: (N, K) logits.
            target: (N, K) scores in 0..1; or (N,) int64 in 0..K, K for the background.
            weight: (N,).
            avg_factor: scalar, by convention the number of positives.

        Returns:
            scalar.
        """
        pred = pred.float()
        scores = class_scores(target, pred.shape[1])
        entropy = F.binary_cross_entropy_with_logits(pred, scores, reduction="none")
        elements = entropy * (scores - pred.sigmoid()).abs().pow(self.beta)
        return self.loss_weight * weighted_sum(elements, weight[:, None], avg_factor)
