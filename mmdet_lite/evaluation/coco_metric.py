"""COCO's metrics for boxes, masks and proposals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmdet_lite.evaluation import coco_eval
from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.evaluation.detection_metric import DetectionMetric
from mmdet_lite.ranges import check_positive
from mmdet_lite.registry import METRICS

_METRICS = ("bbox", "segm", "proposal")
_PROPOSAL_NUMBERS = (100, 300, 1000)


@METRICS.register_module()
class CocoMetric(DetectionMetric):
    """pycocotools' figures: average precision and recall over IoU 0.50 to 0.95.

    They are 'bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_s', '_m', '_l', 'bbox_AR@1',
    'bbox_AR@10', 'bbox_AR@100', 'bbox_AR_s@100', '_m', '_l'; likewise 'segm_';
    'proposal_AR@100' and so on; 'bbox_AP/<class>' if ``classwise``.

    Args:
        metrics: of 'bbox', 'segm' and 'proposal'. 'proposal' is the recall of the boxes without
            regard to their class, with 100, 300 and 1000 boxes an image.
        max_detections: how many of an image's best detections of a class count, ascending; average
            precision is that at the last.
        classwise: also report the average precision of every class.

    Attributes:
        ground_truth: COCO's index of the objects that count; there after ``prepare``.
        keeps_curves: keep what the figures of ``compute`` are means of; large with many classes.
        curves: by metric, the last ``compute``'s precision (T, R, K, A, M) and recall (T, K, A, M)
            as :func:`mmdet_lite.evaluation.coco_eval.evaluate` gives them, if they are kept.

    Raises:
        ValueError: ``metrics`` is empty or names an unknown metric.
    """

    def __init__(
        self,
        metrics: Sequence[str] = ("bbox", "segm"),
        max_detections: Sequence[int] = (1, 10, 100),
        classwise: bool = False,
    ):
        unknown = [name for name in metrics if name not in _METRICS]
        if isinstance(metrics, str) or unknown or not metrics:
            raise ValueError(f"CocoMetric: metrics must be a list of {_METRICS}, got {metrics!r}")
        limits = {f"max_detections[{i}]": number for i, number in enumerate(max_detections)}
        check_positive(self, **limits)
        super().__init__(metrics)
        self.max_detections = tuple(sorted(max_detections))
        self.classwise = classwise
        self.keeps_curves = False
        self.curves: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def names(self) -> list[str]:
        """The keys that ``compute`` will give, the main one first; after ``prepare``."""
        names: list[str] = []
        for metric in self.metrics:
            shape = (len(self.classes), 4, len(self._numbers(metric)))  # K, areas, M
            precision, recall = np.zeros((10, 101, *shape)), np.zeros((10, *shape))
            names += self._summarize(metric, precision, recall)
        return names

    def compute(self, results: CocoResults) -> dict[str, float]:
        """Evaluate; see :class:`DetectionMetric`."""
        self.curves = {}
        return super().compute(results)

    def _index(self, coco_dict: dict, annotations: list[dict]) -> None:
        self.ground_truth = coco_eval.index_ground_truth(coco_dict, annotations)

    def _compute_metric(self, metric: str) -> dict[str, float]:
        precision, recall = coco_eval.evaluate(
            self.ground_truth, self.computed, metric, self.category_ids, self._numbers(metric)
        )
        if self.keeps_curves:
            self.curves[metric] = precision, recall
        return self._summarize(metric, precision, recall)

    def _numbers(self, metric: str) -> tuple[int, ...]:
        return _PROPOSAL_NUMBERS if metric == "proposal" else self.max_detections

    def _summarize(
        self, metric: str, precision: np.ndarray, recall: np.ndarray
    ) -> dict[str, float]:
        recalls = coco_eval.summarize_recall(recall, metric, self._numbers(metric))
        if metric == "proposal":
            return recalls
        values = coco_eval.summarize_precision(precision, metric) | recalls
        if self.classwise:
            values |= coco_eval.summarize_classes(
                precision, metric, self.classes, self.category_ids
            )
        return values
