"""What each process of a benchmark does: training steps, timed."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from mmengine.config import Config
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmdet_lite.apis.build import (
    build_dataset,
    build_model,
    build_train,
    check_masks,
    choose_device,
)
from mmdet_lite.apis.classes import check_classes, fill_num_classes
from mmdet_lite.apis.config import read_seed, section
from mmdet_lite.engine.distributed import (
    gather_to_main,
    is_main,
    mean_over_processes,
    wait_for_all,
    world_size,
    wrap,
)
from mmdet_lite.engine.optimizer import build_optimizer, shard
from mmdet_lite.engine.progress import HostCopy, total_loss
from mmdet_lite.engine.randomness import seed_everything, use_deterministic_algorithms
from mmdet_lite.engine.settings import AUTOCAST_DTYPES, TrainSettings
from mmdet_lite.engine.update import WeightUpdate
from mmdet_lite.registry import SCHEDULES, build
from mmdet_lite.structures.samples import Batch, to_device


def measure(cfg: Config, iters: int, warmup: int, ddp: dict[str, Any], out: str | Path) -> None:
    """Time training steps together with the other processes; the main one writes the file.

    Args:
        cfg: the config, with this process's batch size.
        iters: steps to time; of several processes as many pairs, with and without communication.
        warmup: steps before that.
        ddp: arguments of DistributedDataParallel that differ from training's.
        out: JSON file for all times in seconds: ``steps`` (processes, iters, 2: waited for data,
            computed) and ``pairs`` (processes, iters, 2: with and without communication).

    Raises:
        ValueError: the config is incomplete or does not fit the data.
        FloatingPointError: a loss is not finite.
    """
    stepper = Stepper(cfg, ddp)
    for _ in range(warmup):
        stepper.time_step()
    steps = [stepper.time_step() for _ in range(iters)]
    pairs = []
    if world_size() > 1:
        pairs = [stepper.time_pair(sync_first=i % 2 == 0) for i in range(iters)]
    result = {
        "device": stepper.device_name,
        "threads": torch.get_num_threads(),
        "gradient_bytes": stepper.gradient_bytes,
        "steps": gather_to_main(steps),
        "pairs": gather_to_main(pairs),
    }
    if is_main():
        Path(out).write_text(json.dumps(result))
    wait_for_all()


class Stepper:
    """Runs training steps as :class:`mmdet_lite.engine.trainer.Trainer` does, and times them.

    The weights are random: pretrained ones would be a download that changes no time.

    Args:
        cfg: the config, with this process's batch size.
        ddp: arguments of DistributedDataParallel that differ from training's.
    """

    def __init__(self, cfg: Config, ddp: dict[str, Any]):
        settings = TrainSettings(**section(cfg, "train", TrainSettings))
        seed = read_seed(cfg)
        seed_everything(seed)
        if settings.deterministic:
            use_deterministic_algorithms()
        self.device = choose_device()
        self.dtype = AUTOCAST_DTYPES[settings.precision]
        dataset = build_dataset(cfg, "train", seed)
        self.model = build_model(fill_num_classes(cfg, dataset.classes, "train_data"))
        check_classes(self.model, dataset, "train")
        check_masks(self.model, dataset)
        self.model = self._prepare(self.model, settings).train()
        loader = build_train(cfg, dataset, self.model, 0)
        optimizer = build_optimizer(
            section(cfg, "optimizer"), self.model, section(cfg, "param_groups")
        )
        self.update = WeightUpdate(
            self.model,
            shard(optimizer) if settings.shard_optimizer else optimizer,
            build(cfg.schedule, SCHEDULES),
            settings,
            loader.batch_sampler.iterations_per_epoch,
        )
        self.parallel = self._wrap(ddp)
        self._batches = iter(loader)

    @property
    def device_name(self) -> str:
        """What computes."""
        return torch.cuda.get_device_name() if self.device.type == "cuda" else "CPU"

    @property
    def gradient_bytes(self) -> int:
        """What the processes average in every step."""
        return sum(p.numel() * p.element_size() for p in self.model.parameters() if p.requires_grad)

    def time_step(self) -> tuple[float, float]:
        """One training step: seconds of waiting for the batch, and of the rest."""
        started = self._now()
        batch = next(self._batches)
        loaded = self._now()
        self._compute_gradients(to_device(batch, self.device), synchronise=True)
        self.update.gradient_norm()
        self.update.apply()
        return loaded - started, self._now() - loaded

    def time_pair(self, sync_first: bool) -> tuple[float, float]:
        """Gradients of one batch twice: seconds with, and without, the other processes' part."""
        batch = to_device(next(self._batches), self.device)
        seconds = {}
        for synchronise in (sync_first, not sync_first):
            wait_for_all()
            started = self._now()
            self._compute_gradients(batch, synchronise)
            seconds[synchronise] = self._now() - started
            self.update.optimizer.zero_grad()
        return seconds[True], seconds[False]

    def _compute_gradients(self, batch: Batch, synchronise: bool) -> None:
        with nullcontext() if synchronise or world_size() == 1 else self.parallel.no_sync():
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                losses = self.parallel(batch)
            total = total_loss(losses)
            numbers = HostCopy({**losses, "loss": total})
            self.update.backward(total, iteration=0)
        values = numbers.read()
        if synchronise:
            means = mean_over_processes(list(values.values()))
            values = dict(zip(values, means, strict=True))
        if not math.isfinite(values["loss"]):
            raise FloatingPointError(
                f"the loss is not finite, which makes times meaningless: {values}; lower "
                "optimizer.lr, as the weights are random"
            )

    def _prepare(self, model: nn.Module, settings: TrainSettings) -> nn.Module:
        model.to(self.device)
        model.to(memory_format=settings.memory_format(self.device))
        if settings.sync_bn and world_size() > 1:
            return nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return model

    def _wrap(self, ddp: dict[str, Any]) -> nn.Module:
        if not ddp:
            return wrap(self.model)
        device_ids = [self.device] if self.device.type == "cuda" else None
        settings = {"broadcast_buffers": False, "gradient_as_bucket_view": True, **ddp}
        return DistributedDataParallel(self.model, device_ids=device_ids, **settings)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return perf_counter()
