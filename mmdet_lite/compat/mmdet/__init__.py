"""Configs of MMDetection 3.x in this package's form."""

from mmdet_lite.compat.mmdet.translate import Translation, is_mmdet_config, translate_config

__all__ = ["Translation", "is_mmdet_config", "translate_config"]
