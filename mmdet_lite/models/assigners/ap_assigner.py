"""The assignment of the AP-loss paper's implementation (cccorn/AP-loss).

Letters: B images, A priors, G padded ground truths.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdet_lite.models.assigners.max_iou_assigner import IGNORE, NEGATIVE, check_thresholds
from mmdet_lite.models.fitting import INCLUSIVE_OVERLAPS
from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import inclusive_iou
from mmdet_lite.structures.samples import GroundTruth


@MODELS.register_module()
class APAssigner:
    """Match each prior to the ground truth that it overlaps most; every ground truth gets a prior.

    This is the one place where boxes have inclusive pixels (their width is ``x2 - x1 + 1``) and
    overlaps are float64, as in the original: some of its ties are decided by that.

    A prior is positive if its largest overlap is at least ``pos_iou_thr``, or if no prior overlaps
    some ground truth more than it does, on a tie with others; in both cases it learns the ground
    truth that it overlaps most itself, the first of equals. For a ground truth that overlaps no
    prior at all these are all priors that do not overlap it.

    Args:
        pos_iou_thr: a prior is positive from this overlap on.
        neg_iou_thr: negative below this; in between it is ignored.
        max_overlap_elements: images are handled one by one above B * G * A elements, which bounds
            the memory; the result is the same.

    Raises:
        ValueError: a threshold is no overlap, or that of negatives is above that of positives.
    """

    works_on = INCLUSIVE_OVERLAPS

    def __init__(
        self,
        pos_iou_thr: float = 0.5,
        neg_iou_thr: float = 0.4,
        max_overlap_elements: int = 8_000_000,
    ):
        check_thresholds(self, pos_iou_thr, neg_iou_thr)
        self.pos_iou_thr = pos_iou_thr
        self.neg_iou_thr = neg_iou_thr
        self.max_overlap_elements = max_overlap_elements

    @torch.no_grad()
    def assign(
        self, priors: Priors | Tensor, gt: GroundTruth, valid: Tensor | None = None
    ) -> Tensor:
        """Match every prior to at most one ground-truth box.

        Args:
            priors: a dense head's; or (A, 4) boxes.
            gt: padded ground truth; rows with ``valid`` False never match.
            valid: (B, A) bool, priors that may be used; the others are IGNORE. All by default.

        Returns:
            (B, A) int64: index into G, or NEGATIVE, or IGNORE.
        """
        boxes = priors.boxes if isinstance(priors, Priors) else priors
        num_images, num_gts = gt.valid.shape
        if valid is None:
            shape = (num_images, len(boxes))
            valid = torch.ones(shape, dtype=torch.bool, device=boxes.device)
        if num_images * num_gts * len(boxes) <= self.max_overlap_elements:
            return self._assign(boxes, gt.boxes, gt.valid, valid)
        images = [slice(i, i + 1) for i in range(num_images)]
        assigned = [self._assign(boxes, gt.boxes[i], gt.valid[i], valid[i]) for i in images]
        return torch.cat(assigned)

    def _assign(self, boxes: Tensor, gt_boxes: Tensor, gt_valid: Tensor, valid: Tensor) -> Tensor:
        usable = gt_valid[:, :, None] & valid[:, None]
        overlaps = inclusive_iou(gt_boxes[:, :, None].double(), boxes.double())
        overlaps = overlaps.masked_fill(~usable, -1)  # (B, G, A)
        best_iou, best_gt = overlaps.max(dim=1)  # (B, A)
        most = overlaps.amax(dim=2, keepdim=True)  # (B, G, 1)
        is_forced = ((overlaps == most) & usable).any(dim=1)
        assigned = torch.where(best_iou < self.neg_iou_thr, NEGATIVE, IGNORE)
        is_pos = is_forced | (best_iou >= self.pos_iou_thr)
        assigned = torch.where(is_pos, best_gt, assigned)
        return torch.where(valid, assigned, IGNORE)
