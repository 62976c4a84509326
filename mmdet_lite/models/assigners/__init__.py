"""Assigners: which ground truth, if any, each prior learns."""

from mmdet_lite.models.assigners.ap_assigner import APAssigner
from mmdet_lite.models.assigners.dynamic_assigner import DynamicAssigner
from mmdet_lite.models.assigners.dynamic_soft_label_assigner import DynamicSoftLabelAssigner
from mmdet_lite.models.assigners.fcos_assigner import FCOSAssigner
from mmdet_lite.models.assigners.max_iou_assigner import IGNORE, NEGATIVE, MaxIoUAssigner
from mmdet_lite.models.assigners.shape_ratio_assigner import ShapeRatioAssigner
from mmdet_lite.models.assigners.task_aligned_assigner import TaskAlignedAssigner

__all__ = [
    "IGNORE",
    "NEGATIVE",
    "APAssigner",
    "DynamicAssigner",
    "DynamicSoftLabelAssigner",
    "FCOSAssigner",
    "MaxIoUAssigner",
    "ShapeRatioAssigner",
    "TaskAlignedAssigner",
]
