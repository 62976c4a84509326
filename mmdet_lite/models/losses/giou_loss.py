"""Generalised IoU loss (Rezatofighi et al. 2019), on decoded boxes."""

from __future__ import annotations

from torch import Tensor, nn

from mmdet_lite.models.losses.reduce import weighted_sum
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import aligned_giou


@MODELS.register_module()
class GIoULoss(nn.Module):
    """``1 - GIoU`` of predicted and target box.

    Args:
        loss_weight: factor of the result.
    """

    compares_boxes = True  # and not deltas

    def __init__(self, loss_weight: float = 1.0):
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Args: ``pred``, ``target`` (N, 4) boxes, xyxy; ``weight`` (N,). Returns: scalar."""
        elements = 1 - aligned_giou(pred.float(), target)
        return self.loss_weight * weighted_sum(elements, weight, avg_factor)
