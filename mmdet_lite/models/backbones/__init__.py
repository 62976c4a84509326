"""Backbones: from an image to maps C2..C5."""

from mmdet_lite.models.backbones.resnet import ResNet

__all__ = ["ResNet"]
