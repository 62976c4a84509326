"""Heads that predict at every cell of the feature maps."""

from mmdet_lite.models.dense_heads.fcos_head import FCOSHead, FCOSOutput
from mmdet_lite.models.dense_heads.retina_head import DenseOutput, RetinaHead
from mmdet_lite.models.dense_heads.rpn_head import RPNHead, RPNOutput
from mmdet_lite.models.dense_heads.yolov5_head import YOLOv5Head, YOLOv5Output
from mmdet_lite.models.dense_heads.yolov8_head import YOLOv8Head, YOLOv8Output

__all__ = [
    "DenseOutput",
    "FCOSHead",
    "FCOSOutput",
    "RPNHead",
    "RPNOutput",
    "RetinaHead",
    "YOLOv5Head",
    "YOLOv5Output",
    "YOLOv8Head",
    "YOLOv8Output",
]
