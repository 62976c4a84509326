"""COCO's metrics for boxes, masks and proposals."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from mmdet_lite.evaluation import checks, coco_eval
from mmdet_lite.evaluation.background import Background
from mmdet_lite.evaluation.coco_results import (
    CocoResults,
    encode_masks,
    merge_results,
    to_coco_results,
    write_json,
)
from mmdet_lite.evaluation.tables import metric_tables
from mmdet_lite.registry import METRICS
from mmdet_lite.structures.samples import Detections, ImageMeta

_METRICS = ("bbox", "segm", "proposal")
_PROPOSAL_NUMBERS = (100, 300, 1000)


class GroundTruthSource(Protocol):
    """What the metric needs of a data set.

    Attributes:
        classes: K names, by label.
        category_ids: the category id of each label.
    """

    classes: Sequence[str]
    category_ids: Sequence[int]

    def coco_dict(self) -> dict:
        """The ground truth in COCO's format."""


@METRICS.register_module()
class CocoMetric:
    """pycocotools' figures: average precision and recall over IoU 0.50 to 0.95.

    One evaluation is ``reset``, ``process`` for every batch, ``results`` on every process,
    ``merge`` and ``compute`` on one. The figures depend on neither the order of the batches nor
    how they were shared among processes. ``-1`` stands for 'no such objects in the ground truth'.

    Args:
        metrics: of 'bbox', 'segm' and 'proposal'. 'proposal' is the recall of the boxes without
            regard to their class, with 100, 300 and 1000 boxes an image.
        max_detections: how many of an image's best detections of a class count, ascending; average
            precision is that at the last.
        classwise: also report the average precision of every class.

    Attributes:
        ground_truth: COCO's index of the objects that count; there after ``prepare``.
        computed: the detections of the last ``compute``.
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
        self.metrics = tuple(metrics)
        self.max_detections = tuple(sorted(max_detections))
        self.classwise = classwise
        self.classes: tuple[str, ...] = ()
        self.category_ids: tuple[int, ...] = ()
        self._image_ids: Set[int] = frozenset()
        self.computed = merge_results([])
        self.keeps_curves = False
        self.curves: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._values: dict[str, float] = {}
        self._encoding = Background()
        self.reset()

    @property
    def with_masks(self) -> bool:
        """Whether masks are evaluated."""
        return "segm" in self.metrics

    def prepare(self, dataset: GroundTruthSource) -> None:
        """Take the ground truth of a data set and start anew.

        Raises:
            ValueError: 'segm' is asked for, but annotations have no mask.
        """
        self.classes = tuple(dataset.classes)
        self.category_ids = tuple(dataset.category_ids)
        coco_dict = dataset.coco_dict()
        annotations = coco_eval.select_annotations(coco_dict, self.category_ids)
        if self.with_masks:
            checks.check_masks(annotations)
        self.ground_truth = coco_eval.index_ground_truth(coco_dict, annotations)
        self._image_ids = self.ground_truth.imgs.keys()
        self.reset()

    def names(self) -> list[str]:
        """The keys that ``compute`` will give, the main one first; after ``prepare``."""
        names: list[str] = []
        for metric in self.metrics:
            shape = (len(self.classes), 4, len(self._numbers(metric)))  # K, areas, M
            precision, recall = np.zeros((10, 101, *shape)), np.zeros((10, *shape))
            names += self._summarize(metric, precision, recall)
        return names

    def reset(self) -> None:
        """Forget the detections, not the ground truth."""
        self._batches: list[CocoResults] = []
        self._rles: list[bytes] = []
        self._encoding.cancel()

    def process(self, detections: Detections, metas: Sequence[ImageMeta]) -> None:
        """Take in the detections of one batch.

        Masks are encoded in the background, while the caller computes the next batch. For
        'proposal' alone, an RPN's proposals can stand as detections with label 0.

        Args:
            detections: of B images, in network coordinates; not to be changed afterwards.
            metas: B, one an image.

        Raises:
            ValueError: an image is not in the ground truth or was flipped, a label has no class,
                a box or score is not finite, or 'segm' is asked for and there are no masks.
        """
        if self.with_masks and detections.masks is None:
            raise ValueError(
                "metric 'segm' needs masks, but the detections have none: give the model a mask "
                "head, or leave 'segm' out of the metrics"
            )
        checks.check_metas(metas, self._image_ids)
        batch = to_coco_results(detections, metas)
        checks.check_results(batch, self.classes)
        self._batches.append(batch)
        if self.with_masks:
            self._encoding.submit(encode_masks, detections, metas)

    def results(self) -> CocoResults:
        """What this process has found since the last ``reset``."""
        for rles in self._encoding.take():
            self._rles += rles
        return replace(merge_results(self._batches), rles=self._rles)

    @staticmethod
    def merge(parts: Sequence[CocoResults]) -> CocoResults:
        """Join the results of several processes, in any order."""
        return merge_results(parts)

    def compute(self, results: CocoResults) -> dict[str, float]:
        """Evaluate; ``table`` and ``save_json`` refer to these results afterwards.

        Args:
            results: of all images of the data set.

        Returns:
            'bbox_mAP', 'bbox_mAP_50', 'bbox_mAP_75', 'bbox_mAP_s', '_m', '_l', 'bbox_AR@1',
            'bbox_AR@10', 'bbox_AR@100', 'bbox_AR_s@100', '_m', '_l'; likewise 'segm_';
            'proposal_AR@100' and so on; 'bbox_AP/<class>' if ``classwise``.

        Raises:
            ValueError: an image of the data set was not processed, or more than once.
        """
        checks.check_complete(results.seen, self._image_ids)
        self.computed = results.sort_by_image()
        self._values, self.curves = {}, {}
        for metric in self.metrics:
            self._values |= self._compute_metric(metric)
        return dict(self._values)

    def table(self) -> str:
        """The figures of the last ``compute``, to read."""
        return metric_tables(self._values)

    def save_json(self, path_prefix: str | Path) -> list[Path]:
        """Write the detections of the last ``compute`` in COCO's results format.

        Args:
            path_prefix: the files are '<path_prefix>.bbox.json', '<path_prefix>.segm.json', ...

        Returns:
            The files' paths.
        """
        paths = [Path(f"{path_prefix}.{metric}.json") for metric in self.metrics]
        for metric, path in zip(self.metrics, paths, strict=True):
            write_json(self.computed, self.category_ids, metric == "segm", path)
        return paths

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
