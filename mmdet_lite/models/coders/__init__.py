"""Box coders: how a box is expressed relative to its prior."""

from mmdet_lite.models.coders.delta_xywh_coder import DeltaXYWHBBoxCoder
from mmdet_lite.models.coders.distribution_coder import DistributionCoder
from mmdet_lite.models.coders.inclusive_delta_xywh_coder import InclusiveDeltaXYWHCoder

__all__ = ["DeltaXYWHBBoxCoder", "DistributionCoder", "InclusiveDeltaXYWHCoder"]
