"""The best overlaps on a GPU, without a tensor of all pairs. Needs Triton.

Letters: B images, A priors, G padded ground truths. A program handles a block of priors of one
image and goes through the ground truths. Overlaps equal those of ``pairwise_iou`` bit for bit, in
both kernels: the same operations in the same order, divided exactly, and no multiplication is
merged with an addition.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mmdet_lite.models.assigners.overlaps import BestOverlaps, Pairs, within_reach

_BLOCK = 256
OPTIONS = {"enable_fp_fusion": False}  # a product and a sum rounded once are not theirs
_MIN_AREA = tl.constexpr(1e-6)  # that of structures/boxes.py


@triton.jit
def _load_box(boxes, mask):
    """Pointers to boxes; gives coordinates and area."""
    x1 = tl.load(boxes, mask=mask, other=0.0)
    y1 = tl.load(boxes + 1, mask=mask, other=0.0)
    x2 = tl.load(boxes + 2, mask=mask, other=0.0)
    y2 = tl.load(boxes + 3, mask=mask, other=0.0)
    return x1, y1, x2, y2, (x2 - x1) * (y2 - y1)


@triton.jit
def _iou(gt_box, prior, counts):
    x1, y1, x2, y2, area = prior
    gt_x1, gt_y1, gt_x2, gt_y2, gt_area = gt_box
    width = tl.maximum(tl.minimum(gt_x2, x2) - tl.maximum(gt_x1, x1), 0.0)
    height = tl.maximum(tl.minimum(gt_y2, y2) - tl.maximum(gt_y1, y1), 0.0)
    overlap = width * height
    union = tl.maximum(gt_area + area - overlap, _MIN_AREA)
    return tl.where(counts, tl.div_rn(overlap, union), -1.0)


@triton.jit
def best_of_priors(
    gt_boxes, priors, image_stride, absent, unusable, iou, gt, gt_iou, A, G,
    both_ways: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Write ``iou`` and ``gt`` (B, A); raise ``gt_iou`` (B, G) to the largest overlaps."""
    image, place = tl.program_id(1), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < A
    prior = _load_box(priors + image * image_stride + place * 4, inside)
    usable = inside & (tl.load(unusable + image * A + place, mask=inside, other=1) == 0)
    best = tl.full([BLOCK], -2.0, tl.float32)  # so that the first is taken in any case
    best_gt = tl.zeros([BLOCK], tl.int64)
    for i in range(G):
        row = image * G + i
        is_absent = tl.load(absent + row) != 0
        overlap = _iou(_load_box(gt_boxes + row * 4, True), prior, usable & ~is_absent)
        is_better = overlap > best
        best = tl.where(is_better, overlap, best)
        best_gt = tl.where(is_better, i, best_gt)
        if both_ways:
            tl.atomic_max(gt_iou + row, tl.max(overlap, axis=0))
    tl.store(iou + image * A + place, best, mask=inside)
    tl.store(gt + image * A + place, best_gt, mask=inside)


@triton.jit
def best_of_gts(
    gt_boxes, priors, image_stride, absent, unusable, gt_iou, best_for, A, G,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Write ``best_for`` (B, A): the last ground truth whose overlap is its ``gt_iou``, or -1."""
    image, place = tl.program_id(1), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = place < A
    prior = _load_box(priors + image * image_stride + place * 4, inside)
    usable = inside & (tl.load(unusable + image * A + place, mask=inside, other=1) == 0)
    last = tl.full([BLOCK], -1, tl.int64)
    for i in range(G):
        row = image * G + i
        is_absent = tl.load(absent + row) != 0
        overlap = _iou(_load_box(gt_boxes + row * 4, True), prior, usable & ~is_absent)
        last = tl.where(overlap == tl.load(gt_iou + row), i, last)
    tl.store(best_for + image * A + place, last, mask=inside)


def best_overlaps(pairs: Pairs, min_gt_iou: float | None) -> BestOverlaps:
    """See :func:`mmdet_lite.models.assigners.overlaps.best_overlaps`; all ties are best ones."""
    num_images, num_gts = pairs.absent.shape
    priors = pairs.priors.contiguous()
    num_priors = priors.shape[1]
    image_stride = num_priors * 4 if len(priors) > 1 else 0
    # Triton has no booleans in memory.
    masks = [mask.contiguous().view(torch.uint8) for mask in (pairs.absent, pairs.unusable)]
    inputs = (pairs.gt_boxes.contiguous(), priors, image_stride, *masks)
    iou = priors.new_empty(num_images, num_priors)
    gt = torch.empty_like(iou, dtype=torch.int64)
    gt_iou = priors.new_full((num_images, num_gts), -1.0)
    grid, settings = (triton.cdiv(num_priors, _BLOCK), num_images), _settings(num_priors, num_gts)
    both_ways = min_gt_iou is not None
    with torch.cuda.device_of(priors):  # Triton launches on the current device
        best_of_priors[grid](*inputs, iou, gt, gt_iou, both_ways=both_ways, **settings)
        if not both_ways:
            return BestOverlaps(iou, gt)
        best_for = torch.empty_like(gt)
        best_of_gts[grid](*inputs, within_reach(gt_iou, min_gt_iou), best_for, **settings)
    return BestOverlaps(iou, gt, best_for >= 0, best_for)


def _settings(num_priors: int, num_gts: int) -> dict:
    return {"A": num_priors, "G": num_gts, "BLOCK": _BLOCK, **OPTIONS}
