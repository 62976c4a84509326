"""What a checkpoint tells of its model: config, classes, transforms.

The config's text is read, and never run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.config import load_config, prepare_config, section
from mmdet_lite.apis.zoo import shipped_config
from mmdet_lite.compat.zoo import PREFIX, find_model
from mmdet_lite.data.pipeline import Transform, walk
from mmdet_lite.data.transforms import RandomFlip
from mmdet_lite.engine.weights import class_names
from mmdet_lite.literals import read_assignments
from mmdet_lite.registry import TRANSFORMS, build


def saved_config(
    content: dict[str, Any], source: str, options: dict[str, Any] | None = None
) -> Config | None:
    """The config inside a checkpoint of this package or of MMDetection 3.x.

    Args:
        content: the checkpoint.
        source: where it comes from, for messages.
        options: see :func:`mmdet_lite.apis.config.load_config`.

    Returns:
        The config in this package's form; None: there is none inside.

    Raises:
        ValueError: it is more than NAME = LITERAL, or in a form that is not read here; or it wants
            modules that nobody has imported.
    """
    meta = content.get("meta")
    text = meta.get("config") if isinstance(meta, dict) else None
    if not isinstance(text, str) or not text.strip():
        return None
    try:
        cfg = Config(read_assignments(text), cfg_text=text, filename=source)
    except (ValueError, SyntaxError, RecursionError) as error:
        raise ValueError(
            f"{source}: the config in it is not run, only read, and cannot be: {error}. Give the "
            "config as a file (config=..., --config)"
        ) from error
    _check_imports(cfg, source)
    return prepare_config(cfg, Path(source), options)


def read_config(
    content: dict[str, Any],
    source: str,
    config: str | Path | None,
    options: dict[str, Any] | None = None,
) -> Config:
    """The config to build a checkpoint's model from.

    Args:
        content: the checkpoint.
        source: its path, or zoo:NAME, whose config is a shipped one if there is one.
        config: a file to take in place of what the checkpoint holds.
        options: see :func:`mmdet_lite.apis.config.load_config`.

    Raises:
        FileNotFoundError: there is no such config.
        ValueError: there is none in the checkpoint, or it cannot be read.
    """
    if config is None and source.startswith(PREFIX):
        config = shipped_config(find_model(source.removeprefix(PREFIX)))
    if config is not None:
        return load_config(config, options)
    cfg = saved_config(content, source, options)
    if cfg is None:
        raise ValueError(
            f"{source} does not hold the config of its model, so what to build is not known. Give "
            "it: load(..., config='configs/...'), or --config on the command line"
        )
    return cfg


def read_classes(content: dict[str, Any], model: nn.Module, source: str) -> list[str]:
    """The K class names of a checkpoint; "class 0" and so on where it has none.

    Raises:
        ValueError: it has another number of names than the model has classes.
    """
    names = class_names(content)
    if names is None:
        return [f"class {label}" for label in range(model.num_classes)]
    if len(names) != model.num_classes:
        raise ValueError(
            f"{source} names {len(names)} classes, but the model of the config has "
            f"{model.num_classes}; use the config that it was trained with"
        )
    return names


def read_category_ids(content: dict[str, Any], num_classes: int) -> Sequence[int]:
    """The ids by which the data set of the training knew its classes; else 1, 2, ..."""
    meta = content.get("meta")
    ids = meta.get("category_ids") if isinstance(meta, dict) else None
    return ids if ids and len(ids) == num_classes else range(1, num_classes + 1)


def read_pipeline(data: dict[str, Any]) -> list[Transform]:
    """The transforms of an evaluation; of joined data sets, those of the first.

    Args:
        data: the section ``test_data``.

    Raises:
        ValueError: a transform moves objects in a way that cannot be undone.
    """
    dataset = data.get("dataset") or {}
    while "dataset" in dataset or "datasets" in dataset:
        dataset = dataset.get("dataset") or dataset["datasets"][0]
    pipeline = [build(transform, TRANSFORMS) for transform in dataset.get("pipeline", ())]
    for transform in walk(pipeline):
        if isinstance(transform, RandomFlip) or getattr(transform, "training_only", False):
            raise ValueError(
                f"the pipeline of test_data has {type(transform).__name__}, after which detections "
                "are not where the objects are in the image; leave that to train_data"
            )
    return pipeline


def _check_imports(cfg: Config, source: str) -> None:
    """A file that comes from somewhere must not decide which modules run."""
    names = section(cfg, "custom_imports").get("imports") or []
    names = [names] if isinstance(names, str) else names
    missing = [name for name in names if name not in sys.modules]
    if missing:
        raise ValueError(
            f"{source}: its config imports {', '.join(missing)} (custom_imports), which is not "
            "done for a config inside a checkpoint. Import them in your program first, or give the "
            "config as a file (config=..., --config)"
        )
