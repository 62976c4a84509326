"""Overlaps and losses of single boxes, deltas and logits, with their gradients."""

from __future__ import annotations

import pytest
import torch
from reference import Arrays, close
from torch import Tensor, nn

from mmdet_lite.models.losses import (
    BalancedL1Loss,
    CIoULoss,
    DIoULoss,
    FocalLoss,
    GIoULoss,
    IoULoss,
    L1Loss,
    SmoothL1Loss,
)
from mmdet_lite.structures import boxes as box_ops

BOXES = Arrays("overlaps", "one_stage/shared")
ELEMENTARY = Arrays("elementary", "one_stage/shared")
BOX_LOSSES = {
    "mm_loss_iou_log": IoULoss("log"),
    "mm_loss_iou_linear": IoULoss("linear"),
    "mm_loss_iou_square": IoULoss("square"),
    "mm_loss_giou": GIoULoss(),
    "mm_loss_diou": DIoULoss(),
    "mm_loss_ciou": CIoULoss(),
}
DELTA_LOSSES = {
    "l1": L1Loss(),
    "smooth_l1_beta1.0000": SmoothL1Loss(1.0),
    "smooth_l1_beta0.1111": SmoothL1Loss(1 / 9),
    "smooth_l1_beta0.5000": SmoothL1Loss(0.5),
    "balanced_l1_beta1_a0.5_g1.5": BalancedL1Loss(),
    "balanced_l1_beta0.5_a0.7_g2.0": BalancedL1Loss(alpha=0.7, gamma=2.0, beta=0.5),
}
FOCAL = {"a0.25_g2.0": FocalLoss(2.0, 0.25), "a0.5_g1.5": FocalLoss(1.5, 0.5)}


def _value_and_gradient(loss: nn.Module, pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Of each row on its own."""
    pred = pred.clone().requires_grad_()
    one = torch.ones(1)
    values = [loss(pred[i : i + 1], target[i : i + 1], one, 1.0) for i in range(len(pred))]
    values = torch.stack(values)
    values.sum().backward()
    return values.detach(), pred.grad


@pytest.mark.parametrize("kind", ["iou", "iof", "giou"])
def test_overlaps_equal_the_reference(kind):
    pred, target = BOXES["pred"], BOXES["target"]
    aligned = getattr(box_ops, f"aligned_{kind}")(pred, target)
    close(aligned, BOXES[f"mm_{kind}__value_f32"])
    pairs = getattr(box_ops, f"pairwise_{kind}")(pred[:10], target)
    close(pairs, BOXES[f"mm_pairwise_{kind}"])


@pytest.mark.parametrize("name", BOX_LOSSES)
def test_box_losses_and_gradients_equal_the_reference(name):
    values, gradient = _value_and_gradient(BOX_LOSSES[name], BOXES["pred"], BOXES["target"])
    # The float64 values: in float32 the reference's CIoU of equal boxes is not a number.
    close(values, BOXES[f"{name}__value_f64"], rtol=1e-4, atol=1e-5)
    smooth = BOXES["gradient_is_unique"]
    close(gradient[smooth], BOXES[f"{name}__grad_pred_f64"][smooth], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", DELTA_LOSSES)
def test_losses_of_deltas_and_gradients_equal_the_reference(name):
    loss, pred, target = DELTA_LOSSES[name], ELEMENTARY["reg_pred"], ELEMENTARY["reg_target"]
    values, gradient = _value_and_gradient(loss, pred, target)
    close(values, ELEMENTARY[f"{name}__value"].sum(dim=1))
    close(gradient, ELEMENTARY[f"{name}__grad"])
    weight = ELEMENTARY["reg_weight"].reshape(-1)
    flat = [torch.stack([each.reshape(-1)] + [torch.zeros(160)] * 3, 1) for each in (pred, target)]
    close(loss(*flat, weight, 7.0), ELEMENTARY[f"{name}__weighted_avg7"])


@pytest.mark.parametrize("name", FOCAL)
@pytest.mark.parametrize("source", ["tv", "mm"])
def test_focal_loss_and_gradient_equal_the_reference(name, source):
    # Each element on its own, as a problem of one class with label 1 for the background.
    logits = ELEMENTARY["focal_logits"].reshape(-1, 1)
    labels = 1 - ELEMENTARY["focal_onehot"].reshape(-1).long()
    values, gradient = _value_and_gradient(FOCAL[name], logits, labels)
    close(values, ELEMENTARY[f"focal_{source}_{name}__value"].reshape(-1))
    close(gradient, ELEMENTARY[f"focal_{source}_{name}__grad"].reshape(-1, 1))
