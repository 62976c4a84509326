"""Losses on boxes: what their overlap lacks of 1. Letters: N samples."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from mmdet_lite.models.fitting import BOXES
from mmdet_lite.models.losses.reduce import weighted_sum
from mmdet_lite.ranges import check_not_negative
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import aligned_ciou, aligned_diou, aligned_giou, aligned_iou


class _BoxLoss(nn.Module):
    """The weighted sum of one value a pair of boxes.

    Args:
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    works_on = BOXES

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        check_not_negative(self, loss_weight=loss_weight)
        self.loss_weight = loss_weight

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, 4) and (N, 4) boxes, xyxy, to (N,)."""
        raise NotImplementedError

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Sum over pairs of boxes, a scalar.

        Args:
            pred, target: (N, 4) boxes, xyxy.
            weight: (N,).
            avg_factor: scalar.
        """
        elements = self.elements(pred.float(), target)
        return self.loss_weight * weighted_sum(elements, weight, avg_factor)


@MODELS.register_module()
class IoULoss(_BoxLoss):
    """Of the IoU of predicted and target box (Yu et al. 2016, UnitBox).

    Args:
        mode: 'log' is ``-ln(IoU)``, 'linear' ``1 - IoU``, 'square' ``1 - IoU ** 2``.
        loss_weight: factor of the result.

    Raises:
        ValueError: an unknown mode, or ``loss_weight`` is negative.
    """

    def __init__(self, mode: Literal["log", "linear", "square"] = "log", loss_weight: float = 1.0):
        super().__init__(loss_weight)
        if mode not in ("log", "linear", "square"):
            raise ValueError(f"IoULoss: mode must be 'log', 'linear' or 'square', got {mode!r}")
        self.mode = mode

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, 4) and (N, 4) boxes, xyxy, to (N,)."""
        iou = aligned_iou(pred, target).clamp(min=1e-6)
        if self.mode == "log":
            return -iou.log()
        return 1 - iou if self.mode == "linear" else 1 - iou.square()


@MODELS.register_module()
class GIoULoss(_BoxLoss):
    """``1 - GIoU`` of predicted and target box (Rezatofighi et al. 2019).

    Args:
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, 4) and (N, 4) boxes, xyxy, to (N,)."""
        return 1 - aligned_giou(pred, target)


@MODELS.register_module()
class DIoULoss(_BoxLoss):
    """``1 - DIoU``: also the distance of the centres counts (Zheng et al. 2020, eq. 7).

    Args:
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, 4) and (N, 4) boxes, xyxy, to (N,)."""
        return 1 - aligned_diou(pred, target)


@MODELS.register_module()
class CIoULoss(_BoxLoss):
    """``1 - CIoU``: also the aspect ratio counts (Zheng et al. 2020, eq. 10).

    Args:
        min_iou: aspect ratios count where the IoU is above this; 0: always, as in the YOLOs.
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    def __init__(self, min_iou: float = 0.5, loss_weight: float = 1.0):
        super().__init__(loss_weight)
        self.min_iou = min_iou

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, 4) and (N, 4) boxes, xyxy, to (N,)."""
        return 1 - aligned_ciou(pred, target, self.min_iou)


@MODELS.register_module()
class BoundedIoULoss(_BoxLoss):
    """Smooth L1 on an upper bound of what each coordinate takes from the IoU (Tychsen-Smith and
    Petersson 2018, "Improving Object Localization with Fitness NMS and Bounded IoU Loss", sec. 3).

    Args:
        beta: where the smooth L1's two parts meet.
        loss_weight: factor of the result.

    Raises:
        ValueError: ``loss_weight`` is negative.
    """

    def __init__(self, beta: float = 0.2, loss_weight: float = 1.0):
        super().__init__(loss_weight)
        self.beta = beta

    def elements(self, pred: Tensor, target: Tensor) -> Tensor:
        """(N, 4) and (N, 4) boxes, xyxy, to (N,), summed over centre and size."""
        eps = 1e-3
        size, target_size = pred[:, 2:] - pred[:, :2], target[:, 2:] - target[:, :2]
        shift = (pred[:, :2] + pred[:, 2:] - target[:, :2] - target[:, 2:]).abs()  # twice that
        of_center = ((target_size - shift) / (target_size + shift + eps)).clamp(min=0)
        of_size = torch.minimum(target_size / (size + eps), size / (target_size + eps))
        lost = 1 - torch.cat([of_center, of_size], dim=1)  # (N, 4)
        smooth = torch.where(
            lost < self.beta, lost.square() / (2 * self.beta), lost - self.beta / 2
        )
        return smooth.sum(dim=1)
