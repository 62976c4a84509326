"""Training a model from a config."""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmdet_lite import __version__
from mmdet_lite.apis.anchors import check_anchors
from mmdet_lite.apis.build import (
    build_dataset,
    build_eval,
    build_model,
    build_train,
    check_masks,
    choose_device,
    computes_bf16,
    loader_settings,
    prepare_metric,
    read_path,
    transforms_in,
)
from mmdet_lite.apis.classes import check_classes, check_same_classes, fill_num_classes
from mmdet_lite.apis.config import read_seed, read_timeout, require, section
from mmdet_lite.apis.foreign_config import tell_translation
from mmdet_lite.apis.test import evaluate
from mmdet_lite.apis.work_dir import continues_launch, find_start, open_files
from mmdet_lite.apis.writers import ShowPictures, build_writers, make_draw, open_writers
from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.pipeline import Phases
from mmdet_lite.engine.distributed import (
    from_main,
    is_main,
    wait_for_all,
    world_size,
)
from mmdet_lite.engine.hooks import Hook
from mmdet_lite.engine.log import RunLog
from mmdet_lite.engine.optimizer import build_optimizer, check_optimizer, scale_lr, shard
from mmdet_lite.engine.randomness import seed_everything
from mmdet_lite.engine.run_data import RunData
from mmdet_lite.engine.settings import TrainSettings
from mmdet_lite.engine.trainer import Trainer
from mmdet_lite.engine.weights import load_weights
from mmdet_lite.registry import HOOKS, METRICS, SCHEDULES, build
from mmdet_lite.visualization.curves import plot_curves, read_log
from mmdet_lite.visualization.report.curves_page import curves_html

logger = logging.getLogger("mmdet_lite")


def train(cfg: Config, work_dir: str | Path, resume: str | Path | bool = False) -> dict[str, float]:
    """Train, validate, and keep checkpoints, log, resolved config and curves in a folder.

    Args:
        cfg: the config.
        work_dir: the run's folder.
        resume: True continues from the newest good checkpoint in ``work_dir``, if there is one; a
            path from that checkpoint.

    Returns:
        The metrics of the last validation, and ``train_seconds``.

    Raises:
        ValueError: the config is incomplete or does not fit the data.
        FileNotFoundError: a file that the config or ``resume`` names is missing.
        FloatingPointError: a loss is not finite.
    """
    require(cfg, ("model", "train_data", "train", "optimizer", "schedule"))
    work_dir = Path(work_dir)
    with RunLog(work_dir) as log:
        resume = continues_launch(work_dir) or resume
        tell_translation(cfg)
        start = from_main(find_start(resume, work_dir) if is_main() else None)
        trainer = _build_trainer(cfg, log, is_new=start is None)
        if start is not None:
            trainer.resume(start)
        wait_for_all()  # nothing can be wrong with the config any more, on any process
        later = open_files(log, trainer.meta["config"], resume) if is_main() else None
        if is_main():
            open_writers(log, trainer.meta["config"], trainer.iteration)
        if any(name.startswith("best_") for name in from_main(later)):
            trainer.forget_best()
        if trainer.is_finished:
            logger.warning(
                "nothing to train: the run is at iteration %d already", trainer.iteration
            )
        started = time.perf_counter()
        metrics = trainer.train()
        seconds = time.perf_counter() - started
        logger.info("trained in %.0f s; everything is in %s", seconds, work_dir)
    return {**metrics, "train_seconds": seconds}


def _build_trainer(cfg: Config, log: RunLog, is_new: bool) -> Trainer:
    seed = read_seed(cfg)
    settings = TrainSettings(**section(cfg, "train", TrainSettings))
    seed_everything(seed)
    # What needs neither data nor model comes first: mistakes in it are said soon.
    check_optimizer(section(cfg, "optimizer"))
    schedule = build(cfg.schedule, SCHEDULES)
    start = _read_load_from(cfg) if is_new else None
    device = choose_device()
    logger.info("%s", _describe(device, cfg, seed))
    log.writers = build_writers(cfg)
    if settings.precision == "bf16" and not computes_bf16(device):
        logger.warning(
            "this processor has no instructions for bf16, which will be slower than "
            "train.precision='float32'"
        )
    dataset = build_dataset(cfg, "train", seed)
    _warn_of_late_phases(dataset, settings)
    validation = _build_validation(cfg)
    cfg = fill_num_classes(cfg, dataset.classes, "train_data")
    model = build_model(cfg)
    check_classes(model, dataset, "train")
    check_masks(model, dataset)
    if is_new:
        _initialise(model, start, dataset)
        if is_main():
            check_anchors(cfg, model, dataset)
    model.to(device)
    if settings.sync_bn and world_size() > 1:
        model = synchronise_batch_norm(model, device)
    optimizer = _build_optimizer(cfg, model, settings)
    return Trainer(
        model,
        shard(optimizer) if settings.shard_optimizer else optimizer,
        schedule,
        _run_data(cfg, dataset, model, validation, settings),
        settings,
        log,
        hooks=[build(hook, HOOKS) for hook in cfg.get("hooks") or []]
        + [PlotCurves(), ShowPictures()],
        meta=_meta(cfg, dataset, seed),
        seed=seed,
        timeout=read_timeout(cfg),
    )


def _warn_of_late_phases(dataset: DetectionDataset, settings: TrainSettings) -> None:
    """Tell of transforms for the end of a run that is over before."""
    ends = {"epoch": settings.max_epochs, "iteration": settings.max_iters}
    for transform in transforms_in(dataset):
        end = ends[transform.unit] if isinstance(transform, Phases) else None
        if end is not None and transform.end >= end:
            logger.warning(
                "train_data: %s(%s=%d) lies beyond the run's end, train.max_%s=%d: what comes "
                "`then` is never applied. It goes with the length of the run",
                *(type(transform).__name__, transform.unit, transform.end),
                *("epochs" if transform.unit == "epoch" else "iters", end),
            )


def synchronise_batch_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """Let batch normalisation use the statistics of all processes.

    Args:
        model: its layers are exchanged; parameters stay the same objects.
        device: where it trains.

    Raises:
        ValueError: the device is no GPU.
    """
    if device.type != "cuda":
        raise ValueError(
            "train.sync_bn=True: torch's SyncBatchNorm trains on GPUs only; leave it out, or use "
            "frozen batch normalisation (backbone.norm_eval=True) on this machine"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def _read_load_from(cfg: Config) -> tuple[Path, bool] | None:
    """The weights to start from, and whether they are matched by classes; None: there are none."""
    source = cfg.get("load_from")
    if not source:
        return None
    settings = (
        {"path": source}
        if isinstance(source, str)
        else section(cfg, "load_from", ("path", "match_classes"))
    )
    if "path" not in settings:
        raise ValueError(f"config: load_from has no 'path', only {settings}")
    return read_path(settings["path"], "load_from"), settings.get("match_classes", False)


def _initialise(
    model: nn.Module, start: tuple[Path, bool] | None, dataset: DetectionDataset
) -> None:
    """Weights to start from: another run's (``load_from``), or the backbone's pretrained ones."""
    if start is None:
        model.init_weights()
        return
    path, by_name = start
    load_weights(model, path, strict=False, classes=dataset.classes if by_name else None)


def _build_optimizer(
    cfg: Config, model: nn.Module, settings: TrainSettings
) -> torch.optim.Optimizer:
    optimizer = section(cfg, "optimizer")
    scaling = section(cfg, "auto_scale_lr", ("enable", "base_batch_size"))
    if scaling.get("enable"):
        if "base_batch_size" not in scaling:
            raise ValueError(
                "config: auto_scale_lr is enabled, but does not say for how many images a step "
                "optimizer.lr is meant: set auto_scale_lr.base_batch_size"
            )
        if "lr" not in optimizer:
            raise ValueError("config: auto_scale_lr is enabled, but optimizer has no 'lr' to scale")
        batch_size = (
            loader_settings(cfg, "train")["batch_size"] * world_size() * settings.accumulate
        )
        optimizer["lr"] = scale_lr(optimizer["lr"], scaling["base_batch_size"], batch_size)
    return build_optimizer(optimizer, model, section(cfg, "param_groups"))


def _build_validation(cfg: Config) -> tuple[DetectionDataset, Any] | None:
    """The data set and the metric of ``val_data``; None: there is no such section."""
    if not cfg.get("val_data"):
        return None
    require(cfg, ("metric",))
    return build_dataset(cfg, "val", seed=0), build(cfg.metric, METRICS)


def _run_data(
    cfg: Config,
    dataset: DetectionDataset,
    model: nn.Module,
    validation: tuple[DetectionDataset, Any] | None,
    settings: TrainSettings,
) -> RunData:
    sampler = build_train(cfg, dataset, model, 0).batch_sampler
    data = RunData(
        make_loader=lambda start: build_train(cfg, dataset, model, start),
        iterations_per_epoch=sampler.iterations_per_epoch,
        batch_size=sampler.global_batch_size,
    )
    if validation is not None:
        check_classes(model, validation[0], "val")
        check_same_classes(dataset.classes, validation[0], "train_data", "val")
        _add_evaluation(data, cfg, model, *validation, settings)
    return data


def _add_evaluation(
    data: RunData,
    cfg: Config,
    model: nn.Module,
    dataset: DetectionDataset,
    metric: Any,
    settings: TrainSettings,
) -> None:
    """How the model is validated, the names of the metrics if the metric tells them, pictures."""
    loader = build_eval(cfg, dataset, "val")
    prepare_metric(metric, dataset, model, "val")

    def run(model: nn.Module, enter: Callable[[str], None]) -> dict[str, float]:
        return evaluate(model, loader, metric, settings.precision, enter)

    data.evaluate, data.draw = run, make_draw(metric, dataset)
    data.metric_names = metric.names() if hasattr(metric, "names") else None


def _meta(cfg: Config, dataset: DetectionDataset, seed: int) -> dict[str, Any]:
    import torchvision  # with the models, not before what is said without them

    return {
        "classes": list(dataset.classes),
        "category_ids": [int(key) for key in dataset.category_ids],
        "config": cfg.pretty_text,
        "seed": seed,
        "mmdet_lite": __version__,
        "torch": str(torch.__version__),
        "torchvision": str(torchvision.__version__),
    }


def _describe(device: torch.device, cfg: Config, seed: int) -> str:
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else f"{torch.get_num_threads()} threads"
    )
    return (
        f"mmdet_lite {__version__}, torch {torch.__version__}, Python {platform.python_version()}, "
        f"{world_size()} x {device.type} ({name}), seed {seed}, config {cfg.filename}"
    )


class PlotCurves(Hook):
    """Draws ``curves.png`` and ``curves.html`` at every validation, for whoever looks in."""

    def after_validation(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        """Draw what is in the log so far."""
        self.after_train(trainer)

    def after_train(self, trainer: Trainer) -> None:
        """Draw the whole run, also where there was no validation."""
        log = trainer.work_dir / "log.jsonl"
        # a run that was resumed into another folder may be validated before it trains
        if is_main() and log.is_file() and any(r["mode"] == "train" for r in read_log(log)):
            _plot(log)


def _plot(log: Path) -> None:
    try:
        plot_curves(log, log.with_name("curves.png"))
        page = curves_html(log.resolve().parent.name, read_log(log))
        log.with_name("curves.html").write_text(page, encoding="utf-8")
    except OSError as error:  # a disk that is full for a while does not end a run
        logger.error("cannot draw the curves of %s: %s", log, error)
