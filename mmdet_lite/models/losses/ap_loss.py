"""AP loss (Chen et al. 2019, "Towards Accurate One-Stage Object Detection with AP-Loss").

Letters: N samples, K classes, P positive entries, M negative entries that are near enough to count.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mmdet_lite.models.fitting import CLASS_RANKING
from mmdet_lite.ranges import check_not_negative, check_positive
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class APLoss(nn.Module):
    """1 minus the average precision with which positives are ranked above negatives.

    All (sample, class) entries of the call are one ranking: those of this process's images, as in
    the paper. The gradient is not the value's derivative, which is 0 almost everywhere, but an
    error-driven update (sec. 3.2): a negative gets what it takes from the precisions of the
    positives, a positive what is missing to its precision. Precisions are interpolated: none is
    below that of a positive that scores less (sec. 3.3).

    With ``h(d) = clamp(d / (2 delta) + 0.5, 0, 1)`` in place of "ranks above", sums over entries
    are sums over intervals of the sorted positives: O((P + M) log P) time and about 100 bytes for
    each of the P + M entries, whatever the number of pairs. Sums are in float64.

    It waits for the device twice, to pick out the positives, and the negatives above the lowest of
    them minus delta. Without these waits all N * K entries must be sorted: on a CPU core, with
    5,000 positives and 2 million negatives, this took 2 to 3 times as long where 90 % of the
    negatives were near, and 40 times where 5 % were. On CUDA, torch's deterministic mode refuses
    the loss, as it refuses every ``cumsum``.

    Args:
        delta: half the width, in logits, of the soft step ``h``.
        loss_weight: factor of the result.

    Raises:
        ValueError: ``delta`` is not above 0, or ``loss_weight`` negative.
    """

    works_on = CLASS_RANKING

    def __init__(self, delta: float = 1.0, loss_weight: float = 1.0):
        super().__init__()
        check_positive(self, delta=delta)
        check_not_negative(self, loss_weight=loss_weight)
        self.delta = delta
        self.loss_weight = loss_weight

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        """Rank all entries.

        Args:
            pred: (N, K) logits.
            target: (N,) int64 in 0..K, K for the background; or (N, K) scores, of which those above
                0 are positive.
            weight: (N,); 0 where a sample takes no part, otherwise its size does not matter.
            avg_factor: not used: the loss is a mean over the positive entries of this call.

        Returns:
            scalar in 0..1 times the loss's weight; 0, with no gradient for the negatives either,
            where nothing is positive.
        """
        if target.dim() == 1:
            target = target[:, None] == torch.arange(pred.shape[1], device=target.device)
        is_pos, used = target > 0, (weight != 0)[:, None]
        loss = _ErrorDriven.apply(pred.float(), is_pos & used, ~is_pos & used, self.delta)
        return self.loss_weight * loss


class _ErrorDriven(torch.autograd.Function):
    """The loss with its update in place of a gradient."""

    @staticmethod
    def forward(ctx, logits: Tensor, is_pos: Tensor, is_neg: Tensor, delta: float) -> Tensor:
        loss, update = _rank(logits.flatten(), is_pos.flatten(), is_neg.flatten(), delta)
        ctx.save_for_backward(update.view_as(logits))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (update,) = ctx.saved_tensors
        return grad * update, None, None, None


def _rank(logits: Tensor, is_pos: Tensor, is_neg: Tensor, delta: float) -> tuple[Tensor, Tensor]:
    """(E,) logits of all entries, and which are what, to the loss and its update (E,)."""
    update = torch.zeros_like(logits)
    pos_inds = is_pos.nonzero()[:, 0]
    if not len(pos_inds):
        return logits.new_zeros(()), update
    ranked, order = logits[pos_inds].sort()
    far = logits < ranked[0] - delta  # NaN is near, so that it is seen
    neg_inds = (is_neg & ~far).nonzero()[:, 0]
    pos, neg = ranked.double() / delta, logits[neg_inds].double() / delta

    window = _windows(pos, neg)
    pos_above = _sum_over_values(pos, pos, *_windows(pos, pos)) + 0.5
    all_above = pos_above + _sum_over_values(pos, neg, *window)
    precision = pos_above / all_above
    best = precision.cummax(dim=0).values
    # What negatives take from an interpolated precision is less than from the precision itself.
    share = torch.where(best > precision, (1 - best) / (1 - precision), 1.0)
    taken = _sum_over_positives(pos, share / all_above, neg, *window)

    update[neg_inds] = (taken / len(pos)).to(update.dtype)
    update[pos_inds[order]] = ((best - 1) / len(pos)).to(update.dtype)
    return (1 - best.mean()).to(logits.dtype), update


def _windows(pos: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """How far up the sorted positives (P,) each of the values (M,) ranks, in units of delta.

    Returns:
        (M,) int64 each: ``h(value - pos)`` is 1 for the positives before the first, between 0 and 1
        from there to before the second, and 0 from there on.
    """
    low = torch.searchsorted(pos + 1, values, right=True)
    return low, torch.searchsorted(pos - 1, values, right=True)


def _sum_over_values(pos: Tensor, values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Sum of ``h(values - pos)`` for each positive: (P,)."""
    ones = torch.ones_like(values)
    above = _sum_beyond(low, ones, len(pos))
    inside = _sum_beyond(high, ones, len(pos)) - above
    sum_inside = _sum_beyond(high, values, len(pos)) - _sum_beyond(low, values, len(pos))
    return above + (sum_inside + inside * (1 - pos)) / 2


def _sum_beyond(inds: Tensor, weight: Tensor, size: int) -> Tensor:
    """For each i below ``size`` the sum of weights (M,) whose index (M,) is above i."""
    totals = weight.new_zeros(size + 1).index_add_(0, inds, weight)
    return totals.flip(0).cumsum(dim=0).flip(0)[1:]


def _sum_over_positives(
    pos: Tensor, weight: Tensor, values: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Sum of ``weight * h(value - pos)`` for each value: (M,)."""
    before = torch.cat([weight.new_zeros(1), weight.cumsum(dim=0)])  # of positives before one
    moment = torch.cat([weight.new_zeros(1), (weight * pos).cumsum(dim=0)])
    above = before.take(low)
    inside, moment_inside = before.take(high) - above, moment.take(high) - moment.take(low)
    return (above + (inside * (1 + values) - moment_inside) / 2).clamp(min=0)
