"""Assignment by overlap. Letters: B images, A priors, G padded ground truths, I ignore boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import pairwise_iof, pairwise_iou
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
        max_overlap_elements: images are handled one by one above B * G * A elements, which bounds
            the memory; the result is the same.

    Raises:
        ValueError: ``pos_iou_thr`` is no overlap.
    """

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
        if not 0 <= pos_iou_thr <= 1:
            raise ValueError(
                f"MaxIoUAssigner: pos_iou_thr is an overlap, between 0 and 1; got {pos_iou_thr}"
            )
        self.pos_iou_thr = pos_iou_thr
        is_range = isinstance(neg_iou_thr, (tuple, list))
        self.neg_iou_range = tuple(neg_iou_thr) if is_range else (0.0, neg_iou_thr)
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
        num_images, num_gts = gt.valid.shape
        priors = priors.float().expand(num_images, -1, 4)
        if valid is None:
            valid = torch.ones(priors.shape[:2], dtype=torch.bool, device=priors.device)
        if num_images * num_gts * priors.shape[1] <= self.max_overlap_elements:
            return self._assign(priors, gt, valid)
        images = [slice(i, i + 1) for i in range(num_images)]
        return torch.cat([self._assign(priors[i], _one_image(gt, i), valid[i]) for i in images])

    def _assign(self, priors: Tensor, gt: GroundTruth, valid: Tensor) -> Tensor:
        if priors.shape[1] == 0:
            return torch.full(priors.shape[:2], IGNORE, device=priors.device)
        overlaps = pairwise_iou(gt.boxes, priors)  # (B, G, A); the gt first: see pairwise_iou
        usable = valid & ~self._ignored(priors, gt)
        overlaps = overlaps.masked_fill(~(gt.valid[:, :, None] & usable[:, None, :]), -1)

        best_iou, best_gt = overlaps.max(dim=1)  # (B, A); the first gt on a tie
        low, high = self.neg_iou_range
        assigned = torch.where((best_iou >= low) & (best_iou < high), NEGATIVE, IGNORE)
        assigned = torch.where(best_iou >= self.pos_iou_thr, best_gt, assigned)
        if self.match_low_quality:
            assigned = self._add_low_quality(assigned, overlaps, gt.valid)
        # An image without objects is all background, also inside its ignore boxes.
        assigned = torch.where(gt.valid.any(dim=1, keepdim=True), assigned, NEGATIVE)
        return assigned.masked_fill(~valid, IGNORE)

    def _add_low_quality(self, assigned: Tensor, overlaps: Tensor, gt_valid: Tensor) -> Tensor:
        best_iou, best_prior = overlaps.max(dim=2)  # (B, G)
        if self.gt_max_assign_all:
            is_best = overlaps == best_iou[:, :, None]  # bitwise: the very same numbers
        else:
            positions = torch.arange(overlaps.shape[2], device=overlaps.device)
            is_best = positions == best_prior[:, :, None]
        is_best = is_best & (gt_valid & (best_iou >= self.min_pos_iou))[:, :, None]
        order = torch.arange(overlaps.shape[1], device=overlaps.device)
        last_gt = torch.where(is_best, order[:, None], -1).amax(dim=1)  # the last gt wins
        return torch.where(last_gt >= 0, last_gt, assigned)

    def _ignored(self, priors: Tensor, gt: GroundTruth) -> Tensor:
        if self.ignore_iof_thr < 0:
            return torch.zeros(priors.shape[:2], dtype=torch.bool, device=priors.device)
        if self.ignore_wrt_candidates:
            share = pairwise_iof(priors, gt.ignore_boxes).transpose(1, 2)  # (B, I, A)
        else:
            share = pairwise_iof(gt.ignore_boxes, priors)
        share = share.masked_fill(~gt.ignore_valid[:, :, None], -1)
        return share.amax(dim=1) > self.ignore_iof_thr


def _one_image(gt: GroundTruth, i: slice) -> GroundTruth:
    return GroundTruth(
        gt.boxes[i], gt.labels[i], gt.valid[i], gt.ignore_boxes[i], gt.ignore_valid[i]
    )
