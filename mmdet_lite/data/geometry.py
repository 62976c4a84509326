"""Moving the pixels of a sample: its image, boxes and masks are changed together."""

from __future__ import annotations

from dataclasses import replace

import mmcv
import numpy as np

from mmdet_lite.data.sample import Sample
from mmdet_lite.structures.masks import tight_boxes

_FLIPS = ("", "horizontal", "vertical", "both")  # index: bit 0 mirrors x, bit 1 mirrors y


def resize(sample: Sample, size: tuple[int, int]) -> Sample:
    """Scale a sample to (width, height) ``size``."""
    height, width = sample.size
    factors = (size[0] / width, size[1] / height)
    box_factors = np.array(factors * 2, dtype=np.float32)
    return replace(
        sample,
        image=mmcv.imresize(sample.image, size, backend="cv2"),
        boxes=sample.boxes * box_factors,
        ignore_boxes=sample.ignore_boxes * box_factors,
        masks=None if sample.masks is None else sample.masks.resize((size[1], size[0])),
        scale_factor=(sample.scale_factor[0] * factors[0], sample.scale_factor[1] * factors[1]),
    )


def resize_within(sample: Sample, scale: tuple[int, int], keep_ratio: bool) -> Sample:
    """Scale as large as fits ``scale``: (long, short) edge if the ratio is kept, else (w, h)."""
    if keep_ratio:
        width, height = mmcv.rescale_size(sample.size[::-1], scale)
        scale = (max(width, 1), max(height, 1))  # a strip may round to nothing
    return resize(sample, scale)


def flip(sample: Sample, direction: str) -> Sample:
    """Mirror a sample: 'horizontal' or 'vertical'."""
    return replace(
        sample,
        image=np.ascontiguousarray(mmcv.imflip(sample.image, direction)),
        boxes=_flip_boxes(sample.boxes, sample.size, direction),
        ignore_boxes=_flip_boxes(sample.ignore_boxes, sample.size, direction),
        masks=None if sample.masks is None else sample.masks.flip(direction),
        flip=_FLIPS[_FLIPS.index(sample.flip) ^ _FLIPS.index(direction)],
    )


def crop(sample: Sample, x: int, y: int, width: int, height: int) -> Sample:
    """Cut out a window inside the image.

    Boxes are clipped; where there are masks, to what can still be seen of the object. Objects of
    which nothing is left are left out.
    """
    corner = np.array([x, y, x, y], dtype=np.float32)
    shifted = sample.boxes - corner
    boxes = _clip(shifted, width, height)
    ignore_boxes = _clip(sample.ignore_boxes - corner, width, height)
    masks = None
    if sample.masks is not None:
        masks = sample.masks.crop(x, y, width, height)
        cut = np.flatnonzero((boxes != shifted).any(axis=1) & _have_area(boxes))
        visible = tight_boxes(masks.select(cut).bitmaps())
        boxes[cut, :2] = np.maximum(boxes[cut, :2], visible[:, :2])
        boxes[cut, 2:] = np.minimum(boxes[cut, 2:], visible[:, 2:])
    cropped = replace(
        sample,
        image=sample.image[y : y + height, x : x + width],
        boxes=boxes,
        ignore_boxes=ignore_boxes[_have_area(ignore_boxes)],
        masks=masks,
    )
    return cropped.select(_have_area(boxes))


def _flip_boxes(boxes: np.ndarray, size: tuple[int, int], direction: str) -> np.ndarray:
    axis = 0 if direction == "horizontal" else 1
    flipped = boxes.copy()
    flipped[:, [axis, axis + 2]] = size[1 - axis] - boxes[:, [axis + 2, axis]]
    return flipped


def _clip(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.clip(boxes, 0, np.array([width, height] * 2, dtype=np.float32))


def _have_area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
