"""Pascal VOC's metric for boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmdet_lite.evaluation.detection_metric import DetectionMetric
from mmdet_lite.evaluation.voc_eval import (
    NO_OBJECTS,
    average_precision,
    best_overlaps,
    stack_objects,
)
from mmdet_lite.registry import METRICS

_MODES = ("area", "11points")


@METRICS.register_module()
class VOCMetric(DetectionMetric):
    """Pascal VOC's mean average precision of boxes.

    Crowds, which difficult objects are read as, count neither as found nor as missed. The figures
    are 'voc_mAP', the mean over the thresholds, 'voc_mAP_50' and so on by threshold, and
    'voc_AP/<class>' if ``classwise``.

    Args:
        iou_thrs: least IoU of a detection with the object that it finds, in 0..1; one or several.
        mode: 'area' under the curve of precision by recall, as from VOC 2010 on; or '11points' of
            it, as in VOC 2007.
        classwise: also report the average precision of every class.

    Raises:
        ValueError: a threshold or the mode is unknown.
    """

    def __init__(
        self,
        iou_thrs: float | Sequence[float] = (0.5,),
        mode: str = "area",
        classwise: bool = True,
    ):
        thresholds = (iou_thrs,) if isinstance(iou_thrs, (int, float)) else tuple(iou_thrs)
        if not thresholds or not all(0 < thr <= 1 for thr in thresholds):
            raise ValueError(f"VOCMetric: iou_thrs must be above 0 and at most 1, got {iou_thrs!r}")
        if mode not in _MODES:
            raise ValueError(f"VOCMetric: mode must be one of {_MODES}, got {mode!r}")
        super().__init__(("bbox",))
        self.iou_thrs = thresholds
        self.mode = mode
        self.classwise = classwise

    def names(self) -> list[str]:
        """The keys that ``compute`` will give, the main one first; after ``prepare``."""
        return list(self._summarize(np.zeros((len(self.classes), len(self.iou_thrs)))))

    def _index(self, coco_dict: dict, annotations: list[dict]) -> None:
        stacked = stack_objects(annotations, self.category_ids)
        self._objects, self._object_labels, self._images_with_objects = stacked

    def _compute_metric(self, metric: str) -> dict[str, float]:
        results, num_classes = self.computed, len(self.classes)
        place = np.searchsorted(self._images_with_objects, results.image_ids)
        place = np.minimum(place, max(len(self._images_with_objects) - 1, 0))
        is_known = np.zeros(len(results), dtype=bool)
        if len(self._images_with_objects):
            is_known = self._images_with_objects[place] == results.image_ids
        keys = np.where(is_known, place * num_classes + results.labels, -1)
        overlaps, found = best_overlaps(keys, results.boxes, self._objects)
        by_score = np.argsort(-results.scores, kind="stable")
        precisions = np.zeros((num_classes, len(self.iou_thrs)))
        for label in range(num_classes):
            of_class = by_score[results.labels[by_score] == label]
            easy = (self._object_labels == label) & ~self._objects.is_difficult
            for column, iou_thr in enumerate(self.iou_thrs):
                precisions[label, column] = average_precision(
                    *(overlaps[of_class], found[of_class], self._objects.is_difficult),
                    *(int(easy.sum()), iou_thr, self.mode),
                )
        return self._summarize(precisions)

    def _summarize(self, precisions: np.ndarray) -> dict[str, float]:
        """Figures of the average precisions (K, thresholds)."""
        counted = precisions[precisions[:, 0] != NO_OBJECTS]
        means = counted.mean(axis=0) if len(counted) else np.full(precisions.shape[1], NO_OBJECTS)
        values = {"voc_mAP": float(means.mean())}
        for iou_thr, mean in zip(self.iou_thrs, means, strict=True):
            values[f"voc_mAP_{100 * iou_thr:g}"] = float(mean)
        if self.classwise:
            of_class = zip(self.classes, precisions.mean(axis=1), strict=True)
            values |= {f"voc_AP/{name}": float(value) for name, value in of_class}
        return values
