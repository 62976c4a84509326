"""NanoDet-Plus's assignment, a relative of SimOTA (Ge et al. 2021, "YOLOX", sec. 2.1).

Letters: B images, A priors, G ground truths, K classes, N positives that a ground truth may have.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmdet_lite.models.assigners.dynamic_assigner import DynamicAssigner
from mmdet_lite.models.assigners.max_iou_assigner import IGNORE, NEGATIVE
from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.ranges import check_positive
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import pairwise_iou, side_distances
from mmdet_lite.structures.samples import GroundTruth


@MODELS.register_module()
class DynamicSoftLabelAssigner(DynamicAssigner):
    """Each ground truth takes the priors that predict it at the lowest cost, as many as fit it.

    Priors inside any ground truth compete for all of them; so one may be matched to a box that it
    is not in, and a box without a prior inside gets one all the same, unless no prior is inside any
    box. The cost is a quality focal loss with the IoU as the score, plus ``iou_factor * -ln(IoU)``.

    Args:
        topk: a ground truth takes as many priors as the sum of its this many largest IoUs, rounded
            down, but at least one.
        iou_factor: weight of the IoU's part of the cost.

    Raises:
        ValueError: an argument is not above 0.
    """

    def __init__(self, topk: int = 13, iou_factor: float = 3.0):
        check_positive(self, topk=topk, iou_factor=iou_factor)
        self.topk = topk
        self.iou_factor = iou_factor

    @torch.no_grad()
    def assign(
        self, priors: Priors, gt: GroundTruth, valid: Tensor | None, logits: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See :class:`DynamicAssigner`; a positive has to score the IoU of its predicted box."""
        cost, iou = self.cost(priors, gt, valid, logits, boxes)
        assigned = _resolve(cost, self.take(cost, iou))
        scores = iou.gather(1, assigned.clamp(min=0)[:, None])[:, 0]
        scores = torch.where(assigned >= 0, scores, 0.0)
        if valid is not None:
            assigned = torch.where(valid, assigned, IGNORE)
        return assigned, scores

    def cost(
        self, priors: Priors, gt: GroundTruth, valid: Tensor | None, logits: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """What each pair costs; arguments as in :meth:`assign`.

        Returns:
            Costs (B, G, A), infinite where the pair is impossible; IoUs (B, G, A), 0 there.
        """
        possible = _possible_pairs(priors, gt, valid)
        iou = torch.where(possible, pairwise_iou(gt.boxes, boxes.float()), 0.0)
        cost = _class_cost(logits.float(), gt.labels, iou)
        cost = cost - self.iou_factor * (iou + 1e-7).log()
        return torch.where(possible, cost, math.inf), iou

    def take(self, cost: Tensor, iou: Tensor) -> Tensor:
        """The cheapest priors of each box, as many as its IoUs say.

        Args:
            cost, iou: (B, G, A), of :meth:`cost`.

        Returns:
            (B, G, A) bool; a prior may be taken by several boxes.
        """
        count = min(self.topk, cost.shape[2])
        wanted = iou.topk(count, dim=2).values.sum(dim=2, keepdim=True).floor().clamp(min=1)
        cheapest, inds = cost.topk(count, dim=2, largest=False)  # (B, G, N), sorted
        rank = torch.arange(count, device=cost.device)
        chosen = (rank < wanted) & (cheapest < math.inf)
        return torch.zeros_like(cost, dtype=torch.bool).scatter(2, inds, chosen)


def _possible_pairs(priors: Priors, gt: GroundTruth, valid: Tensor | None) -> Tensor:
    """(B, G, A) bool: real boxes, and priors strictly inside at least one of them."""
    distances = side_distances(priors.centers[None, None], gt.boxes[:, :, None])
    inside = (distances.amin(dim=-1) > 0) & gt.valid[..., None]
    inside_any = inside.any(dim=1)
    if valid is not None:
        inside_any = inside_any & valid
    return inside_any[:, None] & gt.valid[..., None]


def _class_cost(logits: Tensor, labels: Tensor, iou: Tensor) -> Tensor:
    """Quality focal loss over all classes if the box's class has to score the IoU: (B, G, A).

    Other classes than the box's cost the same for all boxes, which spares a (B, G, A, K) tensor.
    """
    as_negative = F.softplus(logits) * logits.sigmoid().square()  # (B, A, K)
    own = labels[..., None].expand(-1, -1, logits.shape[1])  # (B, G, A)
    others = as_negative.sum(dim=2)[:, None] - as_negative.transpose(1, 2).gather(1, own)
    logit = logits.transpose(1, 2).gather(1, own)
    entropy = F.binary_cross_entropy_with_logits(logit, iou, reduction="none")
    return others + entropy * (iou - logit.sigmoid()).square()


def _resolve(cost: Tensor, taken: Tensor) -> Tensor:
    """(B, A) int64: the one box of each prior, or NEGATIVE.

    A prior that several boxes took goes to the box of lowest cost, the first one on a tie, be
    it one of those that took it or not.
    """
    index = torch.arange(cost.shape[1], device=cost.device)[:, None]  # (G, 1)
    last = cost.shape[1] - 1
    cheapest = torch.where(cost == cost.amin(dim=1, keepdim=True), index, last).amin(dim=1)
    only = torch.where(taken, index, 0).sum(dim=1)
    times = taken.sum(dim=1)
    return torch.where(times == 0, NEGATIVE, torch.where(times == 1, only, cheapest))
