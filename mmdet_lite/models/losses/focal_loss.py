"""Focal loss (Lin et al. 2017, eq. 5)."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from mmdet_lite.models.fitting import CLASS_SCORES
from mmdet_lite.models.losses.reduce import class_scores, sigmoid_entropy, weighted_sum
from mmdet_lite.ranges import check_not_negative
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class FocalLoss(nn.Module):
    """Sigmoid focal loss; a score between 0 and 1 is the mixture of both.

    Args:
        gamma: how much well-classified samples count less.
        alpha: weight of the foreground; 1 - alpha is that of the background.
        loss_weight: factor of the result.
        pos_weight: factor of the part of the cross entropy that draws scores up.

    Raises:
        ValueError: an argument is out of its range.
    """

    works_on = CLASS_SCORES

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float = 0.25,
        loss_weight: float = 1.0,
        pos_weight: float = 1.0,
    ):
        super().__init__()
        check_not_negative(self, gamma=gamma, loss_weight=loss_weight, pos_weight=pos_weight)
        self.pos_weight = pos_weight
        self.gamma = gamma
        self.alpha = alpha
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over samples and classes.

        Args:
            pred: (N, K) logits.
            target: (N,) int64 in 0..K, K for the background; or (N, K) scores in 0..1.
            weight: (N,).
            avg_factor: scalar, by convention the number of positives.

        Returns:
            scalar.
        """
        scores = class_scores(target, pred.shape[1])
        elements = self._elements(pred.float(), scores)
        return self.loss_weight * weighted_sum(elements, weight[:, None], avg_factor)

    def _elements(self, pred: Tensor, scores: Tensor) -> Tensor:
        if self.pos_weight == 1:
            return sigmoid_focal_loss(pred, scores, self.alpha, self.gamma)
        found = pred.sigmoid()
        missed = 1 - found * scores - (1 - found) * (1 - scores)
        weight = self.alpha * scores + (1 - self.alpha) * (1 - scores)
        return sigmoid_entropy(pred, scores, self.pos_weight) * weight * missed**self.gamma
