"""Losses: their sum, and their way to the log without waiting for the device."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """Sum, in float32, the entries with 'loss' in their name.

    Args:
        losses: what ``model.loss`` gave: name -> 0-d tensor.

    Raises:
        TypeError: a value is not a 0-d tensor.
        ValueError: there is no entry with 'loss' in its name.
    """
    wrong = [
        f"{name} is {tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}"
        for name, value in losses.items()
        if not isinstance(value, Tensor) or value.dim() != 0
    ]
    if wrong:
        raise TypeError(f"model.loss must give 0-d tensors (shape ()): {'; '.join(wrong)}")
    parts = [value.float() for name, value in losses.items() if "loss" in name]
    if not parts:
        raise ValueError(
            "model.loss gave nothing to minimise: no name contains 'loss' among "
            f"{', '.join(losses) or 'no entries at all'}"
        )
    return torch.stack(parts).sum()


@dataclass
class _StepValues:
    """The scalars of one step, being copied to the host."""

    iteration: int
    image_ids: list[int]
    names: list[str]
    values: Tensor  # (names,), float32, on the host once `copied` has passed
    copied: torch.cuda.Event | None


class Progress:
    """Averages of what the steps of one log interval gave, and the guard against a bad step.

    Values are read one step late. The copy of step t's values to pinned memory is queued behind
    its update; the host reads it when forward and backward of step t+1 are queued too, so it waits
    at most for step t, and the device always has work. Hence a step that is not finite is noticed
    when its own update is done, but not yet the next one. That is soon enough: the trainer calls
    :meth:`flush`, which waits for the newest step, before it validates or writes a checkpoint, so
    neither ever sees the weights after a bad step.

    Args:
        skips_overflow: a gradient norm that is not finite is counted (``skipped_steps``) instead
            of being an error, because the fp16 scaler leaves such a step out.
    """

    def __init__(self, skips_overflow: bool = False):
        self.skips_overflow = skips_overflow
        self._pending: _StepValues | None = None
        self._start_interval()

    def push(self, scalars: dict[str, Tensor], iteration: int, image_ids: list[int]) -> None:
        """Queue the copy of a step's 0-d tensors; the previous step's must have been taken."""
        assert self._pending is None, "flush() comes before the next push()"
        stacked = torch.stack([value.detach().float() for value in scalars.values()])
        on_cuda = stacked.is_cuda
        values = stacked.to("cpu", non_blocking=on_cuda)
        copied = torch.cuda.Event() if on_cuda else None
        if copied is not None:
            copied.record()
        self._pending = _StepValues(iteration, image_ids, list(scalars), values, copied)

    def flush(self) -> None:
        """Take over the values of the last pushed step, waiting for that step if need be.

        Raises:
            FloatingPointError: a loss or the gradient norm of that step is not finite.
        """
        step, self._pending = self._pending, None
        if step is None:
            return
        if step.copied is not None:
            step.copied.synchronize()
        values = dict(zip(step.names, step.values.tolist(), strict=True))
        if self.skips_overflow and not math.isfinite(values.get("grad_norm", 0.0)):
            del values["grad_norm"]
            self._skipped += 1
        _check_finite(values, step.iteration, step.image_ids)
        for name, value in values.items():
            self._sums[name] += value
            self._counts[name] += 1

    def add_time(self, seconds: float, waiting: float) -> None:
        """Count an iteration's duration, and how much of it went into waiting for data."""
        self._seconds += seconds
        self._waiting += waiting
        self._timed += 1

    def take(self) -> dict[str, float]:
        """The interval's averages and timings, and start the next interval."""
        started = perf_counter()
        self.flush()
        self._seconds += perf_counter() - started
        averages = {name: self._sums[name] / self._counts[name] for name in self._sums}
        averages["time"] = self._seconds / max(self._timed, 1)
        averages["data_time_share"] = self._waiting / max(self._seconds, 1e-9)
        if self.skips_overflow:
            averages["skipped_steps"] = self._skipped
        self._start_interval()
        return averages

    def state_dict(self) -> dict:
        """The sums so far, so that a resumed run logs the same averages; times start anew."""
        counts = dict(self._counts)
        return {"sums": dict(self._sums), "counts": counts, "skipped_steps": self._skipped}

    def load_state_dict(self, state: dict) -> None:
        """Take back what :meth:`state_dict` returned."""
        self._sums.update(state["sums"])
        self._counts.update(state["counts"])
        self._skipped = state["skipped_steps"]

    def _start_interval(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._skipped = 0
        self._seconds = self._waiting = 0.0
        self._timed = 0


def _check_finite(values: dict[str, float], iteration: int, image_ids: list[int]) -> None:
    guarded = (name for name in values if "loss" in name or name == "grad_norm")
    bad = [name for name in guarded if not math.isfinite(values[name])]
    if not bad:
        return
    listed = ", ".join(f"{name} {value:g}" for name, value in values.items())
    raise FloatingPointError(
        f"{', '.join(bad)} not finite at iteration {iteration} (counted from 0): {listed}; "
        f"image ids {', '.join(map(str, image_ids))}. No checkpoint was written after this step. "
        "A lower learning rate, a longer warm-up or clip_grad_norm may help; check the "
        "annotations of these images"
    )
