"""Focal loss against its formula and torchvision's."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from mmdet_lite.models.losses import FocalLoss


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_value_at_logit_zero():
    # p = 1/2 everywhere: one foreground class with alpha, one background with 1 - alpha
    loss = FocalLoss(gamma=2, alpha=0.25)(torch.zeros(1, 2), torch.tensor([1]), torch.ones(1), 1)
    torch.testing.assert_close(loss, torch.tensor((0.25 + 0.75) * 0.25 * math.log(2)))


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.5, 0.4)])
def test_equals_torchvision_and_background_is_the_last_label(gamma, alpha):
    logits, labels = _random(7, 3), torch.tensor([0, 1, 2, 3, 3, 0, 2])
    one_hot = F.one_hot(labels, 4)[:, :3].float()
    assert one_hot[3].sum() == 0
    expected = sigmoid_focal_loss(logits, one_hot, alpha, gamma, reduction="sum") / 4
    loss = FocalLoss(gamma, alpha, loss_weight=2)(logits, labels, torch.ones(7), 4)
    torch.testing.assert_close(loss, 2 * expected)


def test_rows_are_weighted():
    logits, labels = _random(4, 3), torch.tensor([0, 3, 2, 1])
    weight = torch.tensor([1.0, 0.5, 0, 0])
    parts = [FocalLoss()(logits[i : i + 1], labels[i : i + 1], torch.ones(1), 1) for i in range(2)]
    torch.testing.assert_close(
        FocalLoss()(logits, labels, weight, 2), (parts[0] + parts[1] / 2) / 2
    )


def test_half_precision_logits_give_a_float32_loss():
    logits, labels = _random(4, 3).half(), torch.tensor([0, 3, 2, 1])
    loss = FocalLoss()(logits, labels, torch.ones(4), 1)
    assert loss.dtype == torch.float32
    assert loss == FocalLoss()(logits.float(), labels, torch.ones(4), 1)


def test_pos_weight_is_inside_the_cross_entropy():
    pred, scores = torch.tensor([[1.5], [-0.5], [0.3]]), torch.tensor([[1.0], [0.0], [0.4]])
    entropy = F.binary_cross_entropy_with_logits(
        pred, scores, pos_weight=torch.tensor(1.6), reduction="none"
    )
    found = pred.sigmoid()
    missed = 1 - (scores * found + (1 - scores) * (1 - found))
    expected = (entropy * (0.25 * scores + 0.75 * (1 - scores)) * missed**1.5).sum() / 3
    loss = FocalLoss(gamma=1.5, pos_weight=1.6)(pred, scores, torch.ones(3), 3.0)
    torch.testing.assert_close(loss, expected)
    same = [FocalLoss(pos_weight=w)(pred, scores, torch.ones(3), 3.0) for w in (1.0, 1 + 1e-9)]
    torch.testing.assert_close(*same)
