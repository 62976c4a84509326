"""What metrics of detections share: collecting them, and joining those of all processes."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from mmdet_lite.evaluation import checks
from mmdet_lite.evaluation.background import Background
from mmdet_lite.evaluation.coco_eval import select_annotations
from mmdet_lite.evaluation.coco_results import (
    CocoResults,
    encode_masks,
    merge_results,
    to_coco_results,
    write_json,
)
from mmdet_lite.evaluation.tables import metric_tables
from mmdet_lite.structures.samples import Detections, ImageMeta


class GroundTruthSource(Protocol):
    """What a metric needs of a data set.

    Attributes:
        classes: K names, by label.
        category_ids: the category id of each label.
    """

    classes: Sequence[str]
    category_ids: Sequence[int]

    def coco_dict(self) -> dict:
        """The ground truth in COCO's format."""


class DetectionMetric:
    """Base class of metrics: a metric says what its ground truth is, and what it computes.

    One evaluation is ``reset``, ``process`` for every batch, ``results`` on every process,
    ``merge`` and ``compute`` on one. The figures depend on neither the order of the batches nor
    how they were shared among processes. ``-1`` stands for 'no such objects in the ground truth'.

    Args:
        metrics: what is compared: 'segm' needs masks, anything else boxes.

    Attributes:
        computed: the detections of the last ``compute``.
    """

    def __init__(self, metrics: Sequence[str]):
        self.metrics = tuple(metrics)
        self.classes: tuple[str, ...] = ()
        self.category_ids: tuple[int, ...] = ()
        self.computed = merge_results([])
        self._image_ids: Set[int] = frozenset()
        self._values: dict[str, float] = {}
        self._encoding = Background()
        self.reset()

    def _index(self, coco_dict: dict, annotations: list[dict]) -> None:
        """Make the ground truth ready: images and categories, and the annotations that count."""
        raise NotImplementedError

    def _compute_metric(self, metric: str) -> dict[str, float]:
        """The figures of ``self.computed`` by one of ``metrics``."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """The keys that ``compute`` will give, the main one first; after ``prepare``."""
        raise NotImplementedError

    @property
    def with_masks(self) -> bool:
        """Whether masks are evaluated."""
        return "segm" in self.metrics

    def prepare(self, dataset: GroundTruthSource) -> None:
        """Take the ground truth of a data set and start anew.

        Raises:
            ValueError: 'segm' is asked for, but annotations have no mask; or the ground truth lacks
                something else that the metric needs.
        """
        self.classes = tuple(dataset.classes)
        self.category_ids = tuple(dataset.category_ids)
        coco_dict = dataset.coco_dict()
        annotations = select_annotations(coco_dict, self.category_ids)
        if self.with_masks:
            checks.check_masks(annotations)
        self._index(coco_dict, annotations)
        self._image_ids = frozenset(image["id"] for image in coco_dict["images"])
        self.reset()

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
            The figures by name, see the metric.

        Raises:
            ValueError: an image of the data set was not processed, or more than once.
        """
        checks.check_complete(results.seen, self._image_ids)
        self.computed = results.sort_by_image()
        self._values = {}
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
