"""Box coders: how a box is expressed relative to its prior."""

from mmdet_lite.models.coders.delta_xywh_coder import DeltaXYWHBBoxCoder

__all__ = ["DeltaXYWHBBoxCoder"]
