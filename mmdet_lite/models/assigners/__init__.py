"""Assigners: which ground truth, if any, each prior learns."""

from mmdet_lite.models.assigners.dynamic_assigner import DynamicAssigner
from mmdet_lite.models.assigners.dynamic_soft_label_assigner import DynamicSoftLabelAssigner
from mmdet_lite.models.assigners.fcos_assigner import FCOSAssigner
from mmdet_lite.models.assigners.max_iou_assigner import IGNORE, NEGATIVE, MaxIoUAssigner

__all__ = [
    "IGNORE",
    "NEGATIVE",
    "DynamicAssigner",
    "DynamicSoftLabelAssigner",
    "FCOSAssigner",
    "MaxIoUAssigner",
]
