"""Regression losses on deltas. Letters: N samples."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_lite.models.fitting import DELTAS
from mmdet_lite.models.losses.reduce import weighted_sum
from mmdet_lite.ranges import check_not_negative
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class L1Loss(nn.Module):
    """Absolute difference.

    Args:
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    works_on = DELTAS

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        check_not_negative(self, loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over samples and their four values, a scalar.

        Args:
            pred, target: (N, 4).
            weight: (N,).
            avg_factor: scalar.
        """
        elements = (pred.float() - target).abs()
        return self.loss_weight * weighted_sum(elements, weight[:, None], avg_factor)


@MODELS.register_module()
class SmoothL1Loss(nn.Module):
    """Quadratic below ``beta``, absolute difference minus ``beta / 2`` above (Fast R-CNN, eq. 3).

    Args:
        beta: where the two parts meet.
        loss_weight: factor of the result.
        grad_scale: factor of the gradient alone. AP-loss's RetinaNet has 0.25: it reports the sum
            over the 4 coordinates and trains on their mean.

    Raises:
        ValueError: an argument is out of its range.
    """

    works_on = DELTAS

    def __init__(self, beta: float = 1.0, loss_weight: float = 1.0, grad_scale: float = 1.0):
        super().__init__()
        check_not_negative(self, beta=beta, loss_weight=loss_weight)
        self.beta = beta
        self.loss_weight = loss_weight
        self.grad_scale = grad_scale

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over samples and their four values, a scalar.

        Args:
            pred, target: (N, 4).
            weight: (N,).
            avg_factor: scalar.
        """
        elements = F.smooth_l1_loss(pred.float(), target, beta=self.beta, reduction="none")
        loss = self.loss_weight * weighted_sum(elements, weight[:, None], avg_factor)
        if self.grad_scale == 1:
            return loss
        return loss * self.grad_scale + loss.detach() * (1 - self.grad_scale)


@MODELS.register_module()
class BalancedL1Loss(nn.Module):
    """Smooth L1 with more gradient for small differences (Libra R-CNN, Pang et al. 2019, eq. 8).

    Args:
        alpha: the larger, the more small differences count.
        gamma: the gradient above ``beta``.
        beta: where the two parts meet.
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    works_on = DELTAS

    def __init__(
        self, alpha: float = 0.5, gamma: float = 1.5, beta: float = 1.0, loss_weight: float = 1.0
    ):
        super().__init__()
        check_not_negative(self, loss_weight=loss_weight)
        self.alpha = alpha
        self.gamma = gamma
        self.beta = beta
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over samples and their four values, a scalar.

        Args:
            pred, target: (N, 4).
            weight: (N,).
            avg_factor: scalar.
        """
        elements = self._elements((pred.float() - target).abs())
        return self.loss_weight * weighted_sum(elements, weight[:, None], avg_factor)

    def _elements(self, difference: Tensor) -> Tensor:
        b = math.exp(self.gamma / self.alpha) - 1  # so that the parts meet with equal gradient
        small = difference.clamp(max=self.beta)  # of both parts a gradient is taken
        rising = (b * small + 1) * torch.log(b * small / self.beta + 1)
        return torch.where(
            difference < self.beta,
            self.alpha / b * rising - self.alpha * small,
            self.gamma * difference + self.gamma / b - self.alpha * self.beta,
        )
