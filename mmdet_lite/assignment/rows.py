"""What became of each prior or RoI of one image.

Letters: A priors over all levels or RoIs of the image, G padded ground truths, L levels, N that are
shown, S sampled, E entries of a level.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

from mmdet_lite.assignment.capture import Captured
from mmdet_lite.models.assigners.max_iou_assigner import IGNORE
from mmdet_lite.models.targets import BoxTargets, EntryTargets


class Status(IntEnum):
    """What became of a prior or RoI. Those that are plain background are counted, not listed."""

    POSITIVE = 0
    UNSAMPLED = 1  # matched to a ground truth, but the sampler left it out
    NEGATIVE = 2  # background that the sampler picked
    IGNORED = 3


_BACKGROUND = -1  # no status: not listed


@dataclass
class Rows:
    """Which priors or RoIs are shown, and what they have to learn.

    Attributes:
        inds: (N,) int64 index into the A.
        status: (N,) int64 of :class:`Status`.
        gt: (N,) int64 index of the ground truth, -1 where there is none.
        score: (N,) what a positive has to score; nan for others.
        weight: (N,) of a positive in the box loss; nan for others, and where it is not known.
    """

    inds: Tensor
    status: Tensor
    gt: Tensor
    score: Tensor
    weight: Tensor


def read_rows(captured: Captured, image: int, is_here: Tensor) -> Rows:
    """The rows of one image of the batch.

    Args:
        captured: of one place where targets are made.
        image: its row of the batch.
        is_here: (A,) bool, the others are padding.
    """
    targets = captured.decision.targets
    weights = _box_weights(captured, image)
    if isinstance(targets, EntryTargets):
        return _of_entries(captured, image, weights)
    assigned = captured.decision.assigned_gt[image]
    status = torch.full_like(assigned, _BACKGROUND)
    status[(assigned == IGNORE) & is_here] = Status.IGNORED
    is_pos = targets.is_pos[image]
    if isinstance(targets, BoxTargets):
        status[assigned >= 0] = Status.UNSAMPLED
        status[targets.inds[image][targets.valid[image] & ~is_pos]] = Status.NEGATIVE
        inds, scores = targets.inds[image][is_pos], 1.0
    else:
        inds, scores = is_pos.nonzero()[:, 0], targets.scores[image][is_pos]
    status[inds] = Status.POSITIVE
    score, weight = (torch.full(assigned.shape, torch.nan, device=assigned.device) for _ in "sw")
    score[inds] = scores
    if weights is not None:
        weight[inds] = weights[is_pos]
    shown = (status != _BACKGROUND).nonzero()[:, 0]
    gt = torch.where(assigned >= 0, assigned, -1)
    return Rows(shown, status[shown], gt[shown], score[shown], weight[shown])


def _box_weights(captured: Captured, image: int) -> Tensor | None:
    """Of one image, in the shape of its targets; None where the loss got none for each row."""
    targets, weights = captured.decision.targets, captured.box_weights
    rows = targets.valid if isinstance(targets, EntryTargets) else targets.is_pos
    if weights is None or weights.numel() != rows.numel():
        return None
    return weights.reshape(rows.shape)[image].float()


def _of_entries(captured: Captured, image: int, weights: Tensor | None) -> Rows:
    """A prior that learns several ground truths has a row for each of them."""
    targets = captured.decision.targets
    valid = targets.valid[image]  # (L, E)
    inds = targets.inds[image][valid]
    num_gts = captured.num_gts
    gt = (torch.arange(valid.shape[1], device=valid.device) % num_gts).expand_as(valid)[valid]
    nothing = torch.full(inds.shape, torch.nan, device=inds.device)
    return Rows(
        inds=inds,
        status=torch.full_like(inds, Status.POSITIVE),
        gt=gt,
        score=captured.objectness(image)[inds] if captured.objectness_levels else nothing,
        weight=nothing if weights is None else weights[valid],
    )
