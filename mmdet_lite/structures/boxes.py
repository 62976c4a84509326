"""Pure functions on boxes: (..., 4) float tensors (x1, y1, x2, y2), width = x2 - x1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Keeps unions and enclosing areas of empty boxes from dividing by zero; MMDetection's value, which
# decides IoU ties and must therefore not change.
_MIN_AREA = 1e-6
_EPS = 1e-7  # MMDetection's, in the unions and diagonals of DIoU and CIoU


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
    # The largest tensors of the training step: coordinate by coordinate, so that boxes2 lie side by
    # side in memory, and in place.
    first = boxes1.movedim(-1, 0)[..., :, None]
    second = boxes2.movedim(-1, 0).contiguous()[..., None, :]
    sides = torch.minimum(first[2:], second[2:]).sub_(torch.maximum(first[:2], second[:2]))
    width, height = sides.clamp_(min=0)
    overlap = width * height
    union = (_area(first) + _area(second)).sub_(overlap).clamp_(min=_MIN_AREA)
    return overlap.div_(union)


def _area(coordinates: Tensor) -> Tensor:
    """(4, ...) to (...)."""
    width, height = coordinates[2:] - coordinates[:2]
    return width * height


def aligned_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of broadcast pairs: (..., 4) and (..., 4) to (...)."""
    overlap = _intersection(boxes1, boxes2)
    union = box_area(boxes1) + box_area(boxes2) - overlap
    return overlap / union.clamp(min=_MIN_AREA)


def outer_edges(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) whose corners are both pixels inside, by the edges of these pixels."""
    return torch.cat([boxes[..., :2], boxes[..., 2:] + 1], dim=-1)


def inclusive_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of broadcast pairs, (..., 4) and (..., 4) to (...), of boxes whose
    corners are both pixels inside: ``x2 - x1 + 1`` wide."""
    boxes1, boxes2 = outer_edges(boxes1), outer_edges(boxes2)
    overlap = _intersection(boxes1, boxes2)
    return overlap / (box_area(boxes1) + box_area(boxes2) - overlap)


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


def aligned_ciou(boxes1: Tensor, boxes2: Tensor, min_iou: float = 0.0) -> Tensor:
    """Complete IoU (Zheng et al. 2020, eq. 10), broadcast: (..., 4) and (..., 4) to (...).

    The weight of the aspect ratios' difference, eq. 11, is a constant for the gradient.

    Args:
        boxes1, boxes2: pairs.
        min_iou: aspect ratios count where the IoU is above this; 0: always.
    """
    iou, distance = _iou_and_distance(boxes1, boxes2)
    difference = _aspect_angle(boxes2) - _aspect_angle(boxes1)
    penalty = 4 / math.pi**2 * difference.square()  # eq. 9
    with torch.no_grad():  # the denominator is 0 for equal boxes
        factor = penalty / (1 - iou + penalty).clamp(min=_EPS)
        factor = torch.where(iou > min_iou, factor, 0.0) if min_iou > 0 else factor
    return iou - distance - factor * penalty


def aligned_diou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Distance IoU (Zheng et al. 2020, eq. 6), broadcast: (..., 4) and (..., 4) to (...)."""
    iou, distance = _iou_and_distance(boxes1, boxes2)
    return iou - distance


def _iou_and_distance(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """IoU, and the squared distance of the centres in squared diagonals of the enclosing box."""
    overlap = _intersection(boxes1, boxes2)
    iou = overlap / (box_area(boxes1) + box_area(boxes2) - overlap + _EPS)
    low = torch.minimum(boxes1[..., :2], boxes2[..., :2])
    outer = torch.maximum(boxes1[..., 2:], boxes2[..., 2:]) - low
    diagonal = outer.clamp(min=0).square().sum(dim=-1) + _EPS
    shift = (boxes2[..., :2] + boxes2[..., 2:] - boxes1[..., :2] - boxes1[..., 2:]) / 2
    return iou, shift.square().sum(dim=-1) / diagonal


def _aspect_angle(boxes: Tensor) -> Tensor:
    sides = boxes[..., 2:] - boxes[..., :2]
    return torch.atan(sides[..., 0] / (sides[..., 1] + _EPS))


def xyxy_from_cxcywh(boxes: Tensor) -> Tensor:
    """Boxes by centre and size, (..., 4), to boxes by corners."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=-1)


def side_distances(points: Tensor, boxes: Tensor) -> Tensor:
    """From points (..., 2) to the left, top, right and bottom side of boxes (..., 4): (..., 4)."""
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def boxes_around(points: Tensor, distances: Tensor) -> Tensor:
    """The inverse of :func:`side_distances`: (..., 2) and (..., 4) to (..., 4) boxes."""
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)


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
    limit = shapes.flip(-1).to(boxes.dtype)  # (B, 2): w, h
    limit = limit.reshape(limit.shape[0], *[1] * (boxes.dim() - 1), 2)
    corners = boxes.clamp(min=0).unflatten(-1, (2, 2))
    return torch.minimum(corners, limit).flatten(-2)
