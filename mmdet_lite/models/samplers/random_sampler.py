"""Sampling of positives and negatives. Letters: B images, A priors, S sampled."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmdet_lite.models.assigners.max_iou_assigner import NEGATIVE
from mmdet_lite.ranges import check_positive, check_shares
from mmdet_lite.registry import MODELS

_CLASS_STEP = 1 << 61  # above every key: what lies between the ranks of positives and negatives
_LAST = -(1 << 63)


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

    Raises:
        ValueError: a number is out of its range.
    """

    by_loss = False  # prefer hard RoIs to random ones

    def __init__(
        self,
        num: int,
        pos_fraction: float,
        neg_pos_ub: float = -1,
        add_gt_as_proposals: bool = False,
    ):
        check_positive(self, num=num)
        check_shares(self, pos_fraction=pos_fraction)
        self.num = num
        self.max_pos = int(num * pos_fraction)
        self.neg_pos_ub = neg_pos_ub
        self.add_gt_as_proposals = add_gt_as_proposals

    @torch.no_grad()
    def sample(self, assigned_gt: Tensor, keys: Tensor) -> Sampled:
        """Choose priors.

        Args:
            assigned_gt: (B, A) from an assigner.
            keys: (B, A) random integers in [0, 2**61), or losses >= 0; the largest win.

        Returns:
            The choice, S = min(num, A).
        """
        size = min(self.num, assigned_gt.shape[1])
        if keys.is_floating_point():  # the bits of numbers without a sign are in the same order
            keys = keys.float().abs().view(torch.int32).long()
        # Positives rank in [0, step), negatives in [-step, 0), what is ignored below.
        rank = torch.add(keys, assigned_gt.clamp(max=0), alpha=_CLASS_STEP)
        first, first_inds = rank.topk(min(self.max_pos, size), dim=1)
        # Then negatives alone, without those that are taken already for want of positives.
        rank = rank.masked_fill_(rank >= 0, _LAST).scatter_(1, first_inds, _LAST)
        others, other_inds = rank.topk(size - first.shape[1], dim=1)

        rank = torch.cat([first, others], dim=1)
        is_pos, valid = rank >= 0, rank >= NEGATIVE * _CLASS_STEP
        if self.neg_pos_ub >= 0:
            num_pos = is_pos.sum(dim=1, keepdim=True)
            num_neg = (num_pos.clamp(min=1) * self.neg_pos_ub).long()
            valid &= torch.arange(size, device=rank.device) < num_pos + num_neg
        return Sampled(torch.cat([first_inds, other_inds], dim=1) * valid, is_pos, valid)


@MODELS.register_module()
class OHEMSampler(RandomSampler):
    """Pick the RoIs with the highest classification loss (Shrivastava et al. 2016, OHEM).

    Args:
        num, pos_fraction, neg_pos_ub, add_gt_as_proposals: see :class:`RandomSampler`.
    """

    by_loss = True
