"""Losses. Each is called as ``loss(pred, target, weight, avg_factor)`` and gives one scalar.

Those that classify the priors of a one-stage head (AP, focal, quality focal, sigmoid cross entropy)
take as target either labels (N,), with the background as K, or scores (N, K) in 0..1.
"""

from mmdet_lite.models.losses.ap_loss import APLoss
from mmdet_lite.models.losses.cross_entropy_loss import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    MaskCrossEntropyLoss,
)
from mmdet_lite.models.losses.distribution_focal_loss import DistributionFocalLoss
from mmdet_lite.models.losses.focal_loss import FocalLoss
from mmdet_lite.models.losses.iou_losses import (
    BoundedIoULoss,
    CIoULoss,
    DIoULoss,
    GIoULoss,
    IoULoss,
)
from mmdet_lite.models.losses.quality_focal_loss import QualityFocalLoss
from mmdet_lite.models.losses.sigmoid_cross_entropy_loss import SigmoidCrossEntropyLoss
from mmdet_lite.models.losses.smooth_l1_loss import BalancedL1Loss, L1Loss, SmoothL1Loss

__all__ = [
    "APLoss",
    "BalancedL1Loss",
    "BinaryCrossEntropyLoss",
    "BoundedIoULoss",
    "CIoULoss",
    "CrossEntropyLoss",
    "DIoULoss",
    "DistributionFocalLoss",
    "FocalLoss",
    "GIoULoss",
    "IoULoss",
    "L1Loss",
    "MaskCrossEntropyLoss",
    "QualityFocalLoss",
    "SigmoidCrossEntropyLoss",
    "SmoothL1Loss",
]
