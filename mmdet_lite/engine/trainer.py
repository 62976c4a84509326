"""The training loop.

An iteration is one batch; ``accumulate`` iterations make one optimizer step. Everything that an
iteration depends on is either a function of its number or in the checkpoint, so a resumed run
continues bit for bit. All processes run the same loop, agree in every step on what follows from
it, and the main one writes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from math import inf, nan
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mmdet_lite.engine.checkpoint_writer import CheckpointWriter
from mmdet_lite.engine.compiled_regions import CompiledRegions
from mmdet_lite.engine.distributed import (
    copy_buffers_from_main,
    from_main,
    is_main,
    max_over_processes,
    mean_over_processes,
    rank,
    wait_for_all,
)
from mmdet_lite.engine.hooks import Hook
from mmdet_lite.engine.log import RunLog, peak_memory_mb
from mmdet_lite.engine.memory import explain_out_of_memory
from mmdet_lite.engine.nonfinite import NonFiniteGuard, StepValues
from mmdet_lite.engine.parallel import ParallelModel
from mmdet_lite.engine.prefetch import Prefetcher
from mmdet_lite.engine.progress import HostCopy, Progress, total_loss
from mmdet_lite.engine.randomness import seed_step, use_deterministic_algorithms
from mmdet_lite.engine.run_data import RunData
from mmdet_lite.engine.run_state import load_run_state, run_state
from mmdet_lite.engine.schedule import Schedule
from mmdet_lite.engine.settings import AUTOCAST_DTYPES, TrainSettings
from mmdet_lite.engine.signals import Preempted, StopRequested, StopSignals
from mmdet_lite.engine.status_line import Status
from mmdet_lite.engine.update import WeightUpdate
from mmdet_lite.engine.watchdog import Watchdog
from mmdet_lite.structures.samples import Batch

logger = logging.getLogger(__name__)

_NOTHING_TO_FIND = -1.0  # COCO's value of a metric whose ground truth has no such objects
_NO_BEST = (
    "no checkpoint is kept as the best: %s is -1, as the validation's ground truth has no such "
    "objects. Check the annotations of val_data and its metainfo.classes, or choose another metric "
    "than %s by train.best_metric"
)


class Trainer:
    """Trains a model, validates it and writes checkpoints.

    Hooks may read ``iteration`` (finished iterations), ``epoch`` (finished epochs),
    ``max_iterations``, ``model``, ``optimizer``, ``ema``, ``log``, ``work_dir``, ``metrics`` (of
    the last validation) and ``best``, and may call :meth:`stop`.

    Args:
        model: on its device. In training mode ``model(batch)`` gives a dict of 0-d tensors; those
            with 'loss' in their name are summed and minimised, the others only logged.
        optimizer: over the model's trainable parameters.
        schedule: the learning rate's factor as a function of the iteration.
        data: training batches and evaluation.
        settings: length, intervals, precision and so on.
        log: where the run is recorded; its folder receives the checkpoints.
        hooks: users' own code, called in this order.
        meta: plain values stored in each checkpoint (classes, config text, versions).
        seed: of what is drawn from the global generators in a step.
        timeout: seconds until a run of several processes that does not go on is ended.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        schedule: Schedule,
        data: RunData,
        settings: TrainSettings,
        log: RunLog,
        hooks: Sequence[Hook] = (),
        meta: dict | None = None,
        seed: int = 0,
        timeout: float = 1800,
    ):
        if settings.deterministic:
            use_deterministic_algorithms()
        self.device = next(model.parameters()).device
        model = model.to(memory_format=settings.memory_format(self.device))
        data.check_metric(settings.best_metric, "train.best_metric")
        self.model = model
        self.optimizer = optimizer
        self.data = data
        self.settings = settings
        self.log = log
        self.work_dir = log.work_dir
        self.hooks = list(hooks)
        self.meta = meta or {}
        self.seed = seed
        self.iteration = 0
        self.lr = 0.0  # of the step that ran last
        self.metrics: dict[str, float] = {}
        self.validated = 0  # the iteration of the last validation
        self.forget_best()
        self._has_told_no_best = False
        self.update = WeightUpdate(model, optimizer, schedule, settings, data.iterations_per_epoch)
        self.max_iterations = self.update.max_iterations
        self.ema = self.update.ema
        self.progress = Progress()
        self.guard = NonFiniteGuard(
            model, settings.on_nonfinite, settings.max_skips, self.work_dir, self.meta, seed
        )
        self.compiled = CompiledRegions(model, settings.compile) if settings.compile else None
        self._parallel = ParallelModel(model)
        self._signals = StopSignals()
        self._watchdog = Watchdog(timeout)
        self._writer = CheckpointWriter(settings.keep_last)
        self._saved = 0  # the iteration of the last checkpoint
        self._stopped = False  # by a hook
        self._preempted = False  # by a signal, to any of the processes
        self._leave_out = False  # the update that is being accumulated

    @property
    def epoch(self) -> int:
        """Finished epochs; during a step, the index of the epoch that it belongs to."""
        return self.iteration // self.data.iterations_per_epoch

    @property
    def is_finished(self) -> bool:
        """Whether the last iteration is done, or a hook has stopped the run (after an update)."""
        stops = self._stopped and self.update.is_due(self.iteration)
        return stops or self.iteration >= self.max_iterations

    def stop(self, reason: str) -> None:
        """End the run after the current iteration, with a validation and a checkpoint.

        Of several processes all must call it in the same iteration.
        """
        logger.info("stopping the run: %s", reason)
        self._stopped = True

    def forget_best(self) -> None:
        """Let the next validation be the best so far, whatever it comes to."""
        self.best = {"metric": "", "value": -inf, "iteration": 0}

    def resume(self, path: str | Path) -> None:
        """Continue the run that wrote a checkpoint, bit for bit.

        Args:
            path: a checkpoint of a run with the same model, optimizer and settings.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file cannot be read safely.
            ValueError: it does not hold a run, or one that differs from this one.
        """
        load_run_state(self, path)
        self._saved = self.iteration
        logger.info("resumed from %s at %s", path, self._position())

    def train(self) -> dict[str, float]:
        """Train from the current iteration to the end.

        Returns:
            The metrics of the last validation.

        Raises:
            FloatingPointError: a loss or gradient is not finite; names losses and images.
            MemoryError: the device's memory is too small; names the batch.
            OSError: the last checkpoint could not be written.
            Preempted: SIGTERM or SIGUSR1 came; the run is saved.
            TypeError: the model gave something else than 0-d tensors.
            ValueError: the model gave no loss, or the evaluation not the ``best_metric``.
        """
        self.model.train()
        try:
            with self._signals, self._watchdog, self._writer:
                self._call_hooks("before_train")
                self._run()
                self._enter("saving")
                self._writer.finish()
                self._call_hooks("after_train")
                wait_for_all()
        except KeyboardInterrupt:
            self._say_where_it_continues()
            raise
        return self.metrics

    def _run(self) -> None:
        try:
            self._run_to_the_end()
        except StopRequested:
            self._leave()

    def _run_to_the_end(self) -> None:
        if 0 < self.iteration != self.validated and self._validation_is_due():
            self._validate_and_save()  # which the run that was resumed had not come to
        if self.is_finished:
            return
        self._enter("loading a batch")
        batches = Prefetcher(iter(self.data.make_loader(self.iteration)), self.device)
        while not self.is_finished:
            self._iterate(batches)
            self._keep_records()

    def _iterate(self, batches: Iterator[Batch]) -> None:
        started = perf_counter()
        self._enter("loading a batch")
        try:
            batch = next(batches)
        except StopIteration:
            raise RuntimeError(
                f"the training loader ended at iteration {self.iteration}, before the run's "
                f"{self.max_iterations}; it must start anew by itself when an epoch ends"
            ) from None
        waited = perf_counter() - started
        with explain_out_of_memory(batch):
            self._step(batch)
        self.iteration += 1
        self.progress.add_time(perf_counter() - started, waited)
        self._show_status()

    def _step(self, batch: Batch) -> None:
        seed_step(self.seed, self.iteration, rank())
        self._call_hooks("before_step", batch)
        self._parallel.settle(lambda: self._forward_and_backward(batch))
        self.lr = self.update.lr
        self.guard.before_step()
        is_update = self.update.is_due(self.iteration + 1)
        with nullcontext() if is_update else self._parallel.without_sync():
            self._enter("forward")
            losses = self._forward(batch)
            total = total_loss(losses)
            numbers = HostCopy({**losses, "loss": total})
            self._enter("backward")
            self.update.backward(total, self.iteration)
        values = numbers.read()
        step = StepValues(batch, self.iteration, values, self.settings.precision)
        averages, is_bad = self._agree(step)
        if is_update and not is_bad and not self._leave_out:
            norm = values["grad_norm"] = self.update.gradient_norm()
            is_overflow = self.update.is_overflow(norm)
            self.guard.skipped += is_overflow  # the update will leave it out by itself
            is_bad = not math.isfinite(norm) and not is_overflow
            averages |= {"grad_norm": norm} if math.isfinite(norm) else {}
        self._conclude(step, averages, is_bad, is_update)
        self._call_hooks("after_step", {name: value.detach() for name, value in losses.items()})

    def _forward(self, batch: Batch) -> dict[str, torch.Tensor]:
        dtype = AUTOCAST_DTYPES[self.settings.precision]
        compiled = (
            nullcontext() if self.compiled is None else self.compiled.step(batch.images.shape)
        )
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None), compiled:
            return self._parallel(batch)

    def _forward_and_backward(self, batch: Batch) -> None:
        self._enter("forward")
        total = total_loss(self._forward(batch))
        self._enter("backward")
        total.backward()

    def _agree(self, step: StepValues) -> tuple[dict[str, float], bool]:
        """The losses' means over the processes, and whether one of them is bad anywhere.

        Also tells everyone whether a signal came. It goes over the host while the device computes.
        """
        self._enter("exchanging losses")
        flags = [self._signals.received is not None, bool(step.not_finite())]
        stop, bad, *means = mean_over_processes([*flags, *step.values.values()])
        self._preempted |= stop > 0
        return dict(zip(step.values, means, strict=True)), bad > 0

    def _conclude(
        self, step: StepValues, averages: dict[str, float], is_bad: bool, is_update: bool
    ) -> None:
        """Change the weights, or leave the step out."""
        self._enter("update")
        if is_bad:
            self._reject(step)
            self._leave_out = True
        else:
            self.progress.add(averages)
        if is_update and self._leave_out:
            self.update.leave_out()
        elif is_update:
            self.update.apply()
            self.guard.accept()
        self._leave_out &= not is_update

    def _reject(self, step: StepValues) -> None:
        """Skip a bad step, or save what was reached before it and end the run."""
        try:
            self.guard.reject(step)
        except FloatingPointError:
            is_sound = all(bool(v.isfinite().all()) for v in self.model.state_dict().values())
            is_new = self.iteration != self._saved and self.update.is_due(self.iteration)
            if is_new and max_over_processes([not is_sound])[0] == 0:
                self._save(self.work_dir / self._checkpoint_name())
                self._writer.wait()
            wait_for_all()  # nobody leaves, and with that ends the others, before it is written
            raise

    def _keep_records(self) -> None:
        """What may be due between two steps: log line, epoch's end, validation, checkpoint."""
        if self.iteration % self.settings.log_interval == 0 or self.is_finished:
            self._log_interval()
        if self.iteration % self.data.iterations_per_epoch == 0:
            self._call_hooks("after_epoch")
        if not self.update.is_due(self.iteration):
            return  # weights, optimizer and average belong together only after an update
        if self._preempted:
            raise StopRequested
        self._validate_and_save()

    def _validate_and_save(self) -> None:
        """Do what is due. A checkpoint is written before the validation, so that a kill during it
        loses nothing, and once more after it, with its metrics."""
        saves = self._is_due(self.settings.checkpoint_interval)
        is_best = False
        if self._validation_is_due():
            if saves:
                self._save(self.work_dir / self._checkpoint_name())
            is_best = self._validate()
        if saves or self.is_finished:  # which the validation's hooks may have decided
            self._save(self.work_dir / self._checkpoint_name(), is_best)
        elif is_best:
            self._save(self._best_path())

    def _validation_is_due(self) -> bool:
        return self.data.evaluate is not None and self._is_due(self.settings.val_interval)

    def _is_due(self, interval: int) -> bool:
        """Whether a multiple of the interval was passed since the update before this one."""
        period = interval * self.settings.unit(self.data.iterations_per_epoch)
        before = (self.iteration - 1) // self.settings.accumulate * self.settings.accumulate
        return self.iteration // period > before // period or self.is_finished

    def _log_interval(self) -> None:
        self._enter("logging")
        averages = self.progress.take()
        record = {
            "mode": "train",
            **self._place(),
            "lr": self.lr,
            "loss": averages.pop("loss", nan),
        }
        record |= {**averages, "memory_mb": peak_memory_mb(self.device)}
        if self.settings.on_nonfinite == "skip" or self.settings.precision == "fp16":
            record["skipped_steps"] = self.guard.skipped
        eta_seconds = record["time"] * (self.max_iterations - self.iteration)
        self.log.train(record, self._position(), eta_seconds)

    def _validate(self) -> bool:
        """Measure the weights that will be used (the averaged ones); say whether they are best.

        Raises:
            StopRequested: a signal came to one of the processes.
        """
        model = self.model if self.ema is None else self.ema.module
        self._enter("validation")
        self._show_status("validation")
        copy_buffers_from_main(model)
        model.eval()
        try:
            with torch.no_grad():
                metrics = self.data.evaluate(model, self._continue_validation)
        finally:
            self.model.train()
        self.metrics = {name: float(value) for name, value in metrics.items()}
        self.validated = self.iteration
        self.log.val({"mode": "val", **self._place(), **self.metrics})
        is_best = self._note_best()
        self._show_status()
        self._call_hooks("after_validation", self.metrics)
        return is_best

    def _continue_validation(self, phase: str) -> None:
        self._enter(phase)
        self._show_status(phase)
        if phase == "validation":
            self._preempted |= max_over_processes([self._signals.received is not None])[0] > 0
            if self._preempted:
                raise StopRequested

    def _show_status(self, phase: str = "") -> None:
        if not self.log.has_status_line:
            return
        name = self.best["metric"]
        metric = (name, self.metrics[name], self.best["value"]) if name in self.metrics else None
        done, total, pace = self.iteration, self.max_iterations, self.progress.pace
        loss = self.progress.average("loss")
        self.log.status(Status(done, total, self._position(), pace, loss, metric, phase))

    def _note_best(self) -> bool:
        name = self.settings.best_metric or next(iter(self.metrics), None)
        if name not in self.metrics:
            raise ValueError(
                f"best_metric {name!r} is not among the metrics of the evaluation: "
                f"{', '.join(self.metrics) or 'it gave none'}"
            )
        if self.metrics[name] == _NOTHING_TO_FIND:
            if not self._has_told_no_best:
                self._has_told_no_best = True
                logger.warning(_NO_BEST, name, name)
            return False
        is_lost = from_main(self._writer.best_is_lost)  # it could not be written
        highest = self.best["value"] if self.best["metric"] == name and not is_lost else -inf
        is_best = self.metrics[name] > highest  # never so for NaN
        if is_best:
            self.best = {"metric": name, "value": self.metrics[name], "iteration": self.iteration}
        return is_best

    def _save(self, path: Path, is_best: bool = False) -> None:
        self._enter("saving")
        self._saved = self.iteration
        state = run_state(self)
        if is_main():
            self._writer.save(state, path, self._best_path() if is_best else None)

    def _leave(self) -> None:
        """Save and end the run, as a signal asked for."""
        path = self.work_dir / self._checkpoint_name()
        self._save(path)
        self._writer.finish()
        wait_for_all()
        logger.warning(
            "%s: saved %s and leaving; start again with --resume",
            *(self._signals.received or "a signal to another process", path.name),
        )
        raise Preempted

    def _say_where_it_continues(self) -> None:
        written = any(self.work_dir.glob("*.pth"))
        logger.warning(
            "interrupted at iteration %d of %d; %s",
            self.iteration,
            self.max_iterations,
            f"a resumed run continues from the last checkpoint in {self.work_dir}"
            if written
            else "no checkpoint had been written yet (train.checkpoint_interval)",
        )

    def _enter(self, phase: str) -> None:
        self._watchdog.phase(phase, self.iteration)

    def _best_path(self) -> Path:
        return self.work_dir / f"best_{self.best['metric'].replace('/', '_')}.pth"

    def _checkpoint_name(self) -> str:
        """Epochs name it if they count the run; with accumulation it may come a little after."""
        behind = self.iteration % self.data.iterations_per_epoch
        if self.settings.max_epochs and self.epoch and behind < self.settings.accumulate:
            return f"epoch_{self.epoch}.pth"
        return f"iter_{self.iteration}.pth"

    def _place(self) -> dict[str, int]:
        """Where the last finished step was; epochs are counted from 1 for people."""
        epoch = (self.iteration - 1) // self.data.iterations_per_epoch + 1
        return {"iter": self.iteration, "epoch": epoch}

    def _position(self) -> str:
        if self.settings.max_iters:
            return f"iter {self.iteration}/{self.max_iterations}"
        length, epoch = self.data.iterations_per_epoch, self._place()["epoch"]
        done = self.iteration - (epoch - 1) * length
        return f"epoch {epoch}/{self.settings.max_epochs}  iter {done}/{length}"

    def _call_hooks(self, moment: str, *arguments: Any) -> None:
        for hook in self.hooks:
            getattr(hook, moment)(self, *arguments)
