"""Prior boxes and points."""

from mmdet_lite.models.priors.anchor_generator import AnchorGenerator, Priors
from mmdet_lite.models.priors.yolo_anchor_generator import YOLOAnchorGenerator

__all__ = ["AnchorGenerator", "Priors", "YOLOAnchorGenerator"]
