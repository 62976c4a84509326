"""Whole detectors."""

from mmdet_lite.models.detectors.two_stage import ImageNormalizer, TwoStageDetector

__all__ = ["ImageNormalizer", "TwoStageDetector"]
