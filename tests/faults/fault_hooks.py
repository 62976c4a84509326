"""What the config of the fault tests names in ``custom_imports``, as a user's own module."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import torch

from mmdet_lite.data.sample import Sample, SampleRef
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.engine import checkpoint_writer
from mmdet_lite.engine.distributed import is_main
from mmdet_lite.engine.hooks import Hook
from mmdet_lite.engine.trainer import Trainer
from mmdet_lite.evaluation.coco_metric import CocoMetric
from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.registry import DATASETS, HOOKS, METRICS, TRANSFORMS
from mmdet_lite.structures.samples import Batch

PHASE_FILE = "phase.txt"


@TRANSFORMS.register_module()
class EmptyImages:
    """Take the objects away from every ``every``-th image of the data set."""

    def __init__(self, every: int):
        self.every = every

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        is_empty = sample.index % self.every == 0
        return sample.select(np.full(len(sample.boxes), not is_empty))


@HOOKS.register_module()
class TellPhase(Hook):
    """Keep '<iteration> <phase>' in a file of the work dir, for who waits for a moment to strike.

    The trainer's own announcements to its watchdog are passed on.
    """

    def before_train(self, trainer: Trainer) -> None:
        if not is_main():
            return
        enter = trainer._enter
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        descriptor = os.open(Path(trainer.work_dir) / PHASE_FILE, flags)

        def tell(phase: str) -> None:
            os.pwrite(descriptor, f"{trainer.iteration:06d} {phase:<30}".encode(), 0)
            enter(phase)

        trainer._enter = tell


# Where in a save to kill: before this call, counted from the save's beginning.
_CALLS = {
    "before anything is written": (torch, "save", 1),
    "before the temporary file is synced": (os, "fsync", 1),
    "before the checksum is synced": (os, "fsync", 2),
    "before the old checksum is removed": (Path, "unlink", 1),
    "before the rename": (Path, "replace", 1),
    "between the rename and the checksum's": (Path, "replace", 2),
    "before the folder is synced": (os, "fsync", 3),
    "before older checkpoints are removed": (checkpoint_writer, "keep_last", 1),
}
_HALF_WRITTEN = "while the temporary file is written"
_MEANWHILE_TRAINED = "while the temporary file is written and training goes on"
MOMENTS = (*_CALLS, _HALF_WRITTEN, _MEANWHILE_TRAINED)


@HOOKS.register_module()
class KillWhileSaving(Hook):
    """SIGKILL to the own process at one of ``MOMENTS`` of the ``save``-th checkpoint, from 1."""

    def __init__(self, moment: str, save: int):
        self.moment = moment
        self.save = save

    def before_train(self, trainer: Trainer) -> None:
        write = checkpoint_writer.write_checkpoint
        saves = count(1)

        def write_or_prepare(state: dict, path: Path) -> None:
            if next(saves) == self.save:
                self._prepare(trainer)
            write(state, path)

        checkpoint_writer.write_checkpoint = write_or_prepare

    def _prepare(self, trainer: Trainer) -> None:
        if self.moment in _CALLS:
            owner, name, number = _CALLS[self.moment]
            setattr(owner, name, _kill_at_call(getattr(owner, name), number))
            return
        iterations = 1 if self.moment == _MEANWHILE_TRAINED else 0
        torch.save = _half_a_save(torch.save, trainer, iterations)


def _kill_at_call(function: Callable, number: int) -> Callable:
    calls = count(1)

    def call_or_kill(*arguments: Any, **named: Any) -> Any:
        if next(calls) == number:
            kill_this_process()
        return function(*arguments, **named)

    return call_or_kill


def _half_a_save(save: Callable, trainer: Trainer, iterations: int) -> Callable:
    """A ``torch.save`` killed in the middle, when training is some iterations further."""

    def write_half(state: dict, file: BinaryIO) -> None:
        whole = io.BytesIO()
        save(state, whole)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        target = trainer.iteration + iterations
        while trainer.iteration < target:
            time.sleep(0.001)
        kill_this_process()

    return write_half


def kill_this_process() -> NoReturn:
    """As the kernel does when memory is short: nothing is cleaned up."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


@HOOKS.register_module()
class FillDisk(Hook):
    """Leaves no room on the work dir's disk in the iterations ``first`` to ``last``."""

    def __init__(self, first: int, last: int):
        self.first = first
        self.last = last

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        ballast = trainer.work_dir.parent / "ballast"
        if trainer.iteration == self.first:
            _fill(ballast)
        elif trainer.iteration == self.last:
            ballast.unlink()


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 8, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))


@HOOKS.register_module()
class FreezeBackbone(Hook):
    """Phases as a function of the step: the backbone rests in the epochs from ``epoch`` on."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        trainer.model.backbone.requires_grad_(trainer.epoch < self.epoch)


@DATASETS.register_module()
class PhasedShapes(ShapesDataset):
    """Pictures without augmentation in the epochs from ``plain_from`` on.

    Where ``record`` names a file, the index and epoch of each sample are appended to it.
    """

    def __init__(self, plain_from: int = 10**9, record: str | None = None, **arguments: Any):
        super().__init__(**arguments)
        self.augmented = self.pipeline
        self.plain_from = plain_from
        self.record = record

    def __getitem__(self, ref: SampleRef | int) -> Sample:
        if isinstance(ref, SampleRef):
            self.pipeline = self.augmented if ref.epoch < self.plain_from else []
            if self.record:
                with open(self.record, "a") as file:
                    file.write(f"{ref.epoch} {ref.index}\n")
        return super().__getitem__(ref)


@HOOKS.register_module()
class CtrlCAt(Hook):
    """Ends the run in the middle of an iteration (counted from 0), as Ctrl-C does."""

    def __init__(self, iteration: int):
        self.iteration = iteration

    def after_step(self, trainer: Trainer, losses: dict[str, torch.Tensor]) -> None:
        if trainer.iteration == self.iteration:
            raise KeyboardInterrupt


@HOOKS.register_module()
class InfiniteWeightAt(Hook):
    """Makes a weight infinite before an iteration."""

    def __init__(self, iteration: int):
        self.iteration = iteration

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        if trainer.iteration == self.iteration:
            trainer.model.roi_head.mask_head.upsample.weight.data[0, 0, 0, 0] = float("inf")


@HOOKS.register_module()
class InfiniteBoxesAt(Hook):
    """Makes the batch's boxes infinite in some iterations, as a faulty annotation may."""

    def __init__(self, iterations: list[int]):
        self.iterations = iterations

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        if trainer.iteration in self.iterations:
            assert batch.gt.valid.any()
            batch.gt.boxes[batch.gt.valid] = float("inf")


@HOOKS.register_module()
class KillWorkersAt(Hook):
    """SIGKILL to all data loading workers in some iterations."""

    def __init__(self, iterations: list[int]):
        self.iterations = iterations

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        if trainer.iteration in self.iterations:
            workers = multiprocessing.active_children()
            assert workers
            for worker in workers:
                worker.kill()


@HOOKS.register_module()
class SpoilImageAt(Hook):
    """Overwrites an image file in an iteration."""

    def __init__(self, iteration: int, file: str):
        self.iteration = iteration
        self.file = file

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        if trainer.iteration == self.iteration:
            Path(self.file).write_bytes(b"no image any more")


@METRICS.register_module()
class RisingMetric(CocoMetric):
    """Every evaluation of a run is better than the one before, whatever the model learnt."""

    evaluations = 0

    def names(self) -> list[str]:
        return ["rising", *super().names()]

    def compute(self, results: CocoResults) -> dict[str, float]:
        self.evaluations += 1
        return {"rising": float(self.evaluations), **super().compute(results)}
