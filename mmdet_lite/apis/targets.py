"""What the assigner did with one training image: pictures, a page, a table."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mmengine.config import Config
from torch import Tensor, nn

from mmdet_lite.apis.build import (
    build_dataset,
    build_model,
    check_masks,
    choose_device,
    loader_settings,
    read_path,
)
from mmdet_lite.apis.classes import check_classes, check_same_classes, fill_num_classes
from mmdet_lite.apis.config import read_seed, require
from mmdet_lite.apis.test import precision_of, prepare_model
from mmdet_lite.assignment.capture import capture
from mmdet_lite.assignment.page import write_page
from mmdet_lite.assignment.picture import save_picture
from mmdet_lite.assignment.scene import Frame, Scene, System
from mmdet_lite.assignment.stage import read_stages
from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.loader import build_train_loader
from mmdet_lite.engine.checkpoint import load_checkpoint
from mmdet_lite.engine.randomness import seed_everything, seed_step
from mmdet_lite.engine.settings import AUTOCAST_DTYPES
from mmdet_lite.engine.weights import check_fit, class_names, find_weights
from mmdet_lite.structures.samples import Batch, to_device

logger = logging.getLogger("mmdet_lite")

UNTRAINED = "untrained"


@dataclass
class Step:
    """The step of a training that sees an image.

    Attributes:
        iteration: of the run, from 0.
        row: of the image in the batch.
    """

    iteration: int
    row: int


def show_targets(
    cfg: Config,
    index: int,
    out_dir: str | Path,
    checkpoints: Sequence[str | Path] = (),
    against: Config | None = None,
    against_checkpoints: Sequence[str | Path] = (),
    epoch: int = 0,
) -> tuple[Scene, list[Path]]:
    """Write a picture and a page of which priors and RoIs learn which ground truth of an image.

    The targets are those that a training step computes: the step of the epoch that shows the image,
    with its whole batch, so that padding, samples and batch statistics are the run's.

    Args:
        cfg: a config with ``model`` and ``train_data``.
        index: of the image in the training data, from 0.
        out_dir: folder of the files.
        checkpoints: weights of the model at points of its training, in this order; before them, or
            alone, comes the model with the random weights of the config's seed.
        against: another config, whose model gets the same batch.
        against_checkpoints: likewise, of the other model.
        epoch: of the training; order and transforms differ from epoch to epoch.

    Returns:
        What is shown, and the files.

    Raises:
        ValueError: the config has no model or no training data, the index is outside of it, weights
            do not fit, or the other model has other classes.
        FileNotFoundError: a checkpoint is missing.
    """
    require(cfg, ("model", "train_data"))
    if epoch < 0:
        raise ValueError(f"--epoch must be 0 or larger, got {epoch}")
    seed = read_seed(cfg)
    seed_everything(seed)
    dataset = build_dataset(cfg, "train", seed)
    if not 0 <= index < len(dataset):
        raise ValueError(
            f"--index {index}: train_data has {len(dataset)} images, choose from 0 to "
            f"{len(dataset) - 1}"
        )
    first = _Subject(cfg, _build(cfg, dataset))
    first.add(checkpoints, "--checkpoint", dataset)
    subjects = [first]
    if against is not None:
        subjects.append(_Subject(against, _build_other(against, dataset, seed)))
        subjects[1].add(against_checkpoints, "--against-checkpoint", dataset)
    step = find_step(cfg, dataset, index, epoch)
    cfgs = [subject.cfg for subject in subjects]
    batches = [load_batch(cfgs, dataset, subject.model, step) for subject in subjects]
    systems = [
        _system(subject, batch, step, seed)
        for subject, batch in zip(subjects, batches, strict=True)
    ]
    scene = _scene(batches[0], step, epoch, dataset, systems)
    name = "_against_".join(system.name for system in systems)
    name += f"_image_{batches[0].metas[step.row].image_id}"
    files = [Path(out_dir) / f"{name}{suffix}" for suffix in (".png", ".html")]
    save_picture(scene, files[0])
    write_page(scene, files[1])
    return scene, files


def find_step(cfg: Config, dataset: DetectionDataset, index: int, epoch: int) -> Step:
    """The first step of an epoch that shows an image, in a training by one process.

    Args:
        cfg: the config.
        dataset: its training data.
        index: of the image.
        epoch: from 0.
    """
    settings = loader_settings(cfg, "train") | {"num_workers": 0}
    sampler = build_train_loader(dataset, **settings).batch_sampler
    position = int(np.flatnonzero(sampler.epoch_order(epoch) == index)[0])
    step, row = divmod(position, sampler.global_batch_size)
    return Step(epoch * sampler.iterations_per_epoch + step, row)


def load_batch(
    cfgs: Sequence[Config], dataset: DetectionDataset, model: nn.Module, step: Step
) -> Batch:
    """The batch of a step, with masks in the form that the model needs.

    Args:
        cfgs: the first says how batches are made; they are padded as all of them need.
        dataset: training data of the first.
        model: that gets the batch.
        step: of the training.
    """
    settings = loader_settings(cfgs[0], "train") | {"num_workers": 0}
    divisors = [loader_settings(cfg, "train").get("size_divisor", 32) for cfg in cfgs]
    settings |= {"size_divisor": math.lcm(*divisors)}
    loader = build_train_loader(
        dataset, masks=model.mask_format, start_iteration=step.iteration, **settings
    )
    return next(iter(loader))


@dataclass
class _Subject:
    """A model that is shown, untrained and with weights by their names."""

    cfg: Config
    model: nn.Module
    weights: list[tuple[str, dict[str, Tensor]]] = field(default_factory=list)

    def add(self, files: Sequence[str | Path], what: str, dataset: DetectionDataset) -> None:
        """Read weights as they are trained, by which training assigns, and not their average."""
        for file in files:
            path = read_path(file, what)
            content = load_checkpoint(path)
            weights = find_weights(content, str(path), averaged=False)
            check_fit(self.model, weights, str(path))
            if (classes := class_names(content)) is not None:
                check_same_classes(classes, dataset, str(path), "train")
            self.weights.append((path.stem, weights))


def _build(cfg: Config, dataset: DetectionDataset) -> nn.Module:
    model = build_model(fill_num_classes(cfg, dataset.classes, "train_data"))
    check_classes(model, dataset, "train")
    check_masks(model, dataset)
    return model


def _build_other(cfg: Config, dataset: DetectionDataset, seed: int) -> nn.Module:
    require(cfg, ("model",))
    seed_everything(seed)
    try:
        return _build(cfg, dataset)
    except ValueError as error:
        raise ValueError(
            f"--against {cfg.filename} gets the images of the first config: {error}"
        ) from error


def _system(subject: _Subject, batch: Batch, step: Step, seed: int) -> System:
    """The untrained model, then with each of its weights."""
    name, device = _name(subject.cfg), choose_device()
    model = prepare_model(subject.model, subject.cfg, device)
    batch = to_device(batch, device)
    frames = []
    for label, weights in [(UNTRAINED, None), *subject.weights]:
        if weights is not None:
            model.load_state_dict(weights)
        logger.info("%s, %s: one training step", name, label)
        seed_step(seed, step.iteration)
        captured = capture(model, batch, AUTOCAST_DTYPES[precision_of(subject.cfg)])
        frames.append(Frame(label, read_stages(model, captured, batch, step.row)))
    return System(name, frames)


def _name(cfg: Config) -> str:
    return Path(cfg.filename).stem if cfg.filename else type(cfg).__name__


def _scene(
    batch: Batch, step: Step, epoch: int, dataset: DetectionDataset, systems: list[System]
) -> Scene:
    row, meta, gt = step.row, batch.metas[step.row], batch.gt
    height, width = batch.pad_shapes[row].tolist()
    image = batch.images[row, :, :height, :width].permute(1, 2, 0).numpy()
    valid = gt.valid[row].numpy()
    shown = f"{meta.shape[1]} x {meta.shape[0]} pixels"
    shown += f", flipped {meta.flip}" if meta.flip else ""
    return Scene(
        image=np.ascontiguousarray(image),
        boxes=gt.boxes[row].numpy()[valid],
        labels=gt.labels[row].numpy()[valid],
        ignore_boxes=gt.ignore_boxes[row].numpy()[gt.ignore_valid[row].numpy()],
        classes=dataset.classes,
        place=f"train_data {meta.index}: image {meta.image_id}, {meta.file}, {shown}, "
        f"{int(valid.sum())} objects; epoch {epoch}, iteration {step.iteration}, place {row} of "
        f"{len(batch.metas)} in the batch",
        systems=systems,
    )
