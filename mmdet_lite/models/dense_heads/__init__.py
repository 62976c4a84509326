"""Heads that predict at every cell of the feature maps."""

from mmdet_lite.models.dense_heads.fcos_head import FCOSHead, FCOSOutput
from mmdet_lite.models.dense_heads.nanodet_plus_head import NanoDetOutput, NanoDetPlusHead
from mmdet_lite.models.dense_heads.retina_head import DenseOutput, RetinaHead
from mmdet_lite.models.dense_heads.rpn_head import RPNHead, RPNOutput
from mmdet_lite.models.dense_heads.simple_conv_head import SimpleConvHead
from mmdet_lite.models.dense_heads.yolov5_head import YOLOv5Head, YOLOv5Output
from mmdet_lite.models.dense_heads.yolov8_head import YOLOv8Head, YOLOv8Output

__all__ = [
    "DenseOutput",
    "FCOSHead",
    "FCOSOutput",
    "NanoDetOutput",
    "NanoDetPlusHead",
    "RPNHead",
    "RPNOutput",
    "RetinaHead",
    "SimpleConvHead",
    "YOLOv5Head",
    "YOLOv5Output",
    "YOLOv8Head",
    "YOLOv8Output",
]
