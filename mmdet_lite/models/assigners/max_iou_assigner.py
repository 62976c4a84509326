"""Assignment by overlap. Letters: B images, A priors, G padded ground truths, I ignore boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdet_lite.models.assigners.overlaps import Pairs, best_overlaps, joined
from mmdet_lite.models.fitting import OVERLAPS
from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.ranges import check_shares
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import pairwise_iof
from mmdet_lite.structures.samples import GroundTruth

NEGATIVE = -1
IGNORE = -2


@MODELS.register_module()
class MaxIoUAssigner:
    """Match each prior to the ground truth that it overlaps most (Ren et al. 2015, sec. 3.1.2).

    Args:
        pos_iou_thr: a prior is positive from this IoU on.
        neg_iou_thr: negative below this IoU, or inside [low, high) if two values are given.
        min_pos_iou: a ground truth whose best prior overlaps it at least this much gets that prior
            even where ``pos_iou_thr`` is not reached ("low-quality match").
        match_low_quality: make low-quality matches at all. As in MMDetection they overwrite a
            prior's better match, and later ground truths overwrite earlier ones.
        gt_max_assign_all: on a tie all best priors are matched; False: the first one.
        ignore_iof_thr: a prior of which more than this share lies in an ignore box is ignored;
            negative switches that off.
        ignore_wrt_candidates: the share is of the prior's area; False: of the ignore box's.
        max_overlap_elements: priors are handled part by part where B * G * A is more than this,
            which bounds the memory; the result is the same.

    Raises:
        ValueError: a threshold is no overlap, or that of negatives is above that of positives.
    """

    works_on = OVERLAPS

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | tuple[float, float],
        min_pos_iou: float = 0.0,
        match_low_quality: bool = True,
        gt_max_assign_all: bool = True,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
        max_overlap_elements: int = 16_000_000,
    ):
        is_range = isinstance(neg_iou_thr, (tuple, list))
        self.neg_iou_range = tuple(neg_iou_thr) if is_range else (0.0, neg_iou_thr)
        check_thresholds(self, pos_iou_thr, self.neg_iou_range[1])
        check_shares(self, min_pos_iou=min_pos_iou)
        self.pos_iou_thr = pos_iou_thr
        self.min_pos_iou = min_pos_iou
        self.match_low_quality = match_low_quality
        self.gt_max_assign_all = gt_max_assign_all
        self.ignore_iof_thr = ignore_iof_thr
        self.ignore_wrt_candidates = ignore_wrt_candidates
        self.max_overlap_elements = max_overlap_elements

    @torch.no_grad()
    def assign(
        self, priors: Priors | Tensor, gt: GroundTruth, valid: Tensor | None = None
    ) -> Tensor:
        """Match every prior to at most one ground-truth box.

        Args:
            priors: a dense head's; or (A, 4) or (B, A, 4) boxes, xyxy, input pixels.
            gt: padded ground truth; rows with ``valid`` False never match.
            valid: (B, A) bool, priors that may be used; the others are IGNORE. All by default.

        Returns:
            (B, A) int64: index into G, or NEGATIVE, or IGNORE.

        Raises:
            ValueError: a box array does not end in 4.
        """
        if isinstance(priors, Priors):
            priors = priors.boxes
        if priors.shape[-1] != 4 or gt.boxes.shape[-1] != 4:
            raise ValueError(
                f"boxes must end in 4 coordinates, got priors {tuple(priors.shape)} and "
                f"ground truth {tuple(gt.boxes.shape)}"
            )
        num_images = len(gt.valid)
        priors = priors.float() if priors.dim() == 3 else priors.float()[None]
        if priors.shape[1] == 0:
            return torch.full((num_images, 0), IGNORE, device=priors.device)
        if valid is None:
            valid = torch.ones_like(priors[..., 0], dtype=torch.bool).expand(num_images, -1)
        return self._assign(priors, gt, ~valid)

    def _assign(self, priors: Tensor, gt: GroundTruth, invalid: Tensor) -> Tensor:
        absent, ignored = ~gt.valid, None
        if self.ignore_iof_thr >= 0:
            ignored = self._ignored(priors, gt)
        best = best_overlaps(
            Pairs(gt.boxes.float(), priors, absent, _either(invalid, ignored)),
            self.min_pos_iou if self.match_low_quality else None,
            not self.gt_max_assign_all,
            self.max_overlap_elements,
        )
        low, high = self.neg_iou_range
        assigned = best.gt.masked_fill_(best.iou < self.pos_iou_thr, IGNORE)
        assigned.masked_fill_(best.iou < min(high, self.pos_iou_thr), NEGATIVE)
        if low > 0:
            assigned.masked_fill_(best.iou < min(low, self.pos_iou_thr), IGNORE)
        if self.match_low_quality:
            assigned = torch.where(best.is_best, best.best_for, assigned)
        if ignored is not None:
            assigned.masked_fill_(ignored, IGNORE)
        # An image without objects is all background, also inside its ignore boxes.
        assigned.masked_fill_(absent.all(dim=1, keepdim=True), NEGATIVE)
        return assigned.masked_fill_(invalid, IGNORE)

    def _ignored(self, priors: Tensor, gt: GroundTruth) -> Tensor:
        size = max(self.max_overlap_elements // gt.ignore_valid.numel(), 1)
        return joined([self._is_ignored(part, gt) for part in priors.split(size, dim=1)])

    def _is_ignored(self, priors: Tensor, gt: GroundTruth) -> Tensor:
        """(1 or B, A, 4) to (B, A) bool."""
        if self.ignore_wrt_candidates:
            share = pairwise_iof(priors, gt.ignore_boxes).transpose(1, 2)  # (B, I, A)
        else:
            share = pairwise_iof(gt.ignore_boxes, priors)
        share = share.masked_fill(~gt.ignore_valid[:, :, None], -1)
        return share.amax(dim=1) > self.ignore_iof_thr


def _either(mask: Tensor, other: Tensor | None) -> Tensor:
    return mask if other is None else mask | other


def check_thresholds(owner: object, pos_iou_thr: float, neg_iou_thr: float) -> None:
    """Overlaps that begin positives and end negatives.

    Raises:
        ValueError: one is not between 0 and 1, or a prior would be both.
    """
    check_shares(owner, pos_iou_thr=pos_iou_thr, neg_iou_thr=neg_iou_thr)
    if neg_iou_thr > pos_iou_thr:
        raise ValueError(
            f"{type(owner).__name__}: neg_iou_thr must not be above pos_iou_thr, which is "
            f"{pos_iou_thr!r}, got {neg_iou_thr!r}"
        )
