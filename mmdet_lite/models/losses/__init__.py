"""Losses. Each is called as ``loss(pred, target, weight, avg_factor)`` and gives one scalar."""

from mmdet_lite.models.losses.cross_entropy_loss import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    MaskCrossEntropyLoss,
)
from mmdet_lite.models.losses.focal_loss import FocalLoss
from mmdet_lite.models.losses.iou_losses import (
    BoundedIoULoss,
    CIoULoss,
    DIoULoss,
    GIoULoss,
    IoULoss,
)
from mmdet_lite.models.losses.smooth_l1_loss import BalancedL1Loss, L1Loss, SmoothL1Loss

__all__ = [
    "BalancedL1Loss",
    "BinaryCrossEntropyLoss",
    "BoundedIoULoss",
    "CIoULoss",
    "CrossEntropyLoss",
    "DIoULoss",
    "FocalLoss",
    "GIoULoss",
    "IoULoss",
    "L1Loss",
    "MaskCrossEntropyLoss",
    "SmoothL1Loss",
]
