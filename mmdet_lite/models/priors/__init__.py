"""Prior boxes and points."""

from mmdet_lite.models.priors.anchor_generator import AnchorGenerator, Priors

__all__ = ["AnchorGenerator", "Priors"]
