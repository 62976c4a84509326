"""Pure functions on boxes: (..., 4) float tensors (x1, y1, x2, y2), width = x2 - x1."""

from __future__ import annotations

import torch
from torch import Tensor

# Keeps unions and enclosing areas of empty boxes from dividing by zero; MMDetection's value, which
# decides IoU ties and must therefore not change.
_MIN_AREA = 1e-6


def box_area(boxes: Tensor) -> Tensor:
    """Areas of (..., 4) boxes: (...)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _intersection(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    x1, y1, x2, y2 = boxes1.unbind(-1)
    other_x1, other_y1, other_x2, other_y2 = boxes2.unbind(-1)
    # Coordinate by coordinate: (..., 2) tensors would be twice the size of the largest ones here.
    width = (torch.minimum(x2, other_x2) - torch.maximum(x1, other_x1)).clamp(min=0)
    height = (torch.minimum(y2, other_y2) - torch.maximum(y1, other_y1)).clamp(min=0)
    return width * height


def pairwise_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of all pairs.

    The order of operations is MMDetection's: low-quality matching compares IoUs for bitwise
    equality, so ``boxes1`` has to be the ground truth there.

    Args:
        boxes1: (..., N, 4).
        boxes2: (..., M, 4).

    Returns:
        (..., N, M).
    """
    return aligned_iou(boxes1[..., :, None, :], boxes2[..., None, :, :])


def aligned_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of broadcast pairs: (..., 4) and (..., 4) to (...)."""
    overlap = _intersection(boxes1, boxes2)
    union = box_area(boxes1) + box_area(boxes2) - overlap
    return overlap / union.clamp(min=_MIN_AREA)


def pairwise_iof(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over the area of ``boxes1`` ("foreground"): (..., N, 4), (..., M, 4) to
    (..., N, M)."""
    return aligned_iof(boxes1[..., :, None, :], boxes2[..., None, :, :])


def aligned_iof(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over the area of ``boxes1``, broadcast: (..., 4) and (..., 4) to (...)."""
    return _intersection(boxes1, boxes2) / box_area(boxes1).clamp(min=_MIN_AREA)


def aligned_giou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al. 2019), broadcast: (..., 4) and (..., 4) to (...)."""
    overlap = _intersection(boxes1, boxes2)
    union = (box_area(boxes1) + box_area(boxes2) - overlap).clamp(min=_MIN_AREA)
    top_left = torch.minimum(boxes1[..., :2], boxes2[..., :2])
    bottom_right = torch.maximum(boxes1[..., 2:], boxes2[..., 2:])
    enclosing = box_area(torch.cat([top_left, bottom_right], dim=-1)).clamp(min=_MIN_AREA)
    return overlap / union - (enclosing - union) / enclosing


def pairwise_giou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Generalised IoU of all pairs: (..., N, 4), (..., M, 4) to (..., N, M)."""
    return aligned_giou(boxes1[..., :, None, :], boxes2[..., None, :, :])


def flip_boxes(boxes: Tensor, shape: tuple[int, int], flip: str) -> Tensor:
    """Mirror boxes as their image is mirrored; twice is once undone.

    Args:
        boxes: (..., 4).
        shape: (height, width) of the image.
        flip: '', 'horizontal', 'vertical' or 'both'.
    """
    height, width = shape
    x1, y1, x2, y2 = boxes.unbind(-1)
    if flip in ("horizontal", "both"):
        x1, x2 = width - x2, width - x1
    if flip in ("vertical", "both"):
        y1, y2 = height - y2, height - y1
    return torch.stack([x1, y1, x2, y2], dim=-1)


def clip_boxes(boxes: Tensor, shapes: Tensor) -> Tensor:
    """Clip boxes to their images.

    Args:
        boxes: (B, ..., 4).
        shapes: (B, 2) (height, width); x goes to [0, width], y to [0, height].

    Returns:
        (B, ..., 4).
    """
    limit = shapes.flip(-1).repeat(1, 2).to(boxes.dtype)  # (B, 4): w, h, w, h
    limit = limit.reshape(len(limit), *[1] * (boxes.dim() - 2), 4)
    return torch.minimum(boxes.clamp(min=0), limit)
