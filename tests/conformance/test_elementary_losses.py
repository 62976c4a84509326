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
    DistributionFocalLoss,
    FocalLoss,
    GIoULoss,
    IoULoss,
    L1Loss,
    QualityFocalLoss,
    SmoothL1Loss,
)
from mmdet_lite.structures import boxes as box_ops
from mmdet_lite.structures.boxes import xyxy_from_cxcywh

BOXES = Arrays("overlaps", "one_stage/shared")
ELEMENTARY = Arrays("elementary", "one_stage/shared")
BOX_LOSSES = {
    "mm_loss_iou_log": IoULoss("log"),
    "mm_loss_iou_linear": IoULoss("linear"),
    "mm_loss_iou_square": IoULoss("square"),
    "mm_loss_giou": GIoULoss(),
    "mm_loss_diou": DIoULoss(),
    "mm_loss_ciou": CIoULoss(),
    "tv_loss_giou": GIoULoss(),
    "tv_loss_diou": DIoULoss(),
    "tv_loss_ciou": CIoULoss(min_iou=0.0),
}
YOLO_OVERLAPS = ["xyxy_iou", "xyxy_giou", "xyxy_diou", "xyxy_ciou", "cxcywh_iou", "cxcywh_ciou"]
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


@pytest.mark.parametrize("name", YOLO_OVERLAPS)
def test_overlaps_of_yolo_equal_the_reference(name):
    form, kind = name.split("_")
    pred = BOXES["pred" if form == "xyxy" else "pred_cxcywh"].clone().requires_grad_()
    target = BOXES["target" if form == "xyxy" else "target_cxcywh"]
    convert = (lambda boxes: boxes) if form == "xyxy" else xyxy_from_cxcywh
    values = getattr(box_ops, f"aligned_{kind}")(convert(pred), convert(target))
    expected = BOXES[f"ultra_{name}__value_f64"]
    finite = expected.isfinite()  # of the reference's; a box without height has no aspect ratio
    close(values.detach()[finite], expected[finite], rtol=1e-4, atol=1e-5)
    values[finite].sum().backward()
    smooth = BOXES["gradient_is_unique"] & finite
    expected = BOXES[f"ultra_{name}__grad_pred_f64"][smooth]
    close(pred.grad[smooth], expected, rtol=1e-3, atol=1e-5)


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


def test_quality_focal_loss_and_gradient_equal_the_reference():
    logits, labels = ELEMENTARY["focal_logits"], ELEMENTARY["qfl_mm_label"]
    scores = torch.zeros(30, 7).scatter_(1, labels[:, None], ELEMENTARY["qfl_mm_score"][:, None])
    values, gradient = _value_and_gradient(QualityFocalLoss(), logits, scores[:, :6])
    close(values, ELEMENTARY["qfl_mm_value"])
    close(gradient, ELEMENTARY["qfl_mm_grad"])


def test_distribution_focal_loss_and_gradient_equal_the_reference():
    pred = ELEMENTARY["dfl_mm_pred"].repeat(1, 4)  # the four sides alike
    target = ELEMENTARY["dfl_mm_target"][:, None].expand(-1, 4)
    values, gradient = _value_and_gradient(DistributionFocalLoss(), pred, target)
    close(values, ELEMENTARY["dfl_mm_value"])
    close(gradient.unflatten(1, (4, -1)).sum(dim=1), ELEMENTARY["dfl_mm_grad"])
