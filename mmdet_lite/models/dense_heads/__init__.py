"""Heads that predict at every cell of the feature maps."""

from mmdet_lite.models.dense_heads.fcos_head import FCOSHead, FCOSOutput
from mmdet_lite.models.dense_heads.nanodet_plus_head import NanoDetOutput, NanoDetPlusHead
from mmdet_lite.models.dense_heads.retina_head import DenseOutput, RetinaHead
from mmdet_lite.models.dense_heads.rpn_head import RPNHead, RPNOutput
from mmdet_lite.models.dense_heads.simple_conv_head import SimpleConvHead

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
]
