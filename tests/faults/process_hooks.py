"""Hooks and a transform that watch or break single processes of a run."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import torch
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from mmdet_lite.data.sample import Sample
from mmdet_lite.engine.distributed import rank
from mmdet_lite.engine.hooks import Hook
from mmdet_lite.engine.trainer import Trainer
from mmdet_lite.registry import HOOKS, TRANSFORMS
from mmdet_lite.structures.samples import Batch

FOREVER = 10**6  # seconds


@HOOKS.register_module()
class Announce(Hook):
    """Keeps '<process id> <iteration>' in ``WORK_DIR/announced/rank_<r>``."""

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        path = trainer.work_dir / "announced" / f"rank_{rank()}"
        path.parent.mkdir(exist_ok=True)
        temporary = path.with_name(f".{path.name}")
        temporary.write_text(f"{os.getpid()} {trainer.iteration}")
        temporary.replace(path)


@HOOKS.register_module()
class DieBeforeTheRun(Hook):
    """Kills a process of a launch's first start while the run is built, before it has written."""

    def __init__(self, rank: int):
        is_first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if is_first and os.environ["RANK"] == str(rank):
            os.kill(os.getpid(), signal.SIGKILL)


@HOOKS.register_module()
class SignalAt(Hook):
    """Sends a signal to one of the processes in an iteration."""

    def __init__(self, iteration: int, rank: int = 0, name: str = "SIGUSR1"):
        self.place = (iteration, rank)
        self.number = signal.Signals[name]

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        if (trainer.iteration, rank()) == self.place:
            os.kill(os.getpid(), self.number)


@HOOKS.register_module()
class RecordInput(Hook):
    """Appends what each step gets to ``WORK_DIR/input_rank_<r>.jsonl``, one line an image."""

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        with (trainer.work_dir / f"input_rank_{rank()}.jsonl").open("a") as file:
            for index, meta in enumerate(batch.metas):
                height, width = meta.shape
                pixels = batch.images[index, :, :height, :width].contiguous().numpy().tobytes()
                record = {
                    "iteration": trainer.iteration,
                    "slot": meta.slot,
                    "image_id": meta.image_id,
                    "flip": meta.flip,
                    "shape": list(meta.shape),
                    "pixels": hashlib.sha256(pixels).hexdigest(),
                    "boxes": batch.gt.boxes[index][batch.gt.valid[index]].tolist(),
                    "key": int(batch.keys[index]),
                }
                file.write(json.dumps(record) + "\n")


@HOOKS.register_module()
class RecordGradients(Hook):
    """Saves what the optimizer gets at each update, to ``WORK_DIR/gradients_<i>_rank_<r>.pth``.

    Complains if a trainable parameter has no gradient, or one that is not finite.
    """

    def before_train(self, trainer: Trainer) -> None:
        trainer.optimizer.register_step_pre_hook(lambda *given: self._save(trainer))

    def _save(self, trainer: Trainer) -> None:
        named = [(n, p) for n, p in trainer.model.named_parameters() if p.requires_grad]
        missing = [name for name, parameter in named if parameter.grad is None]
        assert not missing, f"no gradient: {missing}"
        gradients = {name: parameter.grad.clone() for name, parameter in named}
        broken = [name for name, grad in gradients.items() if not torch.isfinite(grad).all()]
        assert not broken, f"not finite: {broken}"
        name = f"gradients_{trainer.iteration}_rank_{rank()}.pth"
        torch.save(gradients, trainer.work_dir / name)


@HOOKS.register_module()
class CountTraffic(Hook):
    """Writes how many gradient buckets each iteration sent to ``WORK_DIR/traffic.json``."""

    def __init__(self) -> None:
        self.sent: dict[int, int] = {}

    def before_train(self, trainer: Trainer) -> None:
        self.trainer = trainer
        trainer._parallel.wrapped.register_comm_hook(None, self._send)

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        self.sent[trainer.iteration] = 0

    def after_train(self, trainer: Trainer) -> None:
        if rank() == 0:
            (trainer.work_dir / "traffic.json").write_text(json.dumps(list(self.sent.values())))

    def _send(self, state, bucket):  # DDP refuses annotations that are text
        self.sent[self.trainer.iteration] += 1
        return allreduce_hook(None, bucket)


@HOOKS.register_module()
class WithoutObjects(Hook):
    """Takes the objects away from whole ranks: iteration ``i`` from those in ``ranks[i]``.

    Writes how many objects were left to ``WORK_DIR/objects_rank_<r>.json``.
    """

    def __init__(self, ranks: list[list[int]]):
        self.ranks = ranks
        self.objects: list[int] = []

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        if rank() in self.ranks[trainer.iteration]:
            gt = batch.gt
            for values in (gt.valid, gt.boxes, gt.labels, gt.masks.bits):
                values.zero_()
        self.objects.append(int(batch.gt.valid.sum()))

    def after_train(self, trainer: Trainer) -> None:
        (trainer.work_dir / f"objects_rank_{rank()}.json").write_text(json.dumps(self.objects))


@HOOKS.register_module()
class BreakPixelAt(Hook):
    """Makes a pixel of one rank's batch NaN, in some iterations."""

    def __init__(self, rank: int, iterations: list[int]):
        self.rank = rank
        self.iterations = iterations

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        if rank() == self.rank and trainer.iteration in self.iterations:
            batch.images = batch.images.float()
            batch.images[0, 0, 0, 0] = float("nan")


@TRANSFORMS.register_module()
class HangOnce:
    """Never returns from the ``sample``-th image that a rank loads, as storage that is away.

    Args:
        rank: whose image.
        sample: which, counted from 0.
        mark: a file that is written then; while it is there, nothing hangs.
    """

    def __init__(self, rank: int, sample: int, mark: str):
        self.rank = rank
        self.sample = sample
        self.mark = Path(mark)
        self.loaded = 0

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        self.loaded += 1
        is_here = os.environ["RANK"] == str(self.rank) and self.loaded > self.sample
        if is_here and not self.mark.exists():
            self.mark.touch()
            time.sleep(FOREVER)
        return sample
