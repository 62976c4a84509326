"""Between the coordinates of the network input and those of the image in its file."""

from __future__ import annotations

from torch import Tensor

from mmdet_lite.structures.boxes import clip_boxes, flip_boxes
from mmdet_lite.structures.samples import ImageMeta


def to_original_boxes(boxes: Tensor, meta: ImageMeta) -> Tensor:
    """Take boxes back to the image as it is in its file, and clip them to it.

    Args:
        boxes: (n, 4), network coordinates.
        meta: how the image was scaled, mirrored and padded.
    """
    original = to_unclipped_boxes(boxes, meta)
    return clip_boxes(original[None], original.new_tensor(meta.ori_shape)[None])[0]


def to_unclipped_boxes(boxes: Tensor, meta: ImageMeta) -> Tensor:
    """As :func:`to_original_boxes`, but a box may reach out of the image, into what was padding.

    Masks that were predicted for whole boxes must be pasted into whole boxes.
    """
    boxes = boxes.float()
    shifted = boxes - boxes.new_tensor(meta.offset).repeat(2)
    original = shifted / boxes.new_tensor(meta.scale_factor).repeat(2)
    return flip_boxes(original, meta.ori_shape, meta.flip)


def to_network_boxes(boxes: Tensor, meta: ImageMeta) -> Tensor:
    """The way back.

    Args:
        boxes: (n, 4), coordinates of the image in its file.
        meta: how the image was scaled, mirrored and padded.
    """
    boxes = flip_boxes(boxes, meta.ori_shape, meta.flip)
    scaled = boxes * boxes.new_tensor(meta.scale_factor).repeat(2)
    return scaled + boxes.new_tensor(meta.offset).repeat(2)
