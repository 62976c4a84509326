"""Training and running a mask head on the RoIs or detections of a box branch.

Letters: B images, R sampled RoIs an image, M mask RoIs an image, D detections, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmdet_lite.models.exporting import is_exporting
from mmdet_lite.models.targets import BoxTargets, mask_target
from mmdet_lite.structures.samples import Batch, Detections


def mask_feats(
    pool: Callable[[Tensor], Tensor] | None, pooled: Tensor, targets: BoxTargets, most: int
) -> Tensor:
    """Features of the first M samples of each image: (B * M, C, h, h).

    Args:
        pool: (B, M, 4) boxes to features; None: those of the box branch are used again.
        pooled: (B * R, C, h, h) features of the box branch.
        targets: B x R.
        most: M.
    """
    if pool is not None:
        return pool(targets.priors[:, :most])
    return pooled.unflatten(0, targets.is_pos.shape)[:, :most].flatten(0, 1)


def num_mask_rois(targets: BoxTargets, max_pos: int, padded: bool) -> int:
    """M: how many of an image's samples, positives first, go through the mask branch.

    Args:
        targets: B x R.
        max_pos: the sampler's largest number of positives.
        padded: a fixed number, instead of the fullest image's positives; that asks the device.
    """
    most = min(max_pos, targets.is_pos.shape[1])
    if padded:
        return most
    # At least one, so that every parameter takes part in every step.
    return max(int(targets.is_pos.sum(dim=1).max()), 1)


def mask_loss(head: nn.Module, feats: Tensor, targets: BoxTargets, batch: Batch) -> dict:
    """Loss of a mask head on the positives, which come first among an image's samples.

    Args:
        head: the mask head.
        feats: (B * M, C, h, h) pooled features of the first M samples of each image.
        targets: B x R.
        batch: with ground-truth masks.

    Returns:
        ``loss_mask``, a scalar.
    """
    most = len(feats) // len(targets.is_pos)
    valid = targets.is_pos[:, :most]
    target_masks = mask_target(
        targets.priors[:, :most],
        targets.assigned_gt[:, :most],
        valid,
        batch.gt,
        head.mask_size,
        head.target_rule,
    )
    labels = targets.labels[:, :most].flatten()
    return head.loss(head(feats), target_masks.flatten(0, 1), labels, valid.flatten())


@torch.no_grad()
def add_masks(
    detections: Detections, heads: Sequence[nn.Module], pool: Callable[[Tensor], Tensor]
) -> Detections:
    """Detections with the probabilities of their masks, averaged over the heads.

    Args:
        detections: B x D.
        heads: one, or those of a cascade's stages.
        pool: (B, D, 4) boxes to (B * D, C, h, h) features.
    """
    if not is_exporting():  # which keeps shapes that do not depend on the data
        detections = _without_empty_columns(detections)
    feats, labels = pool(detections.boxes), detections.labels.flatten()
    masks = sum(head.predict(head(feats), labels) for head in heads) / len(heads)
    detections.masks = masks.reshape(*detections.valid.shape, *masks.shape[1:])
    detections.mask_thr = heads[-1].mask_thr
    detections.paste_rule = heads[-1].paste_rule
    return detections


def _without_empty_columns(detections: Detections) -> Detections:
    """Valid detections come first: no more columns than the fullest image has."""
    most = max(int(detections.valid.sum(dim=1).max()), 1)
    return replace(
        detections,
        boxes=detections.boxes[:, :most],
        scores=detections.scores[:, :most],
        labels=detections.labels[:, :most],
        valid=detections.valid[:, :most],
    )
