"""L1 and smooth L1: sums over the four coordinates."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmdet_lite.models.losses import L1Loss, SmoothL1Loss

PRED = torch.tensor([[0.0, 1, 2, 3], [1, 1, 1, 1]])
TARGET = torch.tensor([[0.0, 0, 0, 0], [1, 1.5, 1, 3]])


def test_l1_sums_coordinates_and_weights_rows():
    assert L1Loss()(PRED, TARGET, torch.ones(2), 1) == 6 + 2.5
    assert L1Loss(loss_weight=2)(PRED, TARGET, torch.tensor([0.5, 0]), 3) == 2 * 3 / 3


def test_smooth_l1_is_quadratic_below_beta():
    # row 1: 0, .5, 1.5, 2.5; row 2: 0, .125, 0, 1.5
    assert SmoothL1Loss(beta=1)(PRED, TARGET, torch.ones(2), 1) == 4.5 + 1.625
    # row 1: 0, .25, 1, 2; row 2: 0, .0625, 0, 1
    assert SmoothL1Loss(beta=2)(PRED, TARGET, torch.ones(2), 1) == 3.25 + 1.0625


@pytest.mark.parametrize("beta", [1 / 9, 1.0])
def test_smooth_l1_equals_torch(beta):
    pred = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    expected = F.smooth_l1_loss(pred, torch.zeros(9, 4), beta=beta, reduction="sum") / 9
    ours = SmoothL1Loss(beta)(pred, torch.zeros(9, 4), torch.ones(9), 9)
    torch.testing.assert_close(ours, expected)


def test_gradient_alone_can_be_scaled():
    pred = PRED.clone().requires_grad_()
    loss = SmoothL1Loss(loss_weight=2, grad_scale=0.25)(pred, TARGET, torch.ones(2), 1)
    loss.backward()
    assert loss == 2 * (4.5 + 1.625)
    assert pred.grad.tolist() == [[0, 0.5, 0.5, 0.5], [0, -0.25, 0, -0.5]]


@pytest.mark.parametrize("loss", [L1Loss(), SmoothL1Loss()])
def test_rows_without_weight_do_not_count_even_if_not_finite(loss):
    pred = torch.tensor([[1.0, 0, 0, 0], [float("inf"), float("nan"), 0, 0]], requires_grad=True)
    value = loss(pred, torch.zeros(2, 4), torch.tensor([1.0, 0]), 1)
    value.backward()
    assert bool(torch.isfinite(value))
    assert pred.grad[1].nan_to_num(nan=0).abs().sum() == 0


@pytest.mark.parametrize("loss", [L1Loss(), SmoothL1Loss()])
def test_half_precision_predictions_give_a_float32_loss(loss):
    value = loss(PRED.bfloat16(), TARGET, torch.ones(2), 1)
    assert value.dtype == torch.float32
    assert value == loss(PRED, TARGET, torch.ones(2), 1)


@pytest.mark.parametrize("loss", [L1Loss(), SmoothL1Loss()])
def test_no_rows_have_loss_zero(loss):
    assert loss(torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0), 1) == 0
