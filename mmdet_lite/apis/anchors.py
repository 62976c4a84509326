"""How well given anchors fit a data set, and anchors that fit it better.

Letters: n boxes, M anchors of all levels.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.build import build_dataset, build_model
from mmdet_lite.apis.classes import fill_num_classes
from mmdet_lite.apis.config import read_seed
from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.pipeline import Transform
from mmdet_lite.data.sample import SampleRef
from mmdet_lite.models.assigners.shape_ratio_assigner import ShapeRatioAssigner
from mmdet_lite.models.priors.yolo_anchor_generator import YOLOAnchorGenerator
from mmdet_lite.registry import TRANSFORMS, build

logger = logging.getLogger("mmdet_lite")

LOW_RECALL = 0.98  # YOLOv5's limit, below which it chooses other anchors
_IMAGES_AT_START = 300  # a few seconds' reading
_FEW_BOXES = 20  # for each anchor
_SMALLEST = 2.0  # pixels; smaller sides are not learnt from
_KMEANS_ROUNDS = 30
_GENERATIONS = 1000
_MUTATED = 0.9  # probability of each number to change in a generation
_MUTATION = 0.1  # and by how much, a standard deviation


@dataclass
class AnchorFit:
    """How well anchors fit boxes.

    Attributes:
        recall: share of the boxes that match an anchor, the best recall that training can reach.
        matches: anchors that a box matches, on the average.
        num_boxes: n.
    """

    recall: float
    matches: float
    num_boxes: int


def check_anchors(cfg: Config, model: nn.Module, dataset: DetectionDataset) -> None:
    """Log how many boxes of a part of the training data can be matched; warn if they are few.

    Nothing is done for a model whose head has no anchors of given sizes.

    Args:
        cfg: the config.
        model: the detector.
        dataset: the training data.
    """
    if not has_sized_anchors(model):
        return
    head = model.bbox_head
    fit = measure_fit(box_sizes(cfg, dataset, _IMAGES_AT_START), *_anchors_of(head))
    if fit.num_boxes and fit.recall < LOW_RECALL:
        logger.warning(
            "%.1f %% of %d boxes match no anchor (ratio_thr %g), which the model cannot learn: "
            "`mmdet-lite anchors %s` looks for better ones",
            *(100 * (1 - fit.recall), fit.num_boxes, head.assigner.ratio_thr, cfg.filename),
        )
    elif fit.num_boxes:
        logger.info("anchors: %.1f %% of %d boxes match one", 100 * fit.recall, fit.num_boxes)


def report_anchors(cfg: Config, num_images: int = 2000, always_fit: bool = False) -> str:
    """Say how well the config's anchors fit its training data, and propose others if need be.

    Args:
        cfg: the config.
        num_images: how many images to read at most, evenly spread over the data set.
        always_fit: propose other anchors also where the config's are good enough.

    Returns:
        Lines to print; proposed anchors as a piece of a config.

    Raises:
        ValueError: the head's anchors are not given by their sizes, or there are no boxes.
    """
    seed = read_seed(cfg)
    dataset = build_dataset(cfg, "train", seed)
    model = build_model(fill_num_classes(cfg, dataset.classes, "train_data"))
    if not has_sized_anchors(model):
        raise ValueError(
            "mmdet-lite anchors is for heads with a YOLOAnchorGenerator and a ShapeRatioAssigner, "
            f"but model.bbox_head is {cfg.model.get('bbox_head', {}).get('type', 'not there')}"
        )
    sizes = box_sizes(cfg, dataset, num_images)
    if not len(sizes):
        raise ValueError("train_data has no boxes in the images that were read; use another --num")
    anchors, ratio_thr = _anchors_of(model.bbox_head)
    fit = measure_fit(sizes, anchors, ratio_thr)
    lines = [f"The config's anchors: {_describe(fit)}"]
    if fit.recall >= LOW_RECALL and not always_fit:
        return f"{lines[0]}. That is enough ({LOW_RECALL:.0%}); --fit looks for others all the same"
    per_level = [len(level) for level in model.bbox_head.prior_generator.base_anchors]
    fitted = fit_anchors(sizes, len(anchors), ratio_thr, seed).round(1)
    new_fit = measure_fit(sizes, fitted, ratio_thr)
    lines.append(f"Anchors for this data: {_describe(new_fit)}")
    if len(sizes) < _FEW_BOXES * len(anchors):
        lines.append(
            f"They are made for {len(sizes)} boxes alone, which is little for {len(anchors)} "
            "anchors; others may fit worse. Read more images (--num), or keep the config's"
        )
    likeness, before = (_fitness(sizes, a, ratio_thr) for a in (fitted, anchors))
    if new_fit.recall < fit.recall or likeness <= before:
        lines.append("They fit no better than the config's, which are to be kept")
    return "\n".join([*lines, "", _as_config(fitted, per_level)])


def has_sized_anchors(model: nn.Module) -> bool:
    """Whether a detector's head has anchors of given sizes that are matched by shape."""
    head = getattr(model, "bbox_head", None)
    generator, assigner = (getattr(head, n, None) for n in ("prior_generator", "assigner"))
    return isinstance(generator, YOLOAnchorGenerator) and isinstance(assigner, ShapeRatioAssigner)


def box_sizes(cfg: Config, dataset: DetectionDataset, num_images: int) -> np.ndarray:
    """Widths and heights of the training data's boxes, in pixels of the network's input.

    The images go through the pipeline of ``val_data``, where the config has it: that of training
    cuts and enlarges at random.

    Args:
        cfg: the config.
        dataset: the training data.
        num_images: how many images to read at most, evenly spread.

    Returns:
        (n, 2) float64.
    """
    pipeline = _evaluation_pipeline(cfg)
    count = min(num_images, len(dataset))
    sizes = [np.zeros((0, 2))]
    for index in np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist():
        transforms = dataset.transforms_of(index) if pipeline is None else pipeline
        boxes = dataset.transform(dataset.load(index), SampleRef(index), transforms).boxes
        sizes.append(boxes[:, 2:] - boxes[:, :2])
    return np.concatenate(sizes).astype(np.float64)


def measure_fit(sizes: np.ndarray, anchors: np.ndarray, ratio_thr: float) -> AnchorFit:
    """Match boxes to anchors by their shapes.

    Args:
        sizes: (n, 2) of the boxes.
        anchors: (M, 2).
        ratio_thr: of the :class:`ShapeRatioAssigner`.
    """
    matches = _likeness(sizes, anchors) > 1 / ratio_thr  # (n, M)
    if not len(sizes):
        return AnchorFit(0.0, 0.0, 0)
    return AnchorFit(matches.any(axis=1).mean(), matches.sum(axis=1).mean(), len(sizes))


def fit_anchors(sizes: np.ndarray, count: int, ratio_thr: float, seed: int = 0) -> np.ndarray:
    """Anchors for a data set: the centres of a k-means, then random changes that make them better.

    Better is a higher mean over the boxes of the likeness to the best anchor, 0 where none matches.

    Args:
        sizes: (n, 2) widths and heights of boxes.
        count: M.
        ratio_thr: of the :class:`ShapeRatioAssigner`.
        seed: of the random numbers; the result is the same for the same seed.

    Returns:
        (M, 2) by rising area.

    Raises:
        ValueError: there are fewer boxes than anchors.
    """
    usable = sizes[(sizes >= _SMALLEST).all(axis=1)]
    if len(usable) < count:
        raise ValueError(
            f"{count} anchors need at least as many boxes of {_SMALLEST:g} pixels and more, found "
            f"{len(usable)}: read more images (--num)"
        )
    rng = np.random.default_rng(seed)
    spread = usable.std(axis=0)
    spread[spread == 0] = 1.0
    anchors = _kmeans(usable / spread, count, rng) * spread
    anchors = _evolve(anchors, usable, ratio_thr, rng)
    return anchors[anchors.prod(axis=1).argsort()]


def _anchors_of(head: nn.Module) -> tuple[np.ndarray, float]:
    """(M, 2) anchors, and the ratio up to which they match."""
    sizes = head.prior_generator.sizes.flatten(0, 1)
    return sizes.double().numpy(), head.assigner.ratio_thr


def _evaluation_pipeline(cfg: Config) -> list[Transform] | None:
    """The transforms of ``val_data``, also inside a data set made of others; None without one."""
    dataset = (cfg.get("val_data") or {}).get("dataset")
    if dataset is None:
        return None
    while inner := dataset.get("dataset") or next(iter(dataset.get("datasets") or []), None):
        dataset = inner
    return [build(transform, TRANSFORMS) for transform in dataset.get("pipeline", [])]


def _likeness(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """(n, 2) and (M, 2) to (n, M): the worse axis's ratio of sides, smaller to larger, 0..1."""
    ratios = sizes[:, None] / anchors[None]
    return np.minimum(ratios, 1 / np.maximum(ratios, 1e-9)).min(axis=2)


def _kmeans(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """(n, 2) to (count, 2) centres, which begin at points far from each other (k-means++)."""
    centers = points[rng.integers(len(points), size=1)]
    for _ in range(count - 1):
        distances = _squared_distances(points, centers).min(axis=1) + 1e-12
        chosen = rng.choice(len(points), p=distances / distances.sum())
        centers = np.concatenate([centers, points[chosen : chosen + 1]])
    for _ in range(_KMEANS_ROUNDS):
        nearest = _squared_distances(points, centers).argmin(axis=1)
        is_used = np.bincount(nearest, minlength=count) > 0
        means = [points[nearest == i].mean(axis=0) for i in np.flatnonzero(is_used)]
        centers[is_used] = means
    return centers


def _squared_distances(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    return np.square(points[:, None] - centers[None]).sum(axis=2)


def _evolve(
    anchors: np.ndarray, sizes: np.ndarray, ratio_thr: float, rng: np.random.Generator
) -> np.ndarray:
    """Keep each random change that makes the anchors better."""
    best = _fitness(sizes, anchors, ratio_thr)
    for _ in range(_GENERATIONS):
        changes = rng.random(anchors.shape) < _MUTATED
        factors = np.where(changes, 1 + _MUTATION * rng.standard_normal(anchors.shape), 1.0)
        mutated = np.maximum(anchors * factors.clip(0.3, 3.0), _SMALLEST)
        if (fitness := _fitness(sizes, mutated, ratio_thr)) > best:
            anchors, best = mutated, fitness
    return anchors


def _fitness(sizes: np.ndarray, anchors: np.ndarray, ratio_thr: float) -> float:
    likeness = _likeness(sizes, anchors).max(axis=1)
    return float(np.where(likeness > 1 / ratio_thr, likeness, 0).mean())


def _describe(fit: AnchorFit) -> str:
    return (
        f"{fit.recall:.1%} of {fit.num_boxes} boxes match at least one of them, and a box matches "
        f"{fit.matches:.1f} on the average"
    )


def _as_config(anchors: np.ndarray, per_level: Sequence[int]) -> str:
    """The levels' anchors as a config has them."""
    ends = np.cumsum(per_level)[:-1]
    levels = [
        ", ".join(f"({width:g}, {height:g})" for width, height in level)
        for level in np.split(anchors, ends)
    ]
    rows = "\n".join(f"                [{level}]," for level in levels)
    return (
        "model = dict(\n    bbox_head=dict(\n        prior_generator=dict(\n"
        f"            base_sizes=[\n{rows}\n            ],\n        ),\n    ),\n)"
    )
