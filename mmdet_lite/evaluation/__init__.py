"""Evaluation: detections against ground truth. Importing the package fills the registry."""

from mmdet_lite.evaluation.coco_metric import CocoMetric

__all__ = ["CocoMetric"]
