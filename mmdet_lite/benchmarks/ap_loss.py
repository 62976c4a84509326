"""AP loss against the loop over positives that its paper states, taking turns in one process.

Letters: N samples, K classes, E = N * K entries, P positives and M negatives among them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mmdet_lite.benchmarks.rows import Row, take_turns, time_row
from mmdet_lite.models.losses import APLoss

_PEER = "positive by positive"


class PositiveByPositive(torch.autograd.Function):
    """The loss in the form of the paper's algorithm: a pass over the negatives for each positive.

    Negatives that rank below every positive are left out first, as its implementation does. Delta
    is 1.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, is_pos: Tensor) -> Tensor:
        """(N, K) logits and which entries are positive, all others being negative, to the loss."""
        pos, is_near = logits[is_pos], ~is_pos & (logits >= logits[is_pos].min() - 1)
        near, taken, missing = logits[is_near], 0.0, torch.zeros_like(pos)
        best = torch.tensor(0.0)
        for i in pos.argsort():
            above = ((near - pos[i]) / 2 + 0.5).clamp(0, 1)
            rank = ((pos - pos[i]) / 2 + 0.5).clamp(0, 1).sum() + 0.5
            precision = rank / (rank + above.sum())
            share = above / (rank + above.sum())
            if precision < best:
                share = share * (1 - best) / (1 - precision)
            best = torch.maximum(best, precision)
            taken = taken + share
            missing[i] = 1 - best
        update = torch.zeros_like(logits)
        update[is_near], update[is_pos] = taken / len(pos), -missing / len(pos)
        ctx.save_for_backward(update)
        return missing.mean()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        """The update in place of a gradient."""
        return grad * ctx.saved_tensors[0], None


def benchmark_ap_loss(
    num_pos: int = 5000, num_neg: int = 100_000, num_classes: int = 20, rounds: int = 5
) -> list[Row]:
    """Time a forward and a backward pass on the CPU, and check that the gradients are the same.

    Logits are normally distributed, those of positives around 1 and of negatives around 0, so that
    nearly all negatives count.

    Args:
        num_pos: P, each a sample of its own.
        num_neg: M, the other classes of those samples and of as many others as it takes.
        num_classes: K.
        rounds: how often each has its turn, after one for warm-up.

    Returns:
        One row.

    Raises:
        ValueError: so many entries are not whole samples, or too few for a positive each.
        AssertionError: loss or gradients differ.
    """
    logits, labels = _samples(num_pos, num_neg, num_classes)
    ours, peer = _runs(logits, labels)
    for a, b in zip(ours(), peer(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    seconds = take_turns({"ours": ours, "peer": peer}, rounds)
    case = f"AP loss and gradient, {num_pos} positives, {num_neg} negatives, {num_classes} classes"
    settings = {"num_pos": num_pos, "num_neg": num_neg, "num_classes": num_classes}
    return [time_row(case, seconds["ours"], seconds["peer"], _PEER, settings, unit="ms")]


def _samples(num_pos: int, num_neg: int, num_classes: int) -> tuple[Tensor, Tensor]:
    """(N, K) logits and (N,) labels in 0..K, K for the background."""
    num_samples, rest = divmod(num_pos + num_neg, num_classes)
    if rest or num_samples < num_pos:
        raise ValueError(
            f"{num_pos} positives and {num_neg} negatives of {num_classes} classes: expected whole "
            f"samples, at least one for each positive, got {num_samples} and {rest} entries; "
            "choose other numbers"
        )
    generator = torch.Generator().manual_seed(0)
    labels = torch.full((num_samples,), num_classes)
    labels[:num_pos] = torch.randint(num_classes, (num_pos,), generator=generator)
    logits = torch.randn(num_samples, num_classes, generator=generator)
    return logits + (labels[:, None] == torch.arange(num_classes)), labels


def _runs(logits: Tensor, labels: Tensor) -> tuple[Callable, Callable]:
    """What is compared: each gives the loss and the gradient."""
    loss, weight = APLoss(), torch.ones(len(labels))
    is_pos = labels[:, None] == torch.arange(logits.shape[1])

    def run(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        pred = logits.clone().requires_grad_()
        value = function(pred)
        value.backward()
        return value.detach(), pred.grad

    return (
        lambda: run(lambda pred: loss(pred, labels, weight, 1.0)),
        lambda: run(lambda pred: PositiveByPositive.apply(pred, is_pos)),
    )
