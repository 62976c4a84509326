"""Exponential moving average of the weights."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class ExponentialMovingAverage(AveragedModel):
    """A second set of weights (``.module``) that follows the model's, buffers included.

    The decay ramps up, ``decay * (1 - exp(-updates / ramp_up))``, so that the average forgets the
    random start quickly.

    Args:
        model: the model to follow.
        decay: share of the average kept at an update, once ramped up.
        ramp_up: updates over which the decay grows; 0 for none.

    Raises:
        ValueError: ``decay`` or ``ramp_up`` is out of its range.
    """

    def __init__(self, model: nn.Module, decay: float = 0.9998, ramp_up: int = 2000):
        if not 0 <= decay < 1:
            raise ValueError(f"ema: decay is {decay}, expected 0 <= decay < 1")
        if ramp_up < 0:
            raise ValueError(f"ema: ramp_up is {ramp_up}, expected 0 or more updates")
        super().__init__(model, use_buffers=True)
        self.decay = decay
        self.ramp_up = ramp_up
        self.module.eval()

    def decay_at(self, update: int) -> float:
        """The decay of an update; the first is number 1."""
        if self.ramp_up == 0:
            return self.decay
        return self.decay * (1 - math.exp(-update / self.ramp_up))

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Move the average towards ``model``.

        Overridden because the base class copies its counter to the device at every update, which
        waits for the device.
        """
        self.n_averaged += 1  # stays on the host, where reading it waits for nothing
        weight = 1 - self.decay_at(int(self.n_averaged))
        averages = [*self.module.parameters(), *self.module.buffers()]
        values = [*model.parameters(), *model.buffers()]
        pairs = list(zip(averages, values, strict=True))
        floating = [pair for pair in pairs if pair[0].is_floating_point()]
        if floating:
            torch._foreach_lerp_(*map(list, zip(*floating, strict=True)), weight)
        for average, value in pairs:
            if not average.is_floating_point():
                average.copy_(value)
