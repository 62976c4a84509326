"""A training step's targets, taken from its own calls.

Letters: B images, A priors over all levels, G padded ground truths, N rows of a loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mmdet_lite.models.target_record import Decision, recorded_decisions
from mmdet_lite.structures.samples import Batch


@dataclass
class Captured:
    """The targets of one head, or of one stage of it, and what its losses made of them.

    Attributes:
        decision: what the target function was asked, and its answer.
        num_gts: G of the batch.
        box_weights: (N,) weights that the box loss got, one for each row of the targets of all
            images; None where the head called no ``loss_bbox``.
        objectness_levels: what the priors of a level have to score as an object, image by image,
            (B * A_level,) each; empty where the head has no ``loss_obj``.
    """

    decision: Decision
    num_gts: int
    box_weights: Tensor | None = None
    objectness_levels: list[Tensor] = field(default_factory=list)

    def objectness(self, image: int) -> Tensor:
        """(A,) what the priors of one image have to score as an object."""
        sizes = self.decision.priors.level_sizes
        pairs = zip(self.objectness_levels, sizes, strict=True)
        return torch.cat([scores.reshape(-1, size)[image] for scores, size in pairs])


@torch.no_grad()
def capture(model: nn.Module, batch: Batch, dtype: torch.dtype | None = None) -> list[Captured]:
    """Compute the losses of a batch as a training step does, and keep the targets.

    Nothing is computed a second time: the target functions report what they returned, and hooks
    on the heads' losses see the weights that these are given.

    Args:
        model: on the batch's device; it is left in training mode. Its batch statistics follow the
            batch, as in training.
        batch: with ground truth.
        dtype: of autocast; None: float32.

    Returns:
        In the order of the step: the dense head, then the stages of a RoI head.

    Raises:
        ValueError: no head asked the functions of ``mmdet_lite.models.targets``.
    """
    model.train()
    num_gts = batch.gt.valid.shape[1]
    with (
        recorded_decisions() as decisions,
        _watched_losses(model, decisions) as seen,
        torch.autocast(batch.images.device.type, dtype, enabled=dtype is not None),
    ):
        model(batch)
    if not decisions:
        raise ValueError(
            f"{type(model).__name__} makes its targets by none of the functions in "
            "mmdet_lite/models/targets.py, so there is nothing to show; call one of them in your "
            "head's loss"
        )
    return [
        Captured(decision, num_gts, seen.weights.get(index), seen.objectness.get(index, []))
        for index, decision in enumerate(decisions)
    ]


@dataclass
class _SeenByLosses:
    """What losses are given after each decision, by the decision's index."""

    weights: dict[int, Tensor] = field(default_factory=dict)
    objectness: dict[int, list[Tensor]] = field(default_factory=dict)


@contextmanager
def _watched_losses(model: nn.Module, decisions: list[Decision]) -> Iterator[_SeenByLosses]:
    seen = _SeenByLosses()

    def watch_boxes(loss: nn.Module, given: tuple[Any, ...]) -> None:
        if len(given) > 2:  # the first time: an auxiliary head compares the same targets once more
            seen.weights.setdefault(len(decisions) - 1, given[2])

    def watch_objectness(loss: nn.Module, given: tuple[Any, ...]) -> None:
        seen.objectness.setdefault(len(decisions) - 1, []).append(given[1])

    watchers = {"loss_bbox": watch_boxes, "loss_obj": watch_objectness}  # as all heads name them
    hooks = [
        module.register_forward_pre_hook(watchers[kind])
        for name, module in model.named_modules()
        if (kind := name.rpartition(".")[2]) in watchers
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
