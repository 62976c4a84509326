"""Sampling of positives and negatives. Letters: B images, A priors, S sampled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmdet_lite.models.assigners.max_iou_assigner import NEGATIVE
from mmdet_lite.registry import MODELS


@dataclass
class Sampled:
    """A fixed number of picked priors an image: first positives, then negatives, then padding.

    Attributes:
        inds: (B, S) int64 index into the priors; 0 in padding.
        is_pos: (B, S) bool.
        valid: (B, S) bool; False in padding.
    """

    inds: Tensor
    is_pos: Tensor
    valid: Tensor

    @property
    def num_pos(self) -> Tensor:
        """(B,) positives of each image."""
        return self.is_pos.sum(dim=1)

    @property
    def num_neg(self) -> Tensor:
        """(B,) negatives of each image."""
        return (self.valid & ~self.is_pos).sum(dim=1)


@MODELS.register_module()
class RandomSampler:
    """Pick ``num`` priors an image, at most a share of them positive (Fast R-CNN, sec. 2.3).

    Negatives fill the places that positives leave. The choice orders the priors by random keys and
    takes the first, so shapes are fixed and nothing waits for the device.

    Args:
        num: priors an image.
        pos_fraction: largest share of positives.
        neg_pos_ub: largest number of negatives as a multiple of the positives (of 1 where there are
            none); negative: no bound.
        add_gt_as_proposals: in the RoI head, ground truths join the proposals.
    """

    by_loss = False  # prefer hard RoIs to random ones

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = False,
    ):
        self.num = num
        self.max_pos = int(num * pos_fraction)
        self.neg_pos_ub = neg_pos_ub
        self.add_gt_as_proposals = add_gt_as_proposals

    @torch.no_grad()
    def sample(self, assigned_gt: Tensor, keys: Tensor) -> Sampled:
        """Choose priors.

        Args:
            assigned_gt: (B, A) from an assigner.
            keys: (B, A) >= 0 random integers, or losses; the largest win.

        Returns:
            The choice, S = min(num, A).
        """
        size = min(self.num, assigned_gt.shape[1])
        pos_inds, num_pos = _pick(assigned_gt >= 0, keys, min(self.max_pos, size))
        neg_inds, num_neg = _pick(assigned_gt == NEGATIVE, keys, size)
        if self.neg_pos_ub >= 0:
            num_neg = torch.minimum(num_neg, (num_pos.clamp(min=1) * self.neg_pos_ub).long())

        place = torch.arange(size, device=keys.device).expand(len(keys), size)
        is_pos = place < num_pos
        valid = place < num_pos + num_neg
        neg_place = (place - num_pos).clamp(min=0)
        inds = neg_inds.gather(1, neg_place)
        if pos_inds.shape[1]:
            inds = torch.where(
                is_pos, pos_inds.gather(1, place.clamp(max=pos_inds.shape[1] - 1)), inds
            )
        return Sampled(inds.masked_fill(~valid, 0), is_pos, valid)


@MODELS.register_module()
class OHEMSampler(RandomSampler):
    """Pick the RoIs with the highest classification loss (Shrivastava et al. 2016, OHEM).

    Args:
        num, pos_fraction, neg_pos_ub, add_gt_as_proposals: see :class:`RandomSampler`.
    """

    by_loss = True


def _pick(candidates: Tensor, keys: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """Indices (B, limit) of the candidates with the largest keys, and how many (B, 1) there are."""
    inds = keys.masked_fill(~candidates, -1).topk(limit, dim=1).indices
    return inds, candidates.sum(dim=1, keepdim=True).clamp(max=limit)
