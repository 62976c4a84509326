"""AP loss against the rule as it is written, positive by positive, and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mmdet_lite.models.losses import APLoss


def _one_by_one(logits: Tensor, is_pos: Tensor, is_neg: Tensor, delta: float) -> tuple:
    """Loss and update of (E,) logits in float64, a positive at a time."""
    logits = logits.double()
    pos, neg, update = logits[is_pos], logits[is_neg], torch.zeros_like(logits)
    taken, missing, best = torch.zeros_like(neg), torch.zeros_like(pos), torch.tensor(0.0).double()
    for i in pos.argsort().tolist():
        above = ((neg - pos[i]) / (2 * delta) + 0.5).clamp(0, 1)
        rank = ((pos - pos[i]) / (2 * delta) + 0.5).clamp(0, 1).sum() + 0.5
        precision = rank / (rank + above.sum())
        share = above / (rank + above.sum())
        if best <= precision:
            best = precision
        else:
            share = share * (1 - best) / (1 - precision)
        taken += share
        missing[i] = 1 - best
    update[is_pos], update[is_neg] = -missing / len(pos), taken / len(pos)
    return missing.mean(), update


def _loss(pred: Tensor, target: Tensor, weight: Tensor | None = None, **settings) -> tuple:
    """The loss and its gradient."""
    pred = pred.clone().requires_grad_()
    weight = torch.ones(len(pred)) if weight is None else weight
    loss = APLoss(**settings)(pred, target, weight, 1.0)
    loss.backward()
    return loss.detach(), pred.grad


def _samples(num_pos: int, num_rows: int, num_classes: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Logits that overlap, scores, and weights of which some are 0."""
    generator = torch.Generator().manual_seed(num_pos)
    pred = torch.randn(num_rows, num_classes, generator=generator) * 2
    scores = torch.zeros(num_rows, num_classes)
    scores.view(-1)[torch.randperm(scores.numel(), generator=generator)[:num_pos]] = 0.3
    weight = (torch.rand(num_rows, generator=generator) > 0.1).float()
    return pred + (scores > 0), scores, weight


@pytest.mark.parametrize("delta", [1.0, 0.25])
@pytest.mark.parametrize(("num_pos", "num_rows"), [(1, 5), (7, 40), (300, 2000), (1500, 2500)])
def test_it_is_the_rule_as_written(num_pos, num_rows, delta):
    pred, scores, weight = _samples(num_pos, num_rows)
    loss, grad = _loss(pred, scores, weight, delta=delta)
    used = (weight > 0)[:, None]
    is_pos, is_neg = (scores > 0) & used, (scores == 0) & used
    expected, update = _one_by_one(*(x.flatten() for x in (pred, is_pos, is_neg)), delta)
    torch.testing.assert_close(loss, expected.float(), rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(grad.flatten(), update.float(), rtol=1e-5, atol=1e-10)


def test_precision_is_that_of_float64_at_any_offset():
    """Sums of large logits must not cost the digits of their small differences."""
    pred, scores, weight = _samples(300, 2000)
    pred = (pred * 64).round() / 64  # so that the offset is added exactly
    loss, grad = _loss(pred, scores, weight)
    shifted_loss, shifted_grad = _loss(pred - 1000, scores, weight)
    torch.testing.assert_close(shifted_loss, loss, rtol=1e-6, atol=0)
    torch.testing.assert_close(shifted_grad, grad, rtol=1e-5, atol=1e-9)


def test_one_negative_between_two_positives_by_hand():
    """The lower positive's precision is 2 of 3; the upper one has nothing above it."""
    pred, target = torch.tensor([[3.0], [0.0], [-3.0]]), torch.tensor([0, 1, 0])
    loss, grad = _loss(pred, target)
    assert loss.item() == pytest.approx(1 / 6)
    assert grad.flatten().tolist() == pytest.approx([0, 1 / 6, -1 / 6])


def test_precision_is_not_below_that_of_a_lower_positive():
    """In the middle of 4 negatives the upper positive would have 1 / 5, the lower one has 2 / 6."""
    pred = torch.tensor([[0.0], *[[5.0]] * 4, [-5.0]])
    loss, grad = _loss(pred, torch.tensor([0, 1, 1, 1, 1, 0]))
    assert loss.item() == pytest.approx(2 / 3)
    assert grad.flatten().tolist() == pytest.approx([-1 / 3, *[1 / 6] * 4, -1 / 3])


def test_labels_and_scores_mean_the_same():
    pred = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 3, 2, 3, 1, 1])
    scores = torch.nn.functional.one_hot(labels, 4)[:, :3] * 0.7
    for ours, theirs in zip(_loss(pred, labels), _loss(pred, scores), strict=True):
        assert torch.equal(ours, theirs)


def test_gradient_follows_the_weight_and_sums_to_zero():
    pred, scores, weight = _samples(7, 40)
    loss, grad = _loss(pred, scores, weight)
    weighted_loss, weighted_grad = _loss(pred, scores, weight * 5, loss_weight=3.0)
    torch.testing.assert_close(weighted_loss, 3 * loss)
    torch.testing.assert_close(weighted_grad, 3 * grad)
    assert abs(grad.sum().item()) < 1e-6
    assert not grad[weight == 0].any()


@pytest.mark.parametrize("labels", [[3, 3, 3, 3], []], ids=["no positive", "no sample"])
def test_without_positives_loss_and_gradient_are_zero(labels):
    loss, grad = _loss(torch.zeros(len(labels), 3), torch.tensor(labels, dtype=torch.long))
    assert loss == 0 and not grad.any()


def test_half_precision_is_ranked_as_float32():
    pred, scores, weight = _samples(7, 40)
    loss, grad = _loss(pred.half(), scores, weight)
    assert loss.dtype == torch.float32 and grad.dtype == torch.float16
    assert torch.equal(loss, _loss(pred.half().float(), scores, weight)[0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("row", [0, 1])
def test_entries_that_are_not_finite_show_in_the_loss(value, row):
    pred = torch.zeros(3, 1)
    pred[row] = value if row == 1 else -value
    assert not _loss(pred, torch.tensor([0, 1, 0]))[0].isfinite()


def test_delta_must_be_positive():
    with pytest.raises(ValueError, match="APLoss: delta must be above 0, got 0"):
        APLoss(delta=0)
