"""Focal loss (Lin et al. 2017, eq. 5)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from mmdet_lite.models.losses.reduce import weighted_sum
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class FocalLoss(nn.Module):
    """Sigmoid focal loss with background as the label K.

    Args:
        gamma: how much well-classified samples count less.
        alpha: weight of the foreground; 1 - alpha is that of the background.
        loss_weight: factor of the result.
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25, loss_weight: float = 1.0):
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over samples and classes.

        Args:
            pred: (N, K) logits.
            target: (N,) int64 in 0..K.
            weight: (N,).
            avg_factor: scalar, by convention the number of positives.

        Returns:
            scalar.
        """
        one_hot = F.one_hot(target, pred.shape[1] + 1)[:, :-1].float()
        elements = sigmoid_focal_loss(pred.float(), one_hot, self.alpha, self.gamma)
        return self.loss_weight * weighted_sum(elements, weight[:, None], avg_factor)
