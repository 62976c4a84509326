"""Evaluation: detections against ground truth. Importing the package fills the registry."""

from mmdet_lite.evaluation.coco_metric import CocoMetric
from mmdet_lite.evaluation.lvis_metric import LVISMetric
from mmdet_lite.evaluation.voc_metric import VOCMetric

__all__ = ["CocoMetric", "LVISMetric", "VOCMetric"]
