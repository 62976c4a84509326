"""What a data set consists of: how many objects, how large, of which shapes and classes.

Letters: n objects, N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mmdet_lite.doctor.coco_objects import Objects, read_objects
from mmdet_lite.doctor.statistics_text import statistics_text
from mmdet_lite.doctor.training_view import AnchorGrid, Scale

LEAST_IOU = 0.5  # an anchor that overlaps a box less is not counted as its match
SMALL, LARGE = 32.0, 96.0  # COCO's limits, square root of the area
_SHARES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
_SIZE_EDGES = tuple(float(2**power) for power in range(12))  # 1 .. 2048
_RATIO_EDGES = tuple(2.0 ** (power / 2) for power in range(-8, 9))  # 1/16 .. 16
_COUNT_EDGES = (0.0, 1.0, 2.0, 3.0, 5.0, 9.0, 17.0, 33.0, 65.0, 129.0)


@dataclass(frozen=True)
class Distribution:
    """How values are distributed.

    Args:
        quantiles: the least, the values below which 5, 25, 50, 75 and 95 % lie, and the largest;
            empty without values.
        edges: of the histogram; the first and the last bin take what lies outside.
        counts: of its bins, one less than edges.
    """

    quantiles: tuple[float, ...]
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class SizeStatistics:
    """Sizes of boxes, square roots of their areas, in pixels.

    Args:
        where: 'in the files', or the scale of the training.
        small, medium, large: objects by COCO's limits, 32 and 96; of boxes, not of masks.
        sizes: their distribution.
    """

    where: str
    small: int
    medium: int
    large: int
    sizes: Distribution


@dataclass(frozen=True)
class Unmatched:
    """The share of boxes that no anchor matches, 0..1; None where there are no such boxes.

    Args:
        rule: when an anchor matches.
        total: of all boxes.
        small, medium, large: by size in training.
    """

    rule: str
    total: float | None
    small: float | None
    medium: float | None
    large: float | None


@dataclass(frozen=True)
class ClassStatistics:
    """Objects of a class.

    Args:
        name: of the class.
        objects: how many; crowds do not count.
        images: that have one.
        median_size: square root of the area in pixels of the files; None without objects.
        unmatched: share of the boxes that no anchor matches; None if unknown.
    """

    name: str
    objects: int
    images: int
    median_size: float | None
    unmatched: float | None


@dataclass(frozen=True)
class Statistics:
    """What a data set consists of.

    Args:
        images: N.
        images_without_objects: of them; crowds do not count as objects.
        objects: n; with a usable box and of a chosen class.
        crowds: annotations with iscrowd.
        left_out: annotations that are neither: of other classes or images, or without a box.
        sizes: in the files, and in training where that is known.
        aspect_ratios: height / width.
        objects_per_image: of all images.
        unmatched: by the config's anchors; None without anchors.
        classes: in the order of their labels.
        remarks: what is to be known before the figures are read.
    """

    images: int
    images_without_objects: int
    objects: int
    crowds: int
    left_out: int
    sizes: tuple[SizeStatistics, ...]
    aspect_ratios: Distribution
    objects_per_image: Distribution
    unmatched: Unmatched | None
    classes: tuple[ClassStatistics, ...]
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """Lines to print."""
        return statistics_text(self)


def dataset_statistics(
    content: dict[str, Any],
    classes: Sequence[str] | None = None,
    scales: Sequence[Scale] = (),
    anchors: AnchorGrid | None = None,
) -> Statistics:
    """Describe a data set. What is wrong in it is left out and counted.

    Args:
        content: of a COCO file.
        classes: K names to use, in the order of their labels; None: all of the file.
        scales: of the training, each as likely.
        anchors: of the config, matched at these scales.
    """
    objects = read_objects(content, classes)
    sizes = objects.sizes
    places = [SizeStatistics("in the files", *_by_limits(sizes), _distribution(sizes, _SIZE_EDGES))]
    scaled, unmatched = sizes, None
    if scales or anchors:
        scaled, unmatched = _view_in_training(objects, scales, anchors)
    if scales:
        where = f"in training, {_describe(scales)}"
        limits = _by_limits(scaled)
        places.append(SizeStatistics(where, *limits, _distribution(scaled, _SIZE_EDGES)))
    per_image = np.bincount(objects.image_rows, minlength=objects.num_images)
    width, height = objects.extents.T
    return Statistics(
        images=objects.num_images,
        images_without_objects=int((per_image == 0).sum()),
        objects=len(sizes),
        crowds=objects.num_crowds,
        left_out=objects.num_left_out,
        sizes=tuple(places),
        aspect_ratios=_distribution(height / width, _RATIO_EDGES),
        objects_per_image=_distribution(per_image, _COUNT_EDGES),
        unmatched=None if unmatched is None else _unmatched(unmatched, scaled, anchors),
        classes=tuple(_per_class(objects, unmatched)),
    )


def _view_in_training(
    objects: Objects, scales: Sequence[Scale], anchors: AnchorGrid | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """(n,) mean size over the scales; and (n,) share of them at which no anchor matches."""
    scaled, unmatched = np.zeros(len(objects.sizes)), np.zeros(len(objects.sizes))
    for scale in scales or [None]:
        boxes, inputs = objects.boxes, objects.image_sizes
        if scale is not None:
            picture, start, inputs = scale.apply(objects.image_sizes)
            factors = (picture / objects.image_sizes)[objects.image_rows]
            boxes = boxes * np.tile(factors, 2) + np.tile(start[objects.image_rows], 2)
        scaled += np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
        if anchors is not None and anchors.ratio_thr is not None:
            unmatched += ~anchors.matches_shape(boxes)
        elif anchors is not None:
            unmatched += anchors.best_overlaps(boxes, inputs[objects.image_rows]) < LEAST_IOU
    count = len(scales) or 1
    return scaled / count, None if anchors is None else unmatched / count


def _unmatched(unmatched: np.ndarray, scaled: np.ndarray, anchors: AnchorGrid) -> Unmatched:
    rule = f"IoU of {LEAST_IOU:g} or more, at the best place of its grid"
    if anchors.ratio_thr is not None:
        rule = f"sides that are less than {anchors.ratio_thr:g} times as long or short"
    small, large = scaled < SMALL, scaled >= LARGE
    groups = (np.ones_like(small), small, ~small & ~large, large)
    return Unmatched(rule, *(_mean(unmatched[group]) for group in groups))


def _per_class(objects: Objects, unmatched: np.ndarray | None) -> list[ClassStatistics]:
    order = np.argsort(objects.labels, kind="stable")
    bounds = np.searchsorted(objects.labels[order], np.arange(len(objects.classes) + 1))
    found = []
    for name, start, stop in zip(objects.classes, bounds, bounds[1:], strict=False):
        rows = order[start:stop]
        found.append(
            ClassStatistics(
                name=name,
                objects=len(rows),
                images=len(np.unique(objects.image_rows[rows])),
                median_size=float(np.median(objects.sizes[rows])) if len(rows) else None,
                unmatched=None if unmatched is None else _mean(unmatched[rows]),
            )
        )
    return found


def _by_limits(sizes: np.ndarray) -> tuple[int, int, int]:
    small, large = int((sizes < SMALL).sum()), int((sizes >= LARGE).sum())
    return small, len(sizes) - small - large, large


def _distribution(values: np.ndarray, edges: Sequence[float]) -> Distribution:
    inside = np.clip(values, edges[0], np.nextafter(edges[-1], 0))
    counts, _ = np.histogram(inside, edges)
    quantiles = np.quantile(values, _SHARES).tolist() if len(values) else []
    return Distribution(tuple(quantiles), tuple(edges), tuple(counts.tolist()))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _describe(scales: Sequence[Scale]) -> str:
    first = f"{scales[0].size[0]} x {scales[0].size[1]}"
    if len(scales) == 1:
        return first
    return f"{first} to {scales[-1].size[0]} x {scales[-1].size[1]} ({len(scales)} scales)"
