"""NMS whose result has a fixed shape, as a graph that leaves the framework must have it.

What the ragged functions of ``postprocess.py`` drop is kept here, with the score -1.
Letters: B images, G groups, N candidates, P places, K classes, D detections.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms as torchvision_nms

from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.structures.samples import Detections

_ALWAYS_THERE = 2  # candidates


@torch.library.custom_op("mmdet_lite::keep_best", mutates_args=())
def keep_best(boxes: Tensor, scores: Tensor, iou_thr: float) -> Tensor:
    """Non-maximum suppression, group by group; one node of an exported graph.

    Args:
        boxes: (B, N, 4), shared by the groups.
        scores: (B, G, N); negative where there is no candidate.
        iou_thr: overlap above which the lower-scored box is dropped.

    Returns:
        (B, G, N) bool, the candidates that stay.
    """
    return keep_best_by_torchvision(boxes, scores, iou_thr)


@keep_best.register_fake
def _(boxes: Tensor, scores: Tensor, iou_thr: float) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def keep_best_by_torchvision(boxes: Tensor, scores: Tensor, iou_thr: float) -> Tensor:
    """The same from operators of torch and torchvision: one call, in which groups lie apart.

    In float64, where no digit is lost by that. Two candidates of no group stand at the end, as
    torch.export assumes of a size that only the data tells that it is neither 0 nor 1.
    """
    num_images, num_groups, num_places = scores.shape
    found_scores = F.pad(scores.flatten(), (0, _ALWAYS_THERE))
    (found,) = (found_scores >= 0).nonzero(as_tuple=True)
    pair, place = found // num_places, found % num_places  # image and group are one
    image = (pair // num_groups).clamp(max=num_images - 1)
    boxes = boxes.double()
    apart = boxes.abs().amax() * 2 + 1
    shifted = boxes[image, place] + (pair * apart)[:, None]
    kept = torchvision_nms(shifted, found_scores[found].double(), iou_thr)
    keep = torch.zeros_like(found_scores, dtype=torch.bool).index_fill(0, found[kept], True)
    return keep[:-_ALWAYS_THERE].reshape(scores.shape)


def keep_best_of_groups(
    boxes: Tensor, scores: Tensor, groups: Tensor, num_groups: int, iou_thr: float
) -> Tensor:
    """NMS among candidates that belong to one group each.

    Args:
        boxes: (B, N, 4).
        scores: (B, N); negative where there is no candidate.
        groups: (B, N) or (N,) int64 in 0..num_groups - 1.
        num_groups: G.
        iou_thr: overlap above which the lower-scored box is dropped.

    Returns:
        (B, N) bool, the candidates that stay.
    """
    is_here = groups[..., None, :] == torch.arange(num_groups, device=groups.device)[:, None]
    return keep_best(boxes, torch.where(is_here, scores[:, None], -1), iou_thr).any(dim=1)


def exported_multiclass_nms(
    boxes: Tensor, scores: Tensor, nms: NMS | SoftNMS, max_per_img: int
) -> Detections:
    """:func:`~mmdet_lite.models.postprocess.multiclass_nms` with fixed shapes.

    Args:
        boxes: (B, P, K, 4), or (B, P, 1, 4) shared by the classes.
        scores: (B, P, K); negative where there is no candidate.
        nms: how duplicates are suppressed.
        max_per_img: D.

    Raises:
        ValueError: the NMS is another than ``NMS``.
    """
    _require_plain(nms)
    num_classes, by_class = scores.shape[2], scores.transpose(1, 2)  # (B, K, P)
    pairs = boxes.expand(-1, -1, num_classes, 4).flatten(1, 2)  # (B, P * K, 4)
    if nms.class_agnostic:
        keep = keep_best(pairs, scores.flatten(1)[:, None], nms.iou_thr)[:, 0]
    elif boxes.shape[2] == 1:
        keep = keep_best(boxes[:, :, 0], by_class.contiguous(), nms.iou_thr)
        keep = keep.transpose(1, 2).flatten(1)
    else:  # every class has boxes of its own, as if it were an image
        of_class = boxes.transpose(1, 2).flatten(0, 1)  # (B * K, P, 4)
        keep = keep_best(of_class, by_class.flatten(0, 1)[:, None], nms.iou_thr)
        keep = keep.reshape(by_class.shape).transpose(1, 2).flatten(1)
    scores = scores.flatten(1)
    labels = torch.arange(scores.shape[1], device=scores.device) % num_classes
    return _best(pairs, scores, labels.expand_as(scores), keep, max_per_img)


def exported_dense_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    num_classes: int | None,
    nms: NMS | SoftNMS,
    max_per_img: int,
) -> Detections:
    """:func:`~mmdet_lite.models.postprocess.dense_nms` with fixed shapes.

    Args:
        boxes: (B, N, 4).
        scores: (B, N); negative where there is no candidate.
        labels: (B, N) int64.
        num_classes: K.
        nms: how duplicates are suppressed.
        max_per_img: D.

    Raises:
        ValueError: the number of classes is not known, or the NMS is another than ``NMS``.
    """
    _require_plain(nms)
    if num_classes is None:
        raise ValueError("a head can be exported only if it gives dense_nms its num_classes")
    groups = torch.zeros_like(labels) if nms.class_agnostic else labels
    num_groups = 1 if nms.class_agnostic else num_classes
    keep = keep_best_of_groups(boxes, scores, groups, num_groups, nms.iou_thr)
    return _best(boxes, scores, labels, keep, max_per_img)


def _best(
    boxes: Tensor, scores: Tensor, labels: Tensor, keep: Tensor, max_per_img: int
) -> Detections:
    """The D best of N candidates; where there are fewer, rows of zeros fill up."""
    scores = F.pad(scores.masked_fill(~keep, -1), (0, max_per_img), value=-1.0)
    best, inds = scores.topk(max_per_img)
    valid = best >= 0
    inds = inds.clamp(max=boxes.shape[1] - 1)
    boxes = boxes.gather(1, inds[..., None].expand(-1, -1, 4))
    return Detections(
        boxes=torch.where(valid[..., None], boxes, 0),
        scores=torch.where(valid, best, 0),
        labels=torch.where(valid, labels.gather(1, inds), 0),
        valid=valid,
    )


def _require_plain(nms: NMS | SoftNMS) -> None:
    """Only dropping has a counterpart outside of the framework."""
    if type(nms) is not NMS:
        raise ValueError(
            f"{type(nms).__name__} cannot be exported, only NMS, as neither ONNX nor torchvision "
            "has an operator for it. Set the head's nms=dict(type='NMS', iou_thr=...), or, of a "
            "one-stage detector, export without it: --nms outside"
        )
