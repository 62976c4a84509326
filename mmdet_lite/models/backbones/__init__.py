"""Backbones: from an image to maps C2..C5."""

from mmdet_lite.models.backbones.csp_darknet import CSPDarknet
from mmdet_lite.models.backbones.resnet import ResLayer, ResNet

__all__ = ["CSPDarknet", "ResLayer", "ResNet"]
