"""Learning-rate schedules: pure functions of the iteration.

An iteration is one batch from the loader. With gradient accumulation several iterations make one
optimizer step; warm-up, milestones and totals still count iterations, so that a schedule means the
same whatever the accumulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mmdet_lite.registry import SCHEDULES


class Schedule(Protocol):
    """What the trainer asks of a schedule."""

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """The factor on the optimizer's learning rates at iteration ``step`` (from 0)."""


@SCHEDULES.register_module()
@dataclass(frozen=True)
class MultiStepSchedule:
    """Linear warm-up, then a fall by ``gamma`` at every milestone.

    Args:
        milestones: where the learning rate falls, counted in ``unit``.
        gamma: factor at each milestone.
        unit: 'epoch' or 'iter'.
        warmup_iters: the factor grows linearly from ``warmup_factor`` at iteration 0 to 1 here.
        warmup_factor: factor at iteration 0.

    Raises:
        ValueError: a setting is out of its range.
    """

    milestones: Sequence[int]
    gamma: float = 0.1
    unit: str = "epoch"
    warmup_iters: int = 0
    warmup_factor: float = 0.001

    def __post_init__(self) -> None:
        if self.unit not in ("epoch", "iter"):
            raise ValueError(f"MultiStepSchedule: unit is {self.unit!r}, not 'epoch' or 'iter'")
        _check_warmup(self)

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """See :class:`Schedule`."""
        length = steps_per_epoch if self.unit == "epoch" else 1
        passed = sum(step >= milestone * length for milestone in self.milestones)
        return self.gamma**passed * linear_warmup(step, self.warmup_iters, self.warmup_factor)


@SCHEDULES.register_module()
@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up, then half a cosine down to ``final_factor`` at the end of the run.

    Args:
        final_factor: factor at the end.
        warmup_iters: the factor grows linearly from ``warmup_factor`` at iteration 0 to 1 here.
        warmup_factor: factor at iteration 0.

    Raises:
        ValueError: a setting is out of its range.
    """

    final_factor: float = 0.0
    warmup_iters: int = 0
    warmup_factor: float = 0.001

    def __post_init__(self) -> None:
        _check_warmup(self)

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """See :class:`Schedule`."""
        if step < self.warmup_iters:
            return linear_warmup(step, self.warmup_iters, self.warmup_factor)
        share = (step - self.warmup_iters) / max(total_steps - self.warmup_iters, 1)
        return interpolate(1.0, self.final_factor, share, "cosine")


@SCHEDULES.register_module()
@dataclass(frozen=True)
class OneCycleSchedule:
    """Up from ``initial_factor`` to 1, then down to ``final_factor`` at the end of the run.

    Args:
        warmup_share: share of the run, in 0..1, that goes up.
        initial_factor: factor at iteration 0.
        final_factor: factor at the end.
        shape: 'cosine' or 'linear', of both parts.

    Raises:
        ValueError: a setting is out of its range.
    """

    warmup_share: float = 0.3
    initial_factor: float = 0.04
    final_factor: float = 0.0
    shape: str = "cosine"

    def __post_init__(self) -> None:
        if self.shape not in ("cosine", "linear"):
            raise ValueError(f"OneCycleSchedule: shape is {self.shape!r}, not 'cosine' or 'linear'")
        if not 0 <= self.warmup_share <= 1:
            raise ValueError(f"OneCycleSchedule: warmup_share is {self.warmup_share}, not in 0..1")

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """See :class:`Schedule`."""
        peak = self.warmup_share * total_steps
        if step < peak:
            return interpolate(self.initial_factor, 1.0, step / peak, self.shape)
        share = (step - peak) / max(total_steps - peak, 1)
        return interpolate(1.0, self.final_factor, share, self.shape)


def linear_warmup(step: int, warmup_iters: int, warmup_factor: float) -> float:
    """From ``warmup_factor`` at step 0 to 1 at step ``warmup_iters`` and ever after."""
    if step >= warmup_iters:
        return 1.0
    return interpolate(warmup_factor, 1.0, step / warmup_iters, "linear")


def interpolate(start: float, end: float, share: float, shape: str) -> float:
    """The value ``share`` (0..1, not beyond) of the way from ``start`` to ``end``."""
    share = min(share, 1.0)
    if shape == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return start + (end - start) * share


def build_lr_scheduler(
    schedule: Schedule,
    optimizer: Optimizer,
    total_iterations: int,
    iterations_per_epoch: int,
    accumulate: int,
) -> LambdaLR:
    """Apply a schedule to an optimizer; the scheduler is stepped once per optimizer step."""
    return LambdaLR(
        optimizer,
        lambda step: schedule.factor(step * accumulate, total_iterations, iterations_per_epoch),
    )


def _check_warmup(schedule: MultiStepSchedule | CosineSchedule) -> None:
    name = type(schedule).__name__
    if schedule.warmup_iters < 0:
        raise ValueError(f"{name}: warmup_iters is {schedule.warmup_iters}, expected 0 or more")
    if not 0 <= schedule.warmup_factor <= 1:
        raise ValueError(f"{name}: warmup_factor is {schedule.warmup_factor}, not in 0..1")
