"""Losses. Each is called as ``loss(pred, target, weight, avg_factor)`` and gives one scalar."""

from mmdet_lite.models.losses.cross_entropy_loss import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    MaskCrossEntropyLoss,
)
from mmdet_lite.models.losses.focal_loss import FocalLoss
from mmdet_lite.models.losses.giou_loss import GIoULoss
from mmdet_lite.models.losses.smooth_l1_loss import L1Loss, SmoothL1Loss

__all__ = [
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "FocalLoss",
    "GIoULoss",
    "L1Loss",
    "MaskCrossEntropyLoss",
    "SmoothL1Loss",
]
