"""A hook that waits for a signal, and a loss whose gradient is not finite."""

from __future__ import annotations

import time

from torch import Tensor

from mmdet_lite.engine.hooks import Hook
from mmdet_lite.engine.trainer import Trainer
from mmdet_lite.models.losses.smooth_l1_loss import L1Loss
from mmdet_lite.registry import HOOKS, MODELS

_PATIENCE = 60  # seconds


@HOOKS.register_module()
class AwaitSignal(Hook):
    """Stays in a phase of an iteration until a signal has come from outside.

    Args:
        phase: as the trainer announces it to its watchdog.
        iteration: finished iterations.
        name: of the signal.
    """

    def __init__(self, phase: str, iteration: int, name: str):
        self.place = (phase, iteration)
        self.name = name

    def before_train(self, trainer: Trainer) -> None:
        enter = trainer._enter

        def enter_and_wait(phase: str) -> None:
            enter(phase)
            if (phase, trainer.iteration) == self.place:
                self._wait(trainer)

        trainer._enter = enter_and_wait

    def _wait(self, trainer: Trainer) -> None:
        deadline = time.monotonic() + _PATIENCE
        while trainer._signals.received != self.name:
            assert time.monotonic() < deadline, f"no {self.name} in {_PATIENCE} s"
            time.sleep(0.001)


@MODELS.register_module()
class RootLoss(L1Loss):
    """A user's mistake: weights before the root. Its slope at 0 is infinite, and NaN times 0."""

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor, avg_factor: Tensor | float
    ) -> Tensor:
        elements = ((pred.float() - target).abs() * weight[:, None]).sqrt()
        return self.loss_weight * elements.sum() / avg_factor
