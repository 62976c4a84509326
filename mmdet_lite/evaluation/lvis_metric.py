"""LVIS's metric: COCO's precision where images are searched for some categories only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmdet_lite.evaluation import coco_eval
from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.evaluation.detection_metric import DetectionMetric
from mmdet_lite.registry import METRICS

_METRICS = ("bbox", "segm")
_FREQUENCIES = ("r", "c", "f")  # in at most 10, at most 100, more training images


@METRICS.register_module()
class LVISMetric(DetectionMetric):
    """Average precision by LVIS's rules, https://arxiv.org/abs/1908.03195, section 3.

    An image counts for a category only if the category is annotated in it or listed among those
    that it does not have; where not all of its objects are annotated, further detections are
    neither right nor wrong. The figures are 'bbox_mAP', 'bbox_mAP_50', '_75', '_s', '_m', '_l';
    'bbox_mAP_r', '_c', '_f' of rare, common and frequent categories; 'bbox_AR@300' and, by size of
    the object, 'bbox_AR_s@300', '_m', '_l'; likewise 'segm_'; 'bbox_AP/<class>' if ``classwise``.

    Args:
        metrics: of 'bbox' and 'segm'.
        max_detections: how many of an image's best detections count, of all classes together.
        classwise: also report the average precision of every class.

    Raises:
        ValueError: ``metrics`` is empty or names an unknown metric, or ``max_detections`` is not
            positive.
    """

    def __init__(
        self,
        metrics: Sequence[str] = ("bbox", "segm"),
        max_detections: int = 300,
        classwise: bool = False,
    ):
        unknown = [name for name in metrics if name not in _METRICS]
        if isinstance(metrics, str) or unknown or not metrics:
            raise ValueError(f"LVISMetric: metrics must be a list of {_METRICS}, got {metrics!r}")
        if max_detections < 1:
            raise ValueError(f"LVISMetric: max_detections must be 1 or more, got {max_detections}")
        super().__init__(metrics)
        self.max_detections = max_detections
        self.classwise = classwise
        self._frequencies: list[str] = []
        self._searched: set[tuple[int, int]] = set()  # (image id, label)

    def names(self) -> list[str]:
        """The keys that ``compute`` will give, the main one first; after ``prepare``."""
        shape = (len(self.classes), 4, 1)
        precision, recall = np.zeros((10, 101, *shape)), np.zeros((10, *shape))
        return [name for m in self.metrics for name in self._summarize(m, precision, recall)]

    def _index(self, coco_dict: dict, annotations: list[dict]) -> None:
        _check_federated(coco_dict)
        of_category = {c["id"]: c["frequency"] for c in coco_dict["categories"]}
        self._frequencies = [of_category[key] for key in sorted(self.category_ids)]
        self._ground_truth = coco_eval.index_ground_truth(coco_dict, annotations)
        pairs = {(a["image_id"], a["category_id"]) for a in annotations}
        for image in coco_dict["images"]:
            pairs |= {(image["id"], key) for key in image.get("neg_category_ids", ())}
        label_of = {key: label for label, key in enumerate(self.category_ids)}
        self._searched = {(i, label_of[key]) for i, key in pairs if key in label_of}

    def _compute_metric(self, metric: str) -> dict[str, float]:
        best = best_of_each_image(self.computed, self.max_detections)
        pairs = zip(best.image_ids.tolist(), best.labels.tolist(), strict=True)
        best = best.select(np.fromiter((p in self._searched for p in pairs), bool, len(best)))
        precision, recall = coco_eval.evaluate(
            self._ground_truth,
            *(best, metric, self.category_ids, [self.max_detections]),
            federated=True,
        )
        return self._summarize(metric, precision, recall)

    def _summarize(
        self, metric: str, precision: np.ndarray, recall: np.ndarray
    ) -> dict[str, float]:
        values = coco_eval.summarize_precision(precision, metric)
        values |= coco_eval.summarize_groups(precision, metric, self._frequencies, _FREQUENCIES)
        values |= coco_eval.summarize_recall(recall, metric, [self.max_detections])
        if self.classwise:
            values |= coco_eval.summarize_classes(
                precision, metric, self.classes, self.category_ids
            )
        return values


def best_of_each_image(results: CocoResults, number: int) -> CocoResults:
    """The detections with the highest scores of each image; equal ones in the detector's order.

    Args:
        results: sorted by image.
        number: how many of an image stay at most.
    """
    order = np.lexsort((-results.scores, results.image_ids))  # stable
    ids = results.image_ids[order]
    place = np.arange(len(ids)) - np.searchsorted(ids, ids)  # within the image
    return results.select(np.sort(order[place < number]))


def _check_federated(coco_dict: dict) -> None:
    """The ground truth is LVIS's."""
    problems = []
    lacking = [c["name"] for c in coco_dict["categories"] if c.get("frequency") not in _FREQUENCIES]
    if lacking:
        problems.append(
            f"{len(lacking)} categories have no 'frequency' of {_FREQUENCIES}, {lacking[0]!r} for "
            "example"
        )
    images = coco_dict["images"]
    if images and not any("neg_category_ids" in image for image in images):
        problems.append("no image has 'neg_category_ids'")
    if problems:
        raise ValueError(
            f"LVISMetric needs an annotation file of LVIS, but {' and '.join(problems)}. Evaluate "
            "other data sets with CocoMetric"
        )
