"""Building what training and testing share."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.classes import check_filled
from mmdet_lite.apis.config import check_keys, section
from mmdet_lite.compat.zoo import PREFIX
from mmdet_lite.data.collate import is_size
from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.loader import DetectionLoader, build_eval_loader, build_train_loader
from mmdet_lite.data.pipeline import Transform, walk
from mmdet_lite.engine.distributed import rank, world_size
from mmdet_lite.near_files import where_missing
from mmdet_lite.registry import DATASETS, MODELS, build

logger = logging.getLogger("mmdet_lite")

_MOST_LOOKED_AT = 1000  # images, until one with an object is found
_DATA_KEYS = {
    "train": [
        "dataset",
        "batch_size",
        "num_workers",
        "group_by_aspect",
        "size_divisor",
        "pad_size",
    ],
    "val": ["dataset", "batch_size", "num_workers", "size_divisor"],
    "test": ["dataset", "batch_size", "num_workers", "size_divisor"],
}


def choose_device() -> torch.device:
    """This process's GPU if there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", torch.cuda.current_device())


def computes_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bf16; without them it is slower than float32."""
    if device.type != "cpu" or platform.machine() not in ("x86_64", "AMD64"):
        return True  # as far as torch tells
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    checks = [getattr(torch.cpu, name) for name in known if hasattr(torch.cpu, name)]
    return not checks or any(check() for check in checks)


def build_model(cfg: Config) -> nn.Module:
    """The detector of the config, with random weights, on the CPU.

    Raises:
        ValueError: neck or heads take other feature maps than they would be given, or heads leave
            ``num_classes`` open.
    """
    check_filled(cfg)
    # Not before: models bring torchvision, whose import takes as long as torch's, and what is wrong
    # with files and data should be said soon.
    from mmdet_lite.models.detectors.connections import check_connections

    model = build(cfg.model, MODELS)
    check_connections(model)
    return model


def build_dataset(cfg: Config, split: str, seed: int) -> DetectionDataset:
    """The data set of ``train_data``, ``val_data`` or ``test_data``.

    Raises:
        ValueError: the section has no data set, unknown keys or bad values, or the set is empty.
    """
    data = section(cfg, f"{split}_data")
    check_keys(f"{split}_data", data, _DATA_KEYS[split])
    _check_data_values(data, split)
    dataset = build(data["dataset"], DATASETS, seed=seed)
    if len(dataset) == 0:
        raise ValueError(
            f"{split}_data has no images: check the annotation file, and what leaves images out "
            f"(filter_empty_gt, min_size, indices), in {dict(data['dataset'])}"
        )
    if split == "train":
        _warn_without_objects(dataset)
    else:
        _check_evaluation_pipelines(dataset, split)
    return dataset


def transforms_in(dataset: DetectionDataset) -> Iterator[Transform]:
    """The transforms of a data set's pipeline, or of those that it is made of."""
    yield from walk(getattr(dataset, "pipeline", ()))
    for inner in getattr(dataset, "datasets", ()):
        yield from transforms_in(inner)


def loader_settings(cfg: Config, split: str) -> dict[str, Any]:
    """The section without its data set: batch size, workers and so on."""
    return {key: value for key, value in section(cfg, f"{split}_data").items() if key != "dataset"}


def build_train(
    cfg: Config, dataset: DetectionDataset, model: nn.Module, start_iteration: int
) -> DetectionLoader:
    """The training loader from an iteration on, with masks in the form that the model needs."""
    return build_train_loader(
        dataset,
        masks=model.mask_format,
        start_iteration=start_iteration,
        rank=rank(),
        world_size=world_size(),
        **loader_settings(cfg, "train"),
    )


def build_eval(cfg: Config, dataset: DetectionDataset, split: str) -> DetectionLoader:
    """This process's part of ``val_data`` or ``test_data``; no ground-truth masks are collated."""
    settings = loader_settings(cfg, split)
    return build_eval_loader(dataset, rank=rank(), world_size=world_size(), **settings)


def prepare_metric(metric: Any, dataset: DetectionDataset, model: nn.Module, split: str) -> None:
    """Give a metric the ground truth of a data set.

    Raises:
        ValueError: it compares masks, and the model predicts or the data set loads none.
    """
    if getattr(metric, "with_masks", False):
        if model.mask_format is None:
            raise ValueError(
                "metric.metrics has 'segm', but the model has no mask head: take it out of "
                "metric.metrics, or give model.roi_head a mask_roi_extractor and a mask_head"
            )
        if dataset[0].masks is None:
            raise ValueError(
                f"metric.metrics has 'segm', but {split}_data loads no masks: set "
                f"{split}_data.dataset.with_masks=True, or take it out of metric.metrics"
            )
    metric.prepare(dataset)


def check_masks(model: nn.Module, dataset: DetectionDataset) -> None:
    """Refuse to train a mask head on a data set without masks.

    Raises:
        ValueError: the model needs masks and the first image has none.
    """
    if model.mask_format is not None and dataset[0].masks is None:
        raise ValueError(
            "the model has a mask head, but the training data set loads no masks: set "
            "train_data.dataset.with_masks=True, or use a model without mask head"
        )


def read_path(value: str | Path, what: str) -> Path:
    """A path of a file that must exist; ``zoo:NAME`` is downloaded the first time.

    Raises:
        FileNotFoundError: it does not; the message has near names of its folder.
        ConnectionError: a model of the zoo cannot be downloaded.
        ValueError: the zoo has no such model, or its download has another checksum.
    """
    if str(value).startswith(PREFIX):
        from mmdet_lite.apis.zoo import get_model  # which needs what is built here

        return get_model(str(value))
    path = Path(value)
    if path.is_dir():
        raise FileNotFoundError(f"{what} {str(value)!r} is a folder, expected a file in it")
    if not path.is_file():
        raise FileNotFoundError(f"{what} {str(value)!r} does not exist {where_missing(path)}")
    return path


def _warn_without_objects(dataset: DetectionDataset) -> None:
    """Look at images evenly spread over the training data until one has an object."""
    count = min(len(dataset), _MOST_LOOKED_AT)
    for index in np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist():
        if len(dataset.labels_of(index)):
            return
    logger.warning(
        "train_data: none of the %d images that were looked at (of %d) has an object, so there is "
        "nothing to learn: check the annotation file, and the classes in "
        "train_data.dataset.metainfo.classes",
        *(count, len(dataset)),
    )


def _check_evaluation_pipelines(dataset: DetectionDataset, split: str) -> None:
    """Refuse transforms after which detections are not where the ground truth is."""
    transforms = [t for t in transforms_in(dataset) if getattr(t, "training_only", False)]
    if names := dict.fromkeys(type(transform).__name__ for transform in transforms):
        raise ValueError(
            f"{split}_data: the pipeline has {', '.join(names)}, after which images are not those "
            "of the ground truth, so that the metrics would be wrong; leave that to train_data, "
            "and only resize and pad here"
        )


def _check_data_values(data: dict[str, Any], split: str) -> None:
    """The section has what it needs, and its numbers are whole and large enough."""
    needed = ["dataset", "batch_size"] if split == "train" else ["dataset"]
    problems = [f"has no {key!r}" for key in needed if key not in data]
    for key, smallest in {"batch_size": 1, "num_workers": 0, "size_divisor": 1}.items():
        value = data.get(key, smallest)
        if type(value) is not int or value < smallest:
            problems.append(f"has {key}={value!r}, expected a whole number from {smallest} on")
    if "pad_size" in data and data["pad_size"] is not None and not is_size(data["pad_size"]):
        problems.append(
            f"has pad_size={data['pad_size']!r}, expected two positive integers, (width, height)"
        )
    if problems:
        raise ValueError(f"config: {split}_data {'; '.join(problems)}")
