"""From gradients to new weights: accumulation, loss scale, clipping, schedule and average."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from mmdet_lite.engine.ema import ExponentialMovingAverage
from mmdet_lite.engine.schedule import MomentumScheduler, Schedule, build_lr_scheduler
from mmdet_lite.engine.settings import TrainSettings


class WeightUpdate:
    """The optimizer and what surrounds it.

    Args:
        model: the model, unwrapped, on its device.
        optimizer: over the model's trainable parameters.
        schedule: the learning rate's factor as a function of the iteration, and maybe the momentum.
        settings: of the run.
        iterations_per_epoch: batches an epoch.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        settings: TrainSettings,
        iterations_per_epoch: int,
    ):
        self.model = model
        self.optimizer = optimizer
        self.accumulate = settings.accumulate
        self.clip_grad_norm = settings.clip_grad_norm
        self.max_iterations = settings.length * settings.unit(iterations_per_epoch)
        self.lr_scheduler = build_lr_scheduler(
            schedule, optimizer, self.max_iterations, iterations_per_epoch, settings.accumulate
        )
        self.momentum = MomentumScheduler(
            schedule, optimizer, iterations_per_epoch, settings.accumulate
        )
        device = next(model.parameters()).device
        self.scaler = torch.amp.GradScaler(device.type, enabled=settings.precision == "fp16")
        # steps that are left out, fp16's first ones for example, are no mistake
        warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler\.step")
        self.ema = None if settings.ema is None else ExponentialMovingAverage(model, **settings.ema)
        self._norm: Tensor | None = None
        self._is_finite = True

    @property
    def lr(self) -> float:
        """The learning rate of the next step, of the first parameter group."""
        return self.optimizer.param_groups[0]["lr"]

    def is_due(self, iterations: int) -> bool:
        """Whether the weights change at the end of this many iterations."""
        return iterations % self.accumulate == 0 or iterations == self.max_iterations

    def backward(self, total: Tensor, iteration: int) -> None:
        """Add the gradients of one batch (of ``accumulate``, or fewer at the end of the run)."""
        first = iteration - iteration % self.accumulate
        batches = min(self.accumulate, self.max_iterations - first)
        self.scaler.scale(total / batches).backward()

    def gradient_norm(self) -> float:
        """The norm of the gradients before clipping; waits for them to be there."""
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self._parameters() if p.grad is not None]
        self._norm = get_total_norm(gradients)
        norm = self._norm.item()
        self._is_finite = math.isfinite(norm)
        return norm

    def is_overflow(self, norm: float) -> bool:
        """Whether a norm means only that fp16's loss scale is too large, which will be lowered."""
        if math.isfinite(norm) or not self.scaler.is_enabled() or self.scaler.get_scale() <= 1:
            return False
        gradients = [p.grad for p in self._parameters() if p.grad is not None]
        # the scaler looks at the values: it would not leave out a sum of squares that overflows
        return not all(gradient.isfinite().all() for gradient in gradients)

    def apply(self) -> None:
        """Change the weights by the gradients whose norm was just taken."""
        if self.clip_grad_norm is not None:
            clip_grads_with_norm_(self._parameters(), self.clip_grad_norm, self._norm)
        if self._is_finite:
            # After an overflow the scaler would call a fused optimizer all the same, which changes
            # no weight then, but begins its momentum with what lies in memory.
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self._next()
        if self.ema is not None:
            self.ema.update_parameters(self.model)

    def leave_out(self) -> None:
        """Forget the gradients; the schedule goes on, as it follows the iterations."""
        if self._norm is not None:  # they were unscaled, which the scaler allows once an update
            self.scaler.update(self.scaler.get_scale())
        self._next()

    def _next(self) -> None:
        self.optimizer.zero_grad()
        self.lr_scheduler.step()
        self.momentum.set(self.lr_scheduler.last_epoch)
        self._norm = None

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]
