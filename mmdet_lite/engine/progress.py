"""Losses: their sum, their way to the host, and their averages for the log."""

from __future__ import annotations

from collections import defaultdict
from math import nan

import torch
from torch import Tensor


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """Sum, in float32, the entries with 'loss' in their name.

    Args:
        losses: what the model gave in training mode: name -> 0-d tensor.

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
        raise TypeError(f"the model must give 0-d tensors (shape ()) as losses: {'; '.join(wrong)}")
    parts = [value.float() for name, value in losses.items() if "loss" in name]
    if not parts:
        raise ValueError(
            "the model gave nothing to minimise: no name contains 'loss' among "
            f"{', '.join(losses) or 'no entries at all'}"
        )
    return torch.stack(parts).sum()


class HostCopy:
    """0-d tensors on their way to the host.

    The copy is queued at once and waited for by :meth:`read`; what the device is given to do in
    between is not waited for.

    Args:
        scalars: name -> 0-d tensor.
    """

    def __init__(self, scalars: dict[str, Tensor]):
        self._names = list(scalars)
        stacked = torch.stack([value.detach().float() for value in scalars.values()])
        self._values = stacked.to("cpu", non_blocking=stacked.is_cuda)
        self._copied = torch.cuda.Event() if stacked.is_cuda else None
        if self._copied is not None:
            self._copied.record()

    def read(self) -> dict[str, float]:
        """The values, once they are there."""
        if self._copied is not None:
            self._copied.synchronize()
        return dict(zip(self._names, self._values.tolist(), strict=True))


class Progress:
    """Averages of the losses since the last log line, and how the time was spent.

    Attributes:
        pace: seconds an iteration takes at present; 0 before the first.
    """

    def __init__(self):
        self.pace = 0.0
        self._start_interval()

    def add(self, values: dict[str, float]) -> None:
        """Count one step's losses and other numbers."""
        for name, value in values.items():
            self._sums[name] += value
            self._counts[name] += 1

    def add_time(self, seconds: float, waiting: float) -> None:
        """Count an iteration's duration, and how much of it went into waiting for data."""
        self.pace = 0.9 * self.pace + 0.1 * seconds if self.pace else seconds
        self._seconds += seconds
        self._waiting += waiting
        self._timed += 1

    def average(self, name: str) -> float:
        """The interval's average of one number so far; NaN: there is none."""
        return self._sums[name] / self._counts[name] if name in self._sums else nan

    def take(self) -> dict[str, float]:
        """The interval's averages and timings, and start the next interval."""
        averages = {name: self._sums[name] / self._counts[name] for name in self._sums}
        averages["time"] = self._seconds / max(self._timed, 1)
        averages["data_time_share"] = self._waiting / max(self._seconds, 1e-9)
        self._start_interval()
        return averages

    def state_dict(self) -> dict:
        """The sums so far, so that a resumed run logs the same averages; times start anew."""
        return {"sums": dict(self._sums), "counts": dict(self._counts)}

    def load_state_dict(self, state: dict) -> None:
        """Take back what :meth:`state_dict` returned."""
        self._sums.update(state["sums"])
        self._counts.update(state["counts"])

    def _start_interval(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._counts: dict[str, int] = defaultdict(int)
        self._seconds = self._waiting = 0.0
        self._timed = 0
