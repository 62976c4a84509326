"""How large images and boxes are in training, and which anchors a config lays over them.

Letters: n boxes, N images, L levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

_SIZE_DIVISOR = 32  # the default of the collation
_NESTED = ("transforms", "then", "pipeline", "datasets", "dataset")


@dataclass(frozen=True)
class Scale:
    """A size that images are brought to.

    Args:
        size: (width, height); with ``keep_ratio`` (long, short) edges that the image must fit in.
        keep_ratio: scale both axes alike.
        is_letterbox: ``size`` is (width, height) that the image must fit in, and is padded to.
        enlarge: of a letterbox: whether the image may become larger.
        center: of a letterbox: whether the image stands in the middle.
    """

    size: tuple[int, int]
    keep_ratio: bool = True
    is_letterbox: bool = False
    enlarge: bool = True
    center: bool = True

    def apply(self, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bring images to this scale, rounded to whole pixels as the transforms do.

        Args:
            sizes: (N, 2) width and height of images.

        Returns:
            (N, 2) each: width and height of the picture, where it begins, and width and height of
            the image with what the transform pads.
        """
        limit = np.array(self.size, np.float64)
        if not self.keep_ratio:
            picture = np.broadcast_to(limit, sizes.shape)
        else:
            edges = sizes if self.is_letterbox else -np.sort(-sizes, axis=1)  # long, short
            bounds = limit if self.is_letterbox else -np.sort(-limit)
            factors = (bounds / edges).min(axis=1, keepdims=True)
            if self.is_letterbox and not self.enlarge:
                factors = np.minimum(factors, 1)
            picture = np.maximum(np.floor(sizes * factors + 0.5), 1)
        if not self.is_letterbox:
            return picture, np.zeros_like(picture), picture
        start = (limit - picture) // 2 if self.center else np.zeros_like(picture)
        return picture, start, np.broadcast_to(limit, picture.shape)


@dataclass(frozen=True)
class AnchorGrid:
    """The anchors of a config at all places of all feature maps.

    Args:
        base_anchors: for each level (M, 4) xyxy around the first cell, input pixels.
        strides: pixels between cells, one a level.
        size_divisor: padded widths and heights are multiples of it.
        allowed_border: anchors that reach further out of the image do not count; negative: all do.
        ratio_thr: where anchors are matched by shape alone, up to so many times each side; None:
            by IoU.
        fit_strides: cells are as far apart as the padded image divided by their number gives.
    """

    base_anchors: tuple[np.ndarray, ...]
    strides: tuple[int, ...]
    size_divisor: int = _SIZE_DIVISOR
    allowed_border: float = -1
    ratio_thr: float | None = None
    fit_strides: bool = False

    def best_overlaps(self, boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The IoU of each box with the anchor of all places that overlaps it most.

        On each axis on its own, the anchor whose centre is nearest overlaps most; so it is found
        without looking at all places.

        Args:
            boxes: (n, 4) xyxy, input pixels.
            sizes: (n, 2) width and height of each box's image, before it is padded.

        Returns:
            (n,) IoU, 0 where no anchor counts.
        """
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        padded = np.ceil(sizes / self.size_divisor) * self.size_divisor
        best = np.zeros(len(boxes))
        for anchors, stride in zip(self.base_anchors, self.strides, strict=True):
            for anchor in anchors:
                common = np.ones(len(boxes))
                for axis in (0, 1):
                    common *= self._common(
                        anchor[axis::2], stride, boxes[:, axis::2], sizes[:, axis], padded[:, axis]
                    )
                area = np.prod(anchor[2:] - anchor[:2])
                np.maximum(best, common / (areas + area - common), out=best)
        return best

    def matches_shape(self, boxes: np.ndarray) -> np.ndarray:
        """(n,) bool: some anchor has about the shape of the box, by ``ratio_thr``."""
        anchors = np.concatenate(self.base_anchors)
        wanted, matches = boxes[:, 2:] - boxes[:, :2], np.zeros(len(boxes), bool)
        for side in anchors[:, 2:] - anchors[:, :2]:
            ratio = wanted / side
            matches |= np.maximum(ratio, 1 / ratio).max(axis=1) < self.ratio_thr
        return matches

    def _common(
        self,
        sides: np.ndarray,
        stride: int,
        box_sides: np.ndarray,
        size: np.ndarray,
        padded: np.ndarray,
    ) -> np.ndarray:
        """(n,) pixels that boxes share on one axis with the nearest anchor that counts.

        ``sides`` are the begin and end of the anchor at cell 0, (n, 2) ``box_sides`` of the boxes.
        """
        num_cells = np.ceil(padded / stride)
        step = padded // num_cells if self.fit_strides else stride
        first, last = np.zeros(len(size)), num_cells - 1
        if self.allowed_border >= 0:
            first = np.maximum(first, np.ceil((-self.allowed_border - sides[0]) / step))
            last = np.minimum(last, np.ceil((size + self.allowed_border - sides[1]) / step) - 1)
        nearest = np.round((box_sides.sum(axis=1) - sides.sum()) / (2 * step))
        shift = np.clip(nearest, first, np.maximum(first, last)) * step
        begin, end = np.maximum(box_sides.T[0], sides[0] + shift), sides[1] + shift
        common = np.minimum(box_sides.T[1], end) - begin
        return np.where(first <= last, np.maximum(common, 0), 0)


def read_scales(cfg: dict[str, Any]) -> list[Scale]:
    """The scales that the training's pipeline resizes images to; none where it does not.

    Of a range of scales its ends and its middle stand for all. Where there are several resizing
    transforms the first counts, and what crops, zooms or puts images together is not followed.

    Args:
        cfg: a config in the native form.
    """
    for transform in _walk((cfg.get("train_data") or {}).get("dataset") or {}):
        if scales := _scales_of(transform):
            return scales
    return []


def read_anchors(cfg: dict[str, Any]) -> AnchorGrid | None:
    """The anchors of the RPN or of the one-stage head; None of a config without.

    Args:
        cfg: a config in the native form.

    Raises:
        KeyError, TypeError, ValueError: the anchor generator cannot be built.
    """
    model = cfg.get("model") or {}
    heads = [model.get("rpn_head") or {}, model.get("bbox_head") or {}]
    pairs = (
        (head, head.get(key)) for head in heads for key in ("anchor_generator", "prior_generator")
    )
    head, generator_cfg = next((pair for pair in pairs if pair[1]), ({}, None))
    if generator_cfg is None:
        return None
    # They are registered without the other models, whose import takes longer than the images.
    from mmdet_lite.models import priors  # noqa: F401
    from mmdet_lite.registry import MODELS, build

    generator = build(generator_cfg, MODELS)
    extra = np.array([0, 0, 1, 1]) * bool(generator.inclusive)
    assigner = head.get("assigner") or {}
    ratio_thr = None
    if assigner.get("type") == "ShapeRatioAssigner":
        from mmdet_lite.models import assigners  # noqa: F401

        ratio_thr = build(assigner, MODELS).ratio_thr
    return AnchorGrid(
        base_anchors=tuple(anchors + extra for anchors in generator.cell_anchors),
        strides=generator.strides,
        size_divisor=(cfg.get("train_data") or {}).get("size_divisor", _SIZE_DIVISOR),
        allowed_border=head.get("allowed_border", -1),
        ratio_thr=ratio_thr,
        fit_strides=generator.fit_strides,
    )


def _walk(item: Any) -> Iterator[dict]:
    """A config's dicts that have a type, outer before inner, in the order of the pipeline."""
    if isinstance(item, dict):
        yield item
        for key in _NESTED:
            yield from _walk(item.get(key))
    elif isinstance(item, (list, tuple)):
        for inner in item:
            yield from _walk(inner)


def _scales_of(transform: dict) -> list[Scale]:
    keep_ratio = transform.get("keep_ratio", True)
    match transform.get("type"):
        case "Resize":
            return [Scale(tuple(transform["scale"]), keep_ratio)]
        case "RandomChoiceResize":
            return [Scale(tuple(scale), keep_ratio) for scale in transform["scales"]]
        case "RandomResize":
            return [Scale(size, keep_ratio) for size in _range_of_sizes(transform)]
        case "Letterbox":
            flags = {key: transform[key] for key in ("enlarge", "center") if key in transform}
            return [Scale(tuple(transform["size"]), is_letterbox=True, **flags)]
    return []


def _range_of_sizes(transform: dict) -> list[tuple[int, int]]:
    """The ends and the middle of what RandomResize draws from."""
    if ratios := transform.get("ratio_range"):
        scale = np.array(transform["scale"])
        ends = [scale * ratios[0], scale * ratios[1]]
    else:
        ends = [np.min(transform["scale"], axis=0), np.max(transform["scale"], axis=0)]
    sizes = [ends[0], (ends[0] + ends[1]) / 2, ends[1]]
    return [tuple(np.maximum(size.astype(int), 1).tolist()) for size in sizes]
