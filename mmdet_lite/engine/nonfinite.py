"""Steps whose loss or gradient is not finite: kept out of the weights, and reported."""

from __future__ import annotations

import logging
import math
import shlex
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from mmdet_lite.engine.batch_dump import save_batch
from mmdet_lite.engine.checkpoint import save_checkpoint
from mmdet_lite.engine.distributed import gather_to_main, is_main, rank, wait_for_all, world_size
from mmdet_lite.structures.samples import Batch

logger = logging.getLogger(__name__)


@dataclass
class StepValues:
    """What a step came to, on this process.

    Attributes:
        batch: the batch, on its device.
        iteration: the step's number, from 0.
        values: losses and, if the step was to update the weights, ``grad_norm``.
        precision: what it was computed in.
    """

    batch: Batch
    iteration: int
    values: dict[str, float]
    precision: str

    def not_finite(self) -> list[str]:
        """The names of the losses and gradients that are not finite."""
        guarded = (name for name in self.values if "loss" in name or name == "grad_norm")
        return [name for name in guarded if not math.isfinite(self.values[name])]

    def describe(self) -> str:
        """All values, and the images."""
        listed = ", ".join(f"{name} {value:g}" for name, value in self.values.items())
        ids = ", ".join(str(meta.image_id) for meta in self.batch.metas)
        return f"{listed}; image ids {ids}"


class NonFiniteGuard:
    """Decides what follows from a step that is not finite; all processes call it together.

    Such a step is found before the optimizer sees its gradients. What it has changed already, the
    running statistics of batch normalisation and other buffers, is put back.

    Args:
        model: the model, unwrapped.
        mode: 'stop' or 'skip'.
        max_skips: 'skip' stops too at this many such steps in a row.
        work_dir: the run's folder, which receives the batches of the step that ended it.
        meta: plain values stored beside them.
        seed: the run's.
    """

    def __init__(
        self,
        model: nn.Module,
        mode: str,
        max_skips: int,
        work_dir: Path,
        meta: dict,
        seed: int,
    ):
        self.model = model
        self.max_in_a_row = 1 if mode == "stop" else max_skips
        self.work_dir = work_dir
        self.meta = meta
        self.seed = seed
        self.skipped = 0  # in the whole run
        self.in_a_row = 0
        self._kept: list[torch.Tensor] = []

    def before_step(self) -> None:
        """Remember what a forward pass changes."""
        self._kept = [statistic.clone() for statistic in self._statistics()]

    def restore(self) -> None:
        """Put that back."""
        if self._kept:
            torch._foreach_copy_(self._statistics(), self._kept)

    def accept(self) -> None:
        """Note a good step."""
        self.in_a_row = 0

    def reject(self, step: StepValues) -> None:
        """Skip a bad step, with a warning, or end the run.

        Args:
            step: this process's part in it, which may itself be finite.

        Raises:
            FloatingPointError: the run ends; names the losses and images of all processes, the
                iteration, and how to replay it.
        """
        self.restore()
        bad = step.not_finite()
        report = f"rank {rank()}: " * (world_size() > 1) + step.describe() if bad else None
        reports = [line for line in gather_to_main(report) or () if line]
        title = (
            f"{', '.join(bad) or 'a loss of another process'} not finite at iteration "
            f"{step.iteration} (counted from 0)"
        )
        text = "\n".join([title, *(f"  {line}" for line in reports)])
        if self.in_a_row + 1 >= self.max_in_a_row:
            # not counted, as a resumed run repeats it
            raise FloatingPointError(f"{text}\n{self._leave_for_replay(step, bool(bad))}")
        self.skipped += 1
        self.in_a_row += 1
        if is_main():
            logger.warning("skipped a step: %s", text)

    def state_dict(self) -> dict:
        """The counters."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: dict) -> None:
        """Take back what :meth:`state_dict` returned."""
        self.skipped, self.in_a_row = state["skipped"], state["in_a_row"]

    def _statistics(self) -> list[torch.Tensor]:
        """The buffers of what trains; batch norms that are frozen do not."""
        layers = [module for module in self.model.modules() if module.training]
        return [buffer for layer in layers for buffer in layer.buffers(recurse=False)]

    def _leave_for_replay(self, step: StepValues, is_bad: bool) -> str:
        """Write the batches and the weights, and say how to replay the step."""
        folder = self.work_dir / f"nonfinite_iter_{step.iteration}"
        try:
            self._dump(step, is_bad, folder)
        except OSError as error:
            return f"The batch could not be written: {error}"
        finally:
            wait_for_all()  # nobody leaves, and with that ends the others, before all is written
        return self._advice(folder)

    def _dump(self, step: StepValues, is_bad: bool, folder: Path) -> None:
        """Leave the batch of every process whose part was bad, and the weights."""
        folder.mkdir(parents=True, exist_ok=True)
        if is_bad:
            info = {
                "iteration": step.iteration,
                "rank": rank(),
                "losses": step.values,
                "precision": step.precision,
                "reason": f"{', '.join(step.not_finite())} not finite",
                "seed": self.seed,
            }
            save_batch(folder / f"batch_rank_{rank()}.pth", step.batch, info)
        if is_main():
            weights = {"model": self.model.state_dict(), "meta": self.meta}
            save_checkpoint(weights, folder / "weights.pth")

    def _advice(self, folder: Path) -> str:
        repeated = f" {self.in_a_row + 1} times in a row" if self.in_a_row else ""
        batch = min(folder.glob("batch_rank_*.pth"), default=folder / "batch_rank_0.pth")
        files = shlex.join([str(self.work_dir / "config.py"), str(batch)])
        return (
            f"The step was left out{repeated}; the weights are those before it. To look into it:\n"
            f"  python tools/replay_batch.py {files}\n"
            "Check the annotations of these images. A lower learning rate, a longer warm-up or "
            "train.clip_grad_norm may help; train.on_nonfinite='skip' trains on without such steps"
        )
