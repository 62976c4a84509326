"""Building what training and testing share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.config import check_keys, section
from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.loader import DetectionLoader, build_eval_loader, build_train_loader
from mmdet_lite.registry import DATASETS, METRICS, MODELS, build

_DATA_KEYS = {
    "train": ["dataset", "batch_size", "num_workers", "group_by_aspect", "size_divisor"],
    "val": ["dataset", "batch_size", "num_workers", "size_divisor"],
    "test": ["dataset", "batch_size", "num_workers", "size_divisor"],
}


def choose_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def build_model(cfg: Config) -> nn.Module:
    """The detector of the config, with random weights, on the CPU."""
    return build(cfg.model, MODELS)


def build_dataset(cfg: Config, split: str, seed: int) -> DetectionDataset:
    """The data set of ``train_data``, ``val_data`` or ``test_data``.

    Raises:
        ValueError: the section has no data set or unknown keys.
    """
    data = section(cfg, f"{split}_data")
    check_keys(f"{split}_data", data, _DATA_KEYS[split])
    if "dataset" not in data:
        raise ValueError(f"config: {split}_data has no 'dataset', only {sorted(data)}")
    return build(data["dataset"], DATASETS, seed=seed)


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
        **loader_settings(cfg, "train"),
    )


def build_eval(cfg: Config, dataset: DetectionDataset, split: str) -> DetectionLoader:
    """The loader of ``val_data`` or ``test_data``; no ground-truth masks are collated."""
    return build_eval_loader(dataset, **loader_settings(cfg, split))


def build_metric(cfg: Config, dataset: DetectionDataset) -> Any:
    """The metric of the config, with the ground truth of a data set."""
    metric = build(cfg.metric, METRICS)
    metric.prepare(dataset)
    return metric


def check_classes(model: nn.Module, dataset: DetectionDataset, split: str) -> None:
    """Refuse to train or test a model on another number of classes than the data set has.

    Raises:
        ValueError: the numbers differ.
    """
    if model.num_classes != len(dataset.classes):
        names = ", ".join(dataset.classes[:10]) + (", ..." if len(dataset.classes) > 10 else "")
        raise ValueError(
            f"the model predicts num_classes={model.num_classes}, but {split}_data has "
            f"{len(dataset.classes)} classes ({names}). Set num_classes={len(dataset.classes)} in "
            "model.roi_head.bbox_head (and mask_head), or choose the classes with "
            f"{split}_data.dataset.metainfo.classes"
        )


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
    """A path of a file that must exist.

    Raises:
        FileNotFoundError: it does not.
    """
    path = Path(value)
    if not path.is_file():
        raise FileNotFoundError(
            f"{what} {str(value)!r} does not exist (looked for {path.absolute()})"
        )
    return path
