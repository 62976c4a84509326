"""Heads that predict at every cell of the feature maps."""

from mmdet_lite.models.dense_heads.rpn_head import RPNHead, RPNOutput

__all__ = ["RPNHead", "RPNOutput"]
