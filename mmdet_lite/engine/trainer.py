"""The training loop.

An iteration is one batch; ``accumulate`` iterations make one optimizer step. Everything that an
iteration depends on is either a function of its number or in the checkpoint, so a resumed run
continues bit for bit.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from mmdet_lite.engine.checkpoint import keep_last, link_checkpoint, save_checkpoint
from mmdet_lite.engine.distributed import is_main, unwrap
from mmdet_lite.engine.ema import ExponentialMovingAverage
from mmdet_lite.engine.hooks import Hook
from mmdet_lite.engine.log import RunLog, peak_memory_mb
from mmdet_lite.engine.progress import Progress, total_loss
from mmdet_lite.engine.randomness import use_deterministic_algorithms
from mmdet_lite.engine.run_state import load_run_state, run_state
from mmdet_lite.engine.schedule import Schedule, build_lr_scheduler
from mmdet_lite.engine.settings import AUTOCAST_DTYPES, TrainSettings
from mmdet_lite.structures.samples import Batch, to_device

logger = logging.getLogger(__name__)


@dataclass
class RunData:
    """What the loop reads from.

    Attributes:
        make_loader: gives the endless stream of training batches from an iteration (from 0) on.
        iterations_per_epoch: batches in which every image is seen once.
        evaluate: gives a model's metrics on the validation data, the main one first; or None.
        metric_names: what ``evaluate`` will give, if that is known beforehand.
    """

    make_loader: Callable[[int], Iterable[Batch]]
    iterations_per_epoch: int
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None
    metric_names: Sequence[str] | None = None

    def check_metric(self, name: str | None, owner: str) -> None:
        """Refuse a metric that no validation will give, before there is anything to lose.

        Raises:
            ValueError: the names are known and ``name`` is not among them.
        """
        if name is not None and self.metric_names is not None and name not in self.metric_names:
            raise ValueError(
                f"{owner} is {name!r}, which is not among the metrics of the validation: "
                f"{', '.join(self.metric_names)}"
            )


class Trainer:
    """Trains a model, validates it and writes checkpoints.

    Hooks may read ``iteration`` (finished iterations), ``epoch`` (finished epochs),
    ``max_iterations``, ``model``, ``optimizer``, ``ema``, ``log``, ``work_dir``, ``metrics`` (of
    the last validation) and ``best``, and may call :meth:`stop`.

    Args:
        model: on its device. ``model.loss(batch)`` gives a dict of 0-d tensors; those with 'loss'
            in their name are summed and minimised, the others only logged.
        optimizer: over the model's trainable parameters.
        schedule: the learning rate's factor as a function of the iteration.
        data: training batches and evaluation.
        settings: length, intervals, precision and so on.
        log: where the run is recorded; its folder receives the checkpoints.
        hooks: users' own code, called in this order.
        meta: plain values stored in each checkpoint (classes, config text, versions, seed).
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
    ):
        if settings.deterministic:
            use_deterministic_algorithms()
        if settings.channels_last:
            model = model.to(memory_format=torch.channels_last)
        data.check_metric(settings.best_metric, "train.best_metric")
        self.model = model
        self.optimizer = optimizer
        self.data = data
        self.settings = settings
        self.log = log
        self.work_dir = log.work_dir
        self.hooks = list(hooks)
        self.meta = meta or {}
        self.device = next(model.parameters()).device
        self.iteration = 0
        self.lr = 0.0  # of the step that ran last
        self.metrics: dict[str, float] = {}
        self.best = {"metric": "", "value": -inf, "iteration": 0}
        self.max_iterations = settings.length * settings.unit(data.iterations_per_epoch)
        self.lr_scheduler = build_lr_scheduler(
            schedule, optimizer, self.max_iterations, data.iterations_per_epoch, settings.accumulate
        )
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=settings.precision == "fp16")
        if self.scaler.is_enabled():  # it leaves out steps, often the first; nothing is wrong
            warnings.filterwarnings("ignore", message=r"Detected call of `lr_scheduler\.step")
        self.progress = Progress(skips_overflow=self.scaler.is_enabled())
        self.ema = None
        if settings.ema is not None:
            self.ema = ExponentialMovingAverage(unwrap(model), **settings.ema)
        self._stopped = False

    @property
    def epoch(self) -> int:
        """Finished epochs; during a step, the index of the epoch that it belongs to."""
        return self.iteration // self.data.iterations_per_epoch

    @property
    def is_finished(self) -> bool:
        """Whether the last iteration is done, or a hook has stopped the run."""
        return self._stopped or self.iteration >= self.max_iterations

    def stop(self, reason: str) -> None:
        """End the run after the current iteration, with a validation and a checkpoint."""
        logger.info("stopping the run: %s", reason)
        self._stopped = True

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
        logger.info("resumed from %s at %s", path, self._position())

    def train(self) -> dict[str, float]:
        """Train from the current iteration to the end.

        Returns:
            The metrics of the last validation.

        Raises:
            FloatingPointError: a loss or gradient is not finite; names losses and images.
            TypeError: ``model.loss`` gave something else than 0-d tensors.
            ValueError: the model gave no loss, or the evaluation not the ``best_metric``.
        """
        self.model.train()
        self._call_hooks("before_train")
        batches = iter(()) if self.is_finished else iter(self.data.make_loader(self.iteration))
        try:
            while not self.is_finished:
                self._iterate(batches)
                self._keep_records()
        except KeyboardInterrupt:
            written = any(self.work_dir.glob("*.pth"))
            logger.warning(
                "interrupted at iteration %d of %d; %s",
                self.iteration,
                self.max_iterations,
                f"a resumed run continues from the last checkpoint in {self.work_dir}"
                if written
                else "no checkpoint had been written yet (train.checkpoint_interval)",
            )
            raise
        self._call_hooks("after_train")
        return self.metrics

    def _iterate(self, batches: Iterator[Batch]) -> None:
        started = perf_counter()
        try:
            batch = next(batches)
        except StopIteration:
            raise RuntimeError(
                f"the training loader ended at iteration {self.iteration}, before the run's "
                f"{self.max_iterations}; it must start anew by itself when an epoch ends"
            ) from None
        waited = perf_counter() - started
        self._step(to_device(batch, self.device))
        self.iteration += 1
        self.progress.add_time(perf_counter() - started, waited)

    def _step(self, batch: Batch) -> None:
        self._call_hooks("before_step", batch)
        self.lr = self.optimizer.param_groups[0]["lr"]
        dtype = AUTOCAST_DTYPES[self.settings.precision]
        with torch.autocast(self.device.type, dtype, enabled=dtype is not None):
            losses = self.model.loss(batch)
        total = total_loss(losses)
        self.scaler.scale(total / self._batches_in_update()).backward()
        self.progress.flush()  # looks at the step before this one; Progress says why
        losses = {name: value.detach() for name, value in losses.items()}
        scalars = {**losses, "loss": total}
        done = self.iteration + 1
        if done % self.settings.accumulate == 0 or done == self.max_iterations:
            scalars["grad_norm"] = self._update()
        self.progress.push(scalars, self.iteration, [meta.image_id for meta in batch.metas])
        self._call_hooks("after_step", losses)

    def _update(self) -> Tensor:
        """One optimizer step with the accumulated gradients; returns their norm before clipping."""
        self.scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.settings.clip_grad_norm is not None:
            clip_grads_with_norm_(parameters, self.settings.clip_grad_norm, norm)
        self.scaler.step(self.optimizer)  # with fp16, waits for the device to see if it must skip
        self.scaler.update()
        self.optimizer.zero_grad()
        self.lr_scheduler.step()
        if self.ema is not None:
            self.ema.update_parameters(unwrap(self.model))
        return norm

    def _batches_in_update(self) -> int:
        """``accumulate``, or less in the last update of the run."""
        first = self.iteration - self.iteration % self.settings.accumulate
        return min(self.settings.accumulate, self.max_iterations - first)

    def _keep_records(self) -> None:
        """What may be due between two steps: log line, epoch's end, validation, checkpoint."""
        if self.iteration % self.settings.log_interval == 0 or self.is_finished:
            self._log_interval()
        if self.iteration % self.data.iterations_per_epoch == 0:
            self._call_hooks("after_epoch")
        is_best = self._is_due(self.settings.val_interval) and self._validate()
        if self._is_due(self.settings.checkpoint_interval):
            self._save(self.work_dir / self._checkpoint_name(), is_best)
        elif is_best:
            self._save(self._best_path(), False)

    def _is_due(self, interval: int) -> bool:
        period = interval * self.settings.unit(self.data.iterations_per_epoch)
        return self.iteration % period == 0 or self.is_finished

    def _log_interval(self) -> None:
        averages = self.progress.take()
        record = {"mode": "train", **self._place(), "lr": self.lr, "loss": averages.pop("loss")}
        record |= {**averages, "memory_mb": peak_memory_mb(self.device)}
        eta_seconds = record["time"] * (self.max_iterations - self.iteration)
        self.log.train(record, self._position(), eta_seconds)

    def _validate(self) -> bool:
        """Measure the weights that will be used (the averaged ones); say whether they are best."""
        if self.data.evaluate is None:
            return False
        self.progress.flush()
        model = unwrap(self.model) if self.ema is None else self.ema.module
        model.eval()
        with torch.no_grad():
            metrics = self.data.evaluate(model)
        self.model.train()
        self.metrics = {name: float(value) for name, value in metrics.items()}
        self.log.val({"mode": "val", **self._place(), **self.metrics})
        is_best = self._note_best()
        self._call_hooks("after_validation", self.metrics)
        return is_best

    def _note_best(self) -> bool:
        name = self.settings.best_metric or next(iter(self.metrics), None)
        if name not in self.metrics:
            raise ValueError(
                f"best_metric {name!r} is not among the metrics of the evaluation: "
                f"{', '.join(self.metrics) or 'it gave none'}"
            )
        highest = self.best["value"] if self.best["metric"] == name else -inf
        is_best = self.metrics[name] > highest  # never so for NaN
        if is_best:
            self.best = {"metric": name, "value": self.metrics[name], "iteration": self.iteration}
        return is_best

    def _save(self, path: Path, is_best: bool) -> None:
        if not is_main():
            return
        save_checkpoint(run_state(self), path)
        if is_best:
            link_checkpoint(path, self._best_path())
        keep_last(self.work_dir, self.settings.keep_last)
        logger.info("saved %s%s", path.name, f" and {self._best_path().name}" if is_best else "")

    def _best_path(self) -> Path:
        return self.work_dir / f"best_{self.best['metric'].replace('/', '_')}.pth"

    def _checkpoint_name(self) -> str:
        if self.settings.max_epochs and self.iteration % self.data.iterations_per_epoch == 0:
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
