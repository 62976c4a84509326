"""Cross entropy of each class on its own, with scores as targets."""

from __future__ import annotations

from torch import Tensor, nn

from mmdet_lite.models.fitting import CLASS_SCORES
from mmdet_lite.models.losses.reduce import class_scores, sigmoid_entropy, weighted_sum
from mmdet_lite.ranges import check_not_negative
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class SigmoidCrossEntropyLoss(nn.Module):
    """Binary cross entropy of each class of a dense head.

    Args:
        loss_weight: factor of the result.
        pos_weight: factor of the part of the entropy that draws scores up.

    Raises:
        ValueError: an argument is out of its range.
    """

    works_on = CLASS_SCORES

    def __init__(self, loss_weight: float = 1.0, pos_weight: float = 1.0):
        super().__init__()
        check_not_negative(self, loss_weight=loss_weight, pos_weight=pos_weight)
        self.pos_weight = pos_weight
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over samples and classes.

        Args:
            pred: (N, K) logits.
            target: (N, K) scores in 0..1; or (N,) int64 in 0..K, K for the background.
            weight: (N,).
            avg_factor: scalar, by convention the sum of the scores.

        Returns:
            scalar.
        """
        scores = class_scores(target, pred.shape[1])
        elements = sigmoid_entropy(pred.float(), scores, self.pos_weight)
        return self.loss_weight * weighted_sum(elements, weight[:, None], avg_factor)
