"""Cross entropies against hand-computed values and torch's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from mmdet_lite.models.losses import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    MaskCrossEntropyLoss,
)

INF = float("inf")


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_softmax_of_equal_logits_is_the_log_of_their_number():
    loss = CrossEntropyLoss(loss_weight=2)(
        torch.zeros(3, 4), torch.tensor([0, 1, 3]), torch.tensor([1.0, 0, 0.5]), 3
    )
    torch.testing.assert_close(loss, torch.tensor(2 * 1.5 * math.log(4) / 3))


def test_sigmoid_of_zero_is_the_log_of_two():
    loss = BinaryCrossEntropyLoss()(torch.zeros(2, 2), torch.eye(2), torch.ones(2, 2), 2)
    torch.testing.assert_close(loss, torch.tensor(4 * math.log(2) / 2))


@pytest.mark.parametrize("weight", [None, 0.5])
def test_losses_equal_torch(weight):
    logits, labels = _random(6, 5), torch.tensor([0, 1, 2, 3, 4, 4])
    weights = torch.ones(6) if weight is None else torch.full((6,), weight)
    ours = CrossEntropyLoss()(logits, labels, weights, 6)
    torch.testing.assert_close(ours, F.cross_entropy(logits, labels) * (weight or 1))
    target = (logits > 0.3).float()
    ours = BinaryCrossEntropyLoss()(logits, target, weights[:, None], 30)
    expected = F.binary_cross_entropy_with_logits(logits, target) * (weight or 1)
    torch.testing.assert_close(ours, expected)


def test_rows_without_weight_do_not_count_even_if_infinite():
    logits = torch.tensor([[1.0, 2], [INF, -INF], [-INF, INF]])
    labels, weights = torch.tensor([0, 1, 0]), torch.tensor([1.0, 0, 0])
    alone = CrossEntropyLoss()(logits[:1], labels[:1], weights[:1], 1)
    assert CrossEntropyLoss()(logits, labels, weights, 1) == alone
    loss = BinaryCrossEntropyLoss()(torch.tensor([0.0, INF]), torch.tensor([1, 0]), weights[:2], 1)
    torch.testing.assert_close(loss, torch.tensor(math.log(2)))


def test_half_precision_logits_give_a_float32_loss():
    logits, labels = _random(6, 5), torch.tensor([0, 1, 2, 3, 4, 4])
    loss = CrossEntropyLoss()(logits.bfloat16(), labels, torch.ones(6), 6)
    assert loss.dtype == torch.float32
    assert loss == CrossEntropyLoss()(logits.bfloat16().float(), labels, torch.ones(6), 6)
    assert (
        BinaryCrossEntropyLoss()(logits.half(), logits > 0, torch.ones(6, 1), 1).dtype
        == torch.float32
    )


def test_mask_loss_reads_the_channel_of_the_class_alone():
    logits = torch.zeros(2, 3, 2, 2)
    logits[0, 0], logits[0, 2], logits[1, 1] = 99, -99, 99
    target = torch.ones(2, 2, 2)
    labels = torch.tensor([1, 0])
    loss = MaskCrossEntropyLoss(loss_weight=3)(logits, target, labels, torch.ones(2), 2)
    torch.testing.assert_close(loss, torch.tensor(3 * math.log(2)))


def test_mask_loss_over_their_number_is_the_mean_over_masks_that_count():
    logits, target = _random(4, 3, 5, 5), (_random(4, 5, 5) > 0).float()
    labels, weight = torch.tensor([2, 0, 1, 0]), torch.tensor([1.0, 1, 1, 0])
    expected = F.binary_cross_entropy_with_logits(logits[[0, 1, 2], [2, 0, 1]], target[:3])
    torch.testing.assert_close(MaskCrossEntropyLoss()(logits, target, labels, weight, 3), expected)


def test_mask_loss_without_masks_that_count_is_zero_and_has_a_gradient():
    logits = _random(2, 3, 4, 4).requires_grad_()
    labels = torch.tensor([0, 0])
    loss = MaskCrossEntropyLoss()(logits, torch.ones(2, 4, 4), labels, torch.zeros(2), 1)
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().sum() == 0
