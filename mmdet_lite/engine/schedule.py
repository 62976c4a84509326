"""Schedules of the learning rate, and of the momentum: pure functions of the iteration.

An iteration is one batch from the loader. With gradient accumulation several iterations make one
optimizer step; warm-up, milestones and totals still count iterations, so that a schedule means the
same whatever the accumulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from mmdet_lite.ranges import check_not_negative, check_positive
from mmdet_lite.registry import SCHEDULES


class Schedule(Protocol):
    """What the trainer asks of a schedule.

    A schedule may also have ``bias_factor`` and ``momentum``, as :class:`GroupWarmup` has.
    """

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
        check_positive(self, **{f"milestones[{i}]": m for i, m in enumerate(self.milestones)})
        check_not_negative(self, gamma=self.gamma)
        _check_warmup(self)

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """See :class:`Schedule`."""
        length = steps_per_epoch if self.unit == "epoch" else 1
        passed = sum(step >= milestone * length for milestone in self.milestones)
        return self.gamma**passed * linear_warmup(step, self.warmup_iters, self.warmup_factor)


@dataclass(frozen=True)
class _Decay:
    """Linear warm-up, then down to ``final_factor`` at the end of the run, in a ``shape``."""

    final_factor: float = 0.0
    warmup_iters: int = 0
    warmup_factor: float = 0.001

    shape: ClassVar[str]

    def __post_init__(self) -> None:
        _check_warmup(self)
        check_not_negative(self, final_factor=self.final_factor)

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """See :class:`Schedule`."""
        if step < self.warmup_iters:
            return linear_warmup(step, self.warmup_iters, self.warmup_factor)
        share = (step - self.warmup_iters) / max(total_steps - self.warmup_iters, 1)
        return interpolate(1.0, self.final_factor, share, self.shape)


@SCHEDULES.register_module()
class CosineSchedule(_Decay):
    """Linear warm-up, then half a cosine down to ``final_factor`` at the end of the run.

    Args:
        final_factor: factor at the end.
        warmup_iters: the factor grows linearly from ``warmup_factor`` at iteration 0 to 1 here.
        warmup_factor: factor at iteration 0.

    Raises:
        ValueError: a setting is out of its range.
    """

    shape = "cosine"


@SCHEDULES.register_module()
class LinearSchedule(_Decay):
    """Linear warm-up, then a straight line down to ``final_factor`` at the end of the run.

    Args:
        final_factor: factor at the end.
        warmup_iters: the factor grows linearly from ``warmup_factor`` at iteration 0 to 1 here.
        warmup_factor: factor at iteration 0.

    Raises:
        ValueError: a setting is out of its range.
    """

    shape = "linear"


@SCHEDULES.register_module()
@dataclass(frozen=True)
class GroupWarmup:
    """A linear warm-up before another schedule, with one of their own for biases and momentum.

    As YOLOv5 trains: the learning rate of biases (those of normalisation layers too) comes down to
    the schedule's, all others come up to it, and so does the momentum to the optimizer's. What they
    come to is the schedule's value at each iteration, which has begun to fall. Biases must form
    parameter groups of their own: ``param_groups=dict(split_biases=True)``.

    Args:
        schedule: what the learning rate follows; it should have no warm-up of its own.
        warmup_epochs: length of the warm-up; or
        warmup_iters: in iterations, if those are more.
        warmup_factor: factor on the learning rate at iteration 0.
        warmup_bias_factor: that of biases. The default makes the 0.1 of YOLOv5 of its
            learning rate 0.01.
        warmup_momentum: the momentum at iteration 0; None: it is not changed.

    Raises:
        ValueError: a setting is out of its range.
    """

    schedule: Schedule
    warmup_epochs: float = 3.0
    warmup_iters: int = 100
    warmup_factor: float = 0.0
    warmup_bias_factor: float = 10.0
    warmup_momentum: float | None = 0.8

    def __post_init__(self) -> None:
        _check_warmup(self)
        for name in ("warmup_epochs", "warmup_bias_factor"):
            if not getattr(self, name) >= 0:
                value = getattr(self, name)
                raise ValueError(f"GroupWarmup: {name} is {value}, expected 0 or more")
        if self.warmup_momentum is not None and not 0 <= self.warmup_momentum < 1:
            raise ValueError(f"GroupWarmup: warmup_momentum is {self.warmup_momentum}, not in 0..1")

    def factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """See :class:`Schedule`."""
        target = self.schedule.factor(step, total_steps, steps_per_epoch)
        return self._approach(self.warmup_factor, target, step, steps_per_epoch)

    def bias_factor(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """The factor on the learning rates of biases."""
        target = self.schedule.factor(step, total_steps, steps_per_epoch)
        return self._approach(self.warmup_bias_factor, target, step, steps_per_epoch)

    def momentum(self, step: int, steps_per_epoch: int, target: float) -> float:
        """The momentum at iteration ``step``, ``target`` being the optimizer's."""
        start = target if self.warmup_momentum is None else self.warmup_momentum
        return self._approach(start, target, step, steps_per_epoch)

    def _approach(self, start: float, target: float, step: int, steps_per_epoch: int) -> float:
        length = max(self.warmup_epochs * steps_per_epoch, self.warmup_iters)
        return target if step >= length else interpolate(start, target, step / length, "linear")


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
        factors = {"initial_factor": self.initial_factor, "final_factor": self.final_factor}
        check_not_negative(self, **factors)
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
    """Apply a schedule to an optimizer; the scheduler is stepped once per optimizer step.

    Raises:
        ValueError: the schedule treats biases in its own way, and a group mixes them with others.
    """

    def follow(function: Callable[[int, int, int], float]) -> Callable[[int], float]:
        return lambda step: function(step * accumulate, total_iterations, iterations_per_epoch)

    groups = optimizer.param_groups
    if not hasattr(schedule, "bias_factor"):
        return LambdaLR(optimizer, [follow(schedule.factor) for _ in groups])
    chosen = [schedule.bias_factor if _holds_biases(g) else schedule.factor for g in groups]
    return LambdaLR(optimizer, [follow(function) for function in chosen])


class MomentumScheduler:
    """Sets an optimizer's momentum as the schedule says; if it says nothing, leaves it alone.

    It has no state of its own: where the momentum goes to is noted in the optimizer's groups, as
    ``initial_momentum``.

    Args:
        schedule: of the run.
        optimizer: whose groups are changed.
        iterations_per_epoch: batches an epoch.
        accumulate: batches an optimizer step.

    Raises:
        ValueError: the schedule sets the momentum, and the optimizer has none.
    """

    def __init__(
        self, schedule: Schedule, optimizer: Optimizer, iterations_per_epoch: int, accumulate: int
    ):
        self.schedule = schedule
        self.optimizer = optimizer
        self.iterations_per_epoch = iterations_per_epoch
        self.accumulate = accumulate
        self.is_active = getattr(schedule, "warmup_momentum", None) is not None
        if self.is_active and not optimizer.defaults.get("momentum"):
            raise ValueError(
                f"{type(schedule).__name__}: warmup_momentum is {schedule.warmup_momentum}, but "
                "the optimizer has no momentum: set optimizer.momentum, or warmup_momentum=None"
            )
        self.set(0)

    def set(self, update: int) -> None:
        """Set the momentum of an optimizer step, the first being number 0."""
        if not self.is_active:
            return
        iteration = update * self.accumulate
        for group in self.optimizer.param_groups:
            target = group.setdefault("initial_momentum", group["momentum"])
            momentum = self.schedule.momentum(iteration, self.iterations_per_epoch, target)
            group["momentum"] = momentum


def _holds_biases(group: dict) -> bool:
    """Whether a parameter group is one of biases.

    Raises:
        ValueError: it has biases and others.
    """
    are_biases = {name.rpartition(".")[2] == "bias" for name in group.get("param_names", [""])}
    if len(are_biases) > 1:
        raise ValueError(
            "the schedule warms biases up in their own way, but they share a parameter group with "
            "others: set param_groups.split_biases=True"
        )
    return are_biases == {True}


def _check_warmup(
    schedule: MultiStepSchedule | CosineSchedule | LinearSchedule | GroupWarmup,
) -> None:
    name = type(schedule).__name__
    if schedule.warmup_iters < 0:
        raise ValueError(f"{name}: warmup_iters is {schedule.warmup_iters}, expected 0 or more")
    if not 0 <= schedule.warmup_factor <= 1:
        raise ValueError(f"{name}: warmup_factor is {schedule.warmup_factor}, not in 0..1")
