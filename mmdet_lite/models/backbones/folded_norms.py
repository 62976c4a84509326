"""Batch norms that keep their statistics, multiplied into the convolutions before them.

Such a norm is a scale and a shift of each channel. On a map they cost a pass over memory, forward
and backward, and the memory of another map; in the weights, the same of the weights, which are
smaller but in the last stage. All convolutions of a network are folded together, in a few
operations on lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # also SyncBatchNorm

Pair = tuple[nn.Module, nn.Module]  # a convolution and the norm after it
Folded = tuple[Tensor, Tensor] | None  # weight and bias that stand for both


def fold_norms(pairs: Sequence[Pair], positions: Sequence[int]) -> list[Folded]:
    """Weights and biases that give what each pair gives, where gradients are recorded.

    Gradients reach the parameters of both. Without gradients nothing is folded: a pass over the
    maps of few images takes no longer than one over the weights, and the digits stay the norm's.

    Args:
        pairs: convolutions and their norms.
        positions: height times width of each one's map; where an output channel has more weights
            than that, nothing is gained.

    Returns:
        One entry a pair, None where the norm does not keep its statistics, is of another kind, or
        nothing is gained.
    """
    folded: list[Folded] = [None] * len(pairs)
    if not torch.is_grad_enabled():
        return folded
    places = [
        i
        for i, ((conv, norm), most) in enumerate(zip(pairs, positions, strict=True))
        if _is_foldable(conv, norm) and conv.weight[0].numel() <= most
    ]
    if not places:
        return folded
    convs, norms = zip(*(pairs[i] for i in places), strict=True)
    statistics = [[n.running_mean for n in norms], [n.running_var for n in norms]]
    statistics.append([n.eps for n in norms])
    parameters = [[conv.weight for conv in convs]]
    parameters += [[norm.weight for norm in norms], [norm.bias for norm in norms]]
    out = _Fold.apply(statistics, *sum(parameters, []))
    for place, weight, bias in zip(places, out[: len(places)], out[len(places) :], strict=True):
        folded[place] = weight, bias
    return folded


def conv_norm(pair: Pair, folded: Folded, x: Tensor) -> Tensor:
    """A convolution and its norm, (B, Cin, H, W) to (B, Cout, H', W'), by the folded weights if
    there are any."""
    conv, norm = pair
    if folded is None:
        return norm(conv(x))
    return F.conv2d(x, *folded, conv.stride, conv.padding, conv.dilation, conv.groups)


def _is_foldable(conv: nn.Module, norm: nn.Module) -> bool:
    plain = type(conv) is nn.Conv2d and conv.bias is None and conv.padding_mode == "zeros"
    keeps = isinstance(norm, _BatchNorm) and not norm.training and norm.running_var is not None
    return plain and keeps and norm.affine


class _Fold(torch.autograd.Function):
    """Scale weights and make biases, for lists of convolutions."""

    @staticmethod
    def forward(ctx: Any, statistics: tuple, *parameters: Tensor) -> tuple[Tensor, ...]:
        """Weights, norms' weights and norms' biases, one after the other, to weights and biases."""
        weights, gammas, betas = _split(parameters, 3)
        means, variances, eps = statistics
        inverse = torch._foreach_add(variances, eps)
        torch._foreach_rsqrt_(inverse)
        scales = torch._foreach_mul(gammas, inverse)
        biases = torch._foreach_addcmul(betas, means, scales, value=-1)
        folded = torch._foreach_mul(weights, _columns(scales))
        ctx.save_for_backward(*weights, *means, *inverse, *scales)
        trained = zip(*_split(ctx.needs_input_grad[1:], 3), strict=True)
        fixed = [i for i, needs in enumerate(trained) if not any(needs)]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*_pick(folded, fixed), *_pick(biases, fixed))
        return *folded, *biases

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of those that are trained."""
        weights, means, inverse, scales = _split(ctx.saved_tensors, 4)
        count = len(weights)
        of_weights, of_gammas, of_betas = _split(ctx.needs_input_grad[1:], 3)
        of_folded, of_biases = _split(grads, 2)
        result: list[Tensor | None] = [None] * (3 * count)

        # torch multiplies no empty lists.
        rows = [i for i in range(count) if of_weights[i] and of_folded[i] is not None]
        if rows:
            scaled = torch._foreach_mul(_pick(of_folded, rows), _columns(_pick(scales, rows)))
            for i, grad in zip(rows, scaled, strict=True):
                result[i] = grad

        rows = [i for i in range(count) if of_gammas[i] and of_folded[i] is not None]
        if rows:
            products = torch._foreach_mul(_pick(of_folded, rows), _pick(weights, rows))
            of_scales = [product.flatten(1).sum(1) for product in products]
            torch._foreach_addcmul_(of_scales, _pick(of_biases, rows), _pick(means, rows), value=-1)
            normed = torch._foreach_mul(of_scales, _pick(inverse, rows))
            for i, grad in zip(rows, normed, strict=True):
                result[count + i] = grad

        for i in range(count):
            result[2 * count + i] = of_biases[i] if of_betas[i] else None
        return None, *result


def _split(values: Sequence, parts: int) -> list[list]:
    count = len(values) // parts
    return [list(values[i : i + count]) for i in range(0, len(values), count)]


def _pick(values: Sequence[Tensor], rows: Sequence[int]) -> list[Tensor]:
    return [values[i] for i in rows]


def _columns(scales: Sequence[Tensor]) -> list[Tensor]:
    return [scale[:, None, None, None] for scale in scales]
