"""How element-wise losses become one scalar, and by what they are divided."""

from __future__ import annotations

from typing import Literal

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

Normalizer = Literal["rank", "global"]


def weighted_sum(elements: Tensor, weight: Tensor, avg_factor: Tensor | float) -> Tensor:
    """``sum(elements * weight) / avg_factor``; elements of weight 0 never count, not even NaN.

    Args:
        elements: (...) float.
        weight: (...) broadcast against ``elements``.
        avg_factor: scalar.
    """
    elements = elements.masked_fill(weight == 0, 0)  # 0 * inf would be NaN
    return (elements * weight).sum() / avg_factor


def class_scores(target: Tensor, num_classes: int) -> Tensor:
    """What each class has to score.

    Args:
        target: (N,) int64 labels in 0..K, K for the background; or (N, K) scores already.
        num_classes: K.

    Returns:
        (N, K) float32.
    """
    if target.dim() == 2:
        return target.float()
    return F.one_hot(target, num_classes + 1)[:, :-1].float()


def sigmoid_entropy(pred: Tensor, scores: Tensor, pos_weight: float = 1.0) -> Tensor:
    """Binary cross entropy of each element.

    Args:
        pred: (...) logits.
        scores: (...) in 0..1.
        pos_weight: factor of the part that draws scores up, ``-score * log(sigmoid)``.
    """
    entropy = F.binary_cross_entropy_with_logits(pred, scores, reduction="none")
    if pos_weight == 1:
        return entropy
    return entropy + (pos_weight - 1) * scores * F.softplus(-pred)


def num_processes() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def normalize(avg_factor: Tensor, normalizer: Normalizer, at_least: float = 0.0) -> Tensor:
    """The normaliser of a loss: this process's own, or the mean over all processes.

    With 'global' the gradient that DDP averages equals that of one process with the whole batch.

    Args:
        avg_factor: (...), as a rule a scalar; not negative.
        normalizer: 'rank' (MMDetection's) or 'global'.
        at_least: what a smaller number counts as, that of this process, or of all together.
    """
    if normalizer == "rank" or num_processes() == 1:
        return avg_factor.clamp(min=at_least) if at_least else avg_factor
    total = avg_factor.clone()
    dist.all_reduce(total)
    return total.clamp(min=at_least) / num_processes()


def batch_factor(like: Tensor, normalizer: Normalizer) -> Tensor:
    """By what a loss is multiplied that is to grow with the batch, as the YOLOs' do.

    Args:
        like: (B, ...), a tensor of the batch of this process.
        normalizer: with 'global' the losses of all processes get the same factor.

    Returns:
        scalar: the number of images in the batches of all processes.
    """
    return normalize(like.new_full((), float(len(like))), normalizer) * num_processes()


def check_normalizer(owner: object, value: str) -> Normalizer:
    """Validate a config value.

    Args:
        owner: whose ``normalizer`` it is; the message names its class.
        value: of the config.

    Raises:
        ValueError: it is neither 'rank' nor 'global'.
    """
    if value not in ("rank", "global"):
        name = type(owner).__name__
        raise ValueError(f"{name}: normalizer must be 'rank' or 'global', got {value!r}")
    return value
