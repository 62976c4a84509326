"""Moving the pixels of a sample: its image, boxes and masks are changed together."""

from __future__ import annotations

from dataclasses import replace

import cv2
import mmcv
import numpy as np

from mmdet_lite.data.sample import Sample
from mmdet_lite.structures.masks import InstanceMasks, tight_boxes, warp_pixels

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
        offset=(sample.offset[0] * factors[0], sample.offset[1] * factors[1]),
    )


def resize_within(sample: Sample, scale: tuple[int, int], keep_ratio: bool) -> Sample:
    """Scale as large as fits ``scale``: (long, short) edge if the ratio is kept, else (w, h)."""
    if keep_ratio:
        width, height = mmcv.rescale_size(sample.size[::-1], scale)
        scale = (max(width, 1), max(height, 1))  # a strip may round to nothing
    return resize(sample, scale)


def fitted_size(
    size: tuple[int, int], limit: tuple[int, int], enlarge: bool = True
) -> tuple[int, int]:
    """How large a picture of (width, height) ``size`` becomes to fit ``limit``, to whole pixels.

    Args:
        size, limit: (width, height).
        enlarge: whether it may become larger.
    """
    factor = min(limit[0] / size[0], limit[1] / size[1])
    if factor > 1 and not enlarge:
        return size
    return max(int(size[0] * factor + 0.5), 1), max(int(size[1] * factor + 0.5), 1)


def flip(sample: Sample, direction: str) -> Sample:
    """Mirror a sample: 'horizontal' or 'vertical'."""
    offset, axis = list(sample.offset), int(direction == "vertical")
    picture = sample.scale_factor[axis] * sample.ori_shape[1 - axis]
    offset[axis] = sample.size[1 - axis] - picture - offset[axis]
    return replace(
        sample,
        image=cv2.flip(sample.image, int(direction == "horizontal")),
        boxes=_flip_boxes(sample.boxes, sample.size, direction),
        ignore_boxes=_flip_boxes(sample.ignore_boxes, sample.size, direction),
        masks=None if sample.masks is None else sample.masks.flip(direction),
        offset=tuple(offset),
        flip=_FLIPS[_FLIPS.index(sample.flip) ^ _FLIPS.index(direction)],
    )


def crop(sample: Sample, x: int, y: int, width: int, height: int) -> Sample:
    """Cut out a window inside the image.

    Boxes are clipped; where there are masks, to what can still be seen of the object. Objects of
    which nothing is left are left out.
    """
    corner = np.array([x, y, x, y], dtype=np.float32)
    shifted = sample.boxes - corner
    boxes = clip(shifted, width, height)
    ignore_boxes = clip(sample.ignore_boxes - corner, width, height)
    masks = None
    if sample.masks is not None:
        masks = sample.masks.crop(x, y, width, height)
        boxes = _cut_to_masks(boxes, masks, (boxes != shifted).any(axis=1))
    cropped = replace(
        sample,
        image=sample.image[y : y + height, x : x + width],
        boxes=boxes,
        ignore_boxes=ignore_boxes[_have_area(ignore_boxes)],
        masks=masks,
        offset=(sample.offset[0] - x, sample.offset[1] - y),
    )
    return cropped.select(_have_area(boxes))


def place(sample: Sample, canvas: np.ndarray, x: int, y: int) -> Sample:
    """Draw a sample onto a larger picture.

    Args:
        sample: what is drawn; it must fit.
        canvas: (H, W, 3) uint8, changed, and the image of the result.
        x, y: where its upper left corner comes to lie.
    """
    height, width = sample.size
    canvas[y : y + height, x : x + width] = sample.image
    shift = np.array([x, y, x, y], dtype=np.float32)
    return replace(
        sample,
        image=canvas,
        boxes=sample.boxes + shift,
        ignore_boxes=sample.ignore_boxes + shift,
        masks=None if sample.masks is None else sample.masks.place(x, y, canvas.shape[:2]),
        offset=(sample.offset[0] + x, sample.offset[1] + y),
    )


def warp(sample: Sample, matrix: np.ndarray, size: tuple[int, int], pad_val: int) -> Sample:
    """Move a sample by an affine map, of which its meta data knows nothing: for training only.

    Boxes are those of the moved corners, clipped; where there are masks and the map turns or
    shears, or a box is cut, to what is seen of the object. Objects of which nothing is left are
    left out.

    Args:
        sample: the image.
        matrix: (2, 3) from its coordinates to those of the result; pixel i is the range i to i + 1.
        size: (width, height) of the result.
        pad_val: grey level where there is no image, 0..255.
    """
    width, height = size
    moved = move_boxes(sample.boxes, matrix)
    boxes = clip(moved, width, height)
    ignore_boxes = clip(move_boxes(sample.ignore_boxes, matrix), width, height)
    masks = None
    if sample.masks is not None:
        masks = sample.masks.warp(matrix, (height, width))
        is_turned = matrix[0, 1] != 0 or matrix[1, 0] != 0
        boxes = _cut_to_masks(boxes, masks, is_turned | (boxes != moved).any(axis=1))
    warped = replace(
        sample,
        image=warp_pixels(sample.image, matrix, size, cv2.INTER_LINEAR, pad_val),
        boxes=boxes,
        ignore_boxes=ignore_boxes[_have_area(ignore_boxes)],
        masks=masks,
    )
    return warped.select(_have_area(boxes))


def move_boxes(boxes: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Boxes around the corners of (n, 4) boxes after a (2, 3) affine map: (n, 4) float32."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) @ matrix[:, :2].T + matrix[:, 2]
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


def _flip_boxes(boxes: np.ndarray, size: tuple[int, int], direction: str) -> np.ndarray:
    axis = 0 if direction == "horizontal" else 1
    flipped = boxes.copy()
    flipped[:, [axis, axis + 2]] = size[1 - axis] - boxes[:, [axis + 2, axis]]
    return flipped


def clip(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """The part of (n, 4) boxes inside an image."""
    return np.clip(boxes, 0, np.array([width, height] * 2, dtype=np.float32))


def _cut_to_masks(boxes: np.ndarray, masks: InstanceMasks, where: np.ndarray) -> np.ndarray:
    """(n, 4) boxes, those at ``where``, (n,) bool, cut to what is seen of the object."""
    rows = np.flatnonzero(where & _have_area(boxes))
    visible = tight_boxes(masks.select(rows).bitmaps())
    fitted = boxes.copy()
    fitted[rows, :2] = np.maximum(boxes[rows, :2], visible[:, :2])
    fitted[rows, 2:] = np.minimum(boxes[rows, 2:], visible[:, 2:])
    return fitted


def _have_area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
