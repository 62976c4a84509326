"""From dense scores to a few boxes: top-k, batched NMS, padding of ragged results.

NMS is where the ragged world begins and ends: every function here takes and gives padded tensors.
Letters: B images, A priors over all levels, N candidates, P proposals, D detections, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from mmdet_lite.models.exported_nms import (
    exported_dense_nms,
    exported_multiclass_nms,
    keep_best_of_groups,
)
from mmdet_lite.models.exporting import is_exporting
from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.ranges import check_positive, check_shares
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Detections, Proposals


@MODELS.register_module()
class ProposalSelector:
    """Turn a dense head's scores and deltas into proposals.

    Args:
        nms_pre: candidates of each level that are decoded, the best ones.
        max_per_img: proposals kept an image, P.
        nms_iou_thr: overlap above which the lower-scored box is dropped, level by level.
        min_bbox_size: boxes must be wider and higher than this; negative: not tested.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self, nms_pre: int, max_per_img: int, nms_iou_thr: float = 0.7, min_bbox_size: float = 0
    ):
        check_positive(self, nms_pre=nms_pre, max_per_img=max_per_img)
        check_shares(self, nms_iou_thr=nms_iou_thr)
        self.nms_pre = nms_pre
        self.max_per_img = max_per_img
        self.nms_iou_thr = nms_iou_thr
        self.min_bbox_size = min_bbox_size

    @torch.no_grad()
    def select(
        self, scores: Tensor, deltas: Tensor, priors: Priors, coder: nn.Module, shapes: Tensor
    ) -> Proposals:
        """Decode the best of each level, drop duplicates, keep the best of all.

        Args:
            scores: (B, A) in 0..1.
            deltas: (B, A, 4).
            priors: A priors.
            coder: decodes deltas.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            P = min(max_per_img, candidates) proposals an image, sorted by score.
        """
        scores, inds = best_of_each_level(scores, priors.level_sizes, self.nms_pre)
        deltas = deltas.gather(1, inds[..., None].expand(-1, -1, 4))
        boxes = coder.decode(priors.boxes[inds], deltas, shapes)
        sizes = [torch.sym_min(self.nms_pre, size) for size in priors.level_sizes]
        return self.keep(boxes, scores, sizes, priors.ids[inds])

    @torch.no_grad()
    def keep(self, boxes: Tensor, scores: Tensor, sizes: Sequence[int], ids: Tensor) -> Proposals:
        """Drop small boxes and duplicates, keep the best.

        Args:
            boxes: (B, N, 4).
            scores: (B, N).
            sizes: how many of the N belong to each group, one after the other; boxes of different
                groups do not compete.
            ids: (B, N) int64 identity of each candidate.

        Returns:
            P = min(max_per_img, N) proposals an image, sorted by score.
        """
        valid = None
        if self.min_bbox_size >= 0:
            valid = (boxes[..., 2:] - boxes[..., :2] > self.min_bbox_size).all(-1)
        keep = nms_mask(boxes, scores, sizes, valid, self.nms_iou_thr)

        ranked, order = scores.masked_fill(~keep, -1).topk(
            torch.sym_min(self.max_per_img, keep.shape[1])
        )
        valid = ranked >= 0
        padding = ~valid
        boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
        return Proposals(
            boxes=boxes.masked_fill_(padding[..., None], 0),
            scores=ranked.masked_fill_(padding, 0),
            valid=valid,
            ids=ids.gather(1, order),
        )


def best_of_each_level(
    scores: Tensor, level_sizes: Sequence[int], count: int
) -> tuple[Tensor, Tensor]:
    """The best ``count`` scores of each level, or all where there are fewer.

    Args:
        scores: (B, A), level after level.
        level_sizes: how many of the A belong to each level.
        count: how many to take of a level.

    Returns:
        Scores and indices into A, (B, N) each.
    """
    best, inds, start = [], [], 0
    for size in level_sizes:
        # Not min(): an export may leave sizes open.
        here = scores[:, start : start + size]
        level_best, level_inds = here.topk(torch.sym_min(count, size), dim=1)
        best.append(level_best)
        inds.append(level_inds + start)
        start += size
    return torch.cat(best, dim=1), torch.cat(inds, dim=1)


def best_candidates(
    scores: Tensor, level_sizes: Sequence[int], count: int, multi_label: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """The best ``count`` candidates of each level, or all where there are fewer.

    Args:
        scores: (B, A, K), level after level.
        level_sizes: how many of the A belong to each level.
        count: how many to take of a level.
        multi_label: every (prior, class) pair is a candidate; False: every prior with its best
            class.

    Returns:
        Scores, indices into A and labels, (B, N) each.
    """
    if not multi_label:
        scores, labels = scores.max(dim=2)
        best, inds = best_of_each_level(scores, level_sizes, count)
        return best, inds, labels.gather(1, inds)
    num_classes = scores.shape[2]
    sizes = [size * num_classes for size in level_sizes]
    best, inds = best_of_each_level(scores.flatten(1), sizes, count)
    return best, inds // num_classes, inds % num_classes


def nms_mask(
    boxes: Tensor, scores: Tensor, sizes: Sequence[int], valid: Tensor | None, iou_thr: float
) -> Tensor:
    """Non-maximum suppression of a padded batch; boxes of different groups do not compete.

    The one place of the training step whose size depends on the data, and so its one host sync an
    image. It goes image by image as its cost is quadratic.

    Args:
        boxes: (B, N, 4).
        scores: (B, N).
        sizes: how many of the N belong to each group, one after the other.
        valid: (B, N) bool; the others are dropped and suppress nothing. None: all are.
        iou_thr: overlap above which the lower-scored box is dropped.

    Returns:
        (B, N) bool, the boxes that stay.
    """
    if valid is not None:
        boxes = boxes.masked_fill(~valid[..., None], 0)  # empty boxes overlap nothing
    if is_exporting():
        groups = torch.cat([boxes.new_full((size,), i).long() for i, size in enumerate(sizes)])
        keep = keep_best_of_groups(boxes, scores, groups, len(sizes), iou_thr)
        return keep if valid is None else keep & valid
    keep = torch.zeros_like(scores, dtype=torch.bool)
    kept = _kept_by_group if boxes.device.type == "cpu" else _kept_at_once
    for image_boxes, image_scores, image_keep in zip(boxes, scores, keep, strict=True):
        image_keep.index_fill_(0, kept(image_boxes, image_scores, sizes, iou_thr), True)
    return keep if valid is None else keep & valid


def _kept_by_group(boxes: Tensor, scores: Tensor, sizes: Sequence[int], iou_thr: float) -> Tensor:
    """Indices of an image's boxes that stay; a call a group, which is the least work."""
    kept, start = [], 0
    for group_boxes, group_scores in zip(boxes.split(sizes), scores.split(sizes), strict=True):
        kept.append(nms(group_boxes, group_scores, iou_thr) + start)
        start += len(group_boxes)
    return torch.cat(kept)


def _kept_at_once(boxes: Tensor, scores: Tensor, sizes: Sequence[int], iou_thr: float) -> Tensor:
    """The same with one call, as a GPU is waited for in each: groups lie apart in the plane.

    In float64, where no digit is lost by that.
    """
    boxes = boxes.double()
    apart = boxes.detach().abs().amax() * 2 + 1
    start, places = 0, []
    for group, size in enumerate(sizes):
        places.append(boxes[start : start + size] + group * apart)
        start += size
    return nms(torch.cat(places), scores.double(), iou_thr)


@torch.no_grad()
def multiclass_nms(
    boxes: Tensor,
    scores: Tensor,
    valid: Tensor,
    score_thr: float,
    nms: NMS | SoftNMS,
    max_per_img: int,
) -> Detections:
    """Every class of every box is a candidate; suppress duplicates; keep the best of all.

    Args:
        boxes: (B, P, K, 4), or (B, P, 1, 4) shared by the classes.
        scores: (B, P, K).
        valid: (B, P) bool.
        score_thr: candidates must score more than this.
        nms: how duplicates are suppressed.
        max_per_img: detections kept an image, D.

    Returns:
        Detections without masks.
    """
    candidates = (scores > score_thr) & valid[..., None]
    if is_exporting():
        return exported_multiclass_nms(boxes, scores.where(candidates, -1), nms, max_per_img)
    image, source, label = candidates.nonzero(as_tuple=True)
    found = boxes.expand(-1, -1, scores.shape[2], 4)[image, source, label]
    counts = candidates.sum(dim=(1, 2)).tolist()
    return _detections(counts, found, scores[image, source, label], label, nms, max_per_img)


@torch.no_grad()
def dense_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    valid: Tensor,
    nms: NMS | SoftNMS,
    max_per_img: int,
    num_classes: int | None = None,
) -> Detections:
    """Suppress duplicates among candidates that have one class each; keep the best of all.

    Args:
        boxes: (B, N, 4).
        scores: (B, N).
        labels: (B, N) int64.
        valid: (B, N) bool; the others are dropped.
        nms: how duplicates are suppressed.
        max_per_img: detections kept an image, D.
        num_classes: K, which only an export has to know.

    Returns:
        Detections without masks.
    """
    if is_exporting():
        scores = scores.where(valid, -1)
        return exported_dense_nms(boxes, scores, labels, num_classes, nms, max_per_img)
    counts = valid.sum(dim=1).tolist()
    return _detections(counts, boxes[valid], scores[valid], labels[valid], nms, max_per_img)


def _detections(
    counts: list[int],
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    nms: NMS | SoftNMS,
    max_per_img: int,
) -> Detections:
    """Candidates in the order of the images, ``counts`` of each, to padded detections.

    Image by image: one call for all would keep images apart by shifting them, which costs digits.
    """
    found = Detections(
        boxes=boxes.new_zeros(len(counts), max_per_img, 4),
        scores=scores.new_zeros(len(counts), max_per_img),
        labels=labels.new_zeros(len(counts), max_per_img),
        valid=torch.zeros(len(counts), max_per_img, dtype=torch.bool, device=boxes.device),
    )
    start = 0
    for i, count in enumerate(counts):
        part = slice(start, start + count)
        kept, kept_scores = nms.select(boxes[part], scores[part], labels[part], max_per_img)
        found.boxes[i, : len(kept)] = boxes[part][kept]
        found.scores[i, : len(kept)] = kept_scores
        found.labels[i, : len(kept)] = labels[part][kept]
        found.valid[i, : len(kept)] = True
        start += count
    return found
