"""Distribution focal loss (Li et al. 2020, "Generalized Focal Loss", eq. 6)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_lite.models.fitting import DISTRIBUTIONS
from mmdet_lite.models.losses.reduce import weighted_sum
from mmdet_lite.ranges import check_not_negative
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class DistributionFocalLoss(nn.Module):
    """Cross entropy of the two bins around a distance, the nearer one weighing more.

    Args:
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    works_on = DISTRIBUTIONS

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        check_not_negative(self, loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over samples of the mean over their four sides.

        Args:
            pred: (N, 4 * bins) logits, side after side.
            target: (N, 4) distances in bins, from 0 to below the last bin.
            weight: (N,).
            avg_factor: scalar, by convention the sum of the weights.

        Returns:
            scalar.
        """
        log_probs = F.log_softmax(pred.float().unflatten(1, (4, -1)), dim=2)  # (N, 4, bins)
        lower = target.long()
        upper_share = target - lower
        picked = log_probs.gather(2, lower[..., None]), log_probs.gather(2, lower[..., None] + 1)
        elements = -(picked[0][..., 0] * (1 - upper_share) + picked[1][..., 0] * upper_share)
        return self.loss_weight * weighted_sum(elements.mean(dim=1), weight, avg_factor)
