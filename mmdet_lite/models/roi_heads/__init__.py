"""The second stage: pooling of regions, their boxes and masks."""

from mmdet_lite.models.roi_heads.bbox_head import ConvFCBBoxHead
from mmdet_lite.models.roi_heads.cascade_roi_head import CascadeRoIHead
from mmdet_lite.models.roi_heads.mask_head import FCNMaskHead
from mmdet_lite.models.roi_heads.roi_extractor import RoIExtractor
from mmdet_lite.models.roi_heads.roi_head import RoIHead

__all__ = ["CascadeRoIHead", "ConvFCBBoxHead", "FCNMaskHead", "RoIExtractor", "RoIHead"]
