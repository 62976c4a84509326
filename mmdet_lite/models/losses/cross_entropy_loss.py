"""Cross entropies. Letters: N samples, K classes, M masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_lite.models.fitting import CLASS_LABELS, MASKS, SINGLE_SCORES
from mmdet_lite.models.losses.reduce import weighted_sum
from mmdet_lite.ranges import check_not_negative
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class CrossEntropyLoss(nn.Module):
    """Softmax cross entropy.

    Args:
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    works_on = CLASS_LABELS

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        check_not_negative(self, loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over samples, a scalar.

        Args:
            pred: (N, K) logits.
            target: (N,) int64, columns of ``pred``.
            weight: (N,).
            avg_factor: scalar.
        """
        elements = F.cross_entropy(pred.float(), target, reduction="none")
        return self.loss_weight * weighted_sum(elements, weight, avg_factor)


@MODELS.register_module()
class BinaryCrossEntropyLoss(nn.Module):
    """Sigmoid cross entropy, each element on its own.

    Args:
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    works_on = SINGLE_SCORES

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        check_not_negative(self, loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over elements, a scalar.

        Args:
            pred: (...) logits.
            target, weight: (...) in 0..1.
            avg_factor: scalar.
        """
        elements = F.binary_cross_entropy_with_logits(
            pred.float(), target.float(), reduction="none"
        )
        return self.loss_weight * weighted_sum(elements, weight, avg_factor)


@MODELS.register_module()
class MaskCrossEntropyLoss(nn.Module):
    """Sigmoid cross entropy of one mask channel, that of the object's class (Mask R-CNN, sec. 3).

    Args:
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    works_on = MASKS

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        check_not_negative(self, loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        labels: Tensor,
        weight: Tensor,
        avg_factor: Tensor | float,
    ) -> Tensor:
        """Sum over masks of the mean over their pixels.

        Args:
            pred: (M, K, h, w) logits.
            target: (M, h, w) in 0..1.
            labels: (M,) int64 in 0..K-1, the channel of each mask.
            weight: (M,) 1 for masks that count, 0 for padding.
            avg_factor: scalar, by convention the number of masks that count.

        Returns:
            scalar.
        """
        rows = torch.arange(len(pred), device=pred.device)
        logits = pred[rows, labels].float()  # (M, h, w)
        elements = F.binary_cross_entropy_with_logits(logits, target.float(), reduction="none")
        return self.loss_weight * weighted_sum(elements.mean(dim=(1, 2)), weight, avg_factor)
