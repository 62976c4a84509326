"""Backbones: from an image to maps C2..C5."""

from mmdet_lite.models.backbones.csp_darknet import CSPDarknet
from mmdet_lite.models.backbones.resnet import ResLayer, ResNet
from mmdet_lite.models.backbones.shufflenet_v2 import ShuffleNetV2

__all__ = ["CSPDarknet", "ResLayer", "ResNet", "ShuffleNetV2"]
