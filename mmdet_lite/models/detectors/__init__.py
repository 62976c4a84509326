"""Whole algorithms, each on one screen."""

from mmdet_lite.models.detectors.detector import ImageNormalizer
from mmdet_lite.models.detectors.nanodet_plus import NanoDetPlus
from mmdet_lite.models.detectors.single_stage import SingleStageDetector
from mmdet_lite.models.detectors.two_stage import TwoStageDetector

__all__ = ["ImageNormalizer", "NanoDetPlus", "SingleStageDetector", "TwoStageDetector"]
