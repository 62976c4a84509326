"""The classes that a model learns, those of the data, and those that a checkpoint was trained on.

Letters: K classes.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.config import Config
from torch import nn

from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.registry import MODELS, find_class

logger = logging.getLogger("mmdet_lite")

_KEY = "num_classes"


def fill_num_classes(cfg: Config, classes: Sequence[str], source: str) -> Config:
    """The config with the number of classes where its heads leave it open.

    Open is ``num_classes`` if it is ``None`` or not there, and the head has no default for it. A
    proposal network's is not filled: to that, all objects are one class.

    Args:
        cfg: the config; it is not changed.
        classes: K names.
        source: whose classes they are, for the log.
    """
    if not _open_heads(cfg):
        return cfg
    cfg = copy.deepcopy(cfg)
    heads = _open_heads(cfg)
    for head in heads.values():
        head[_KEY] = len(classes)
    logger.info("%s: num_classes=%d, as %s has", " and ".join(heads), len(classes), source)
    return cfg


def check_filled(cfg: Config) -> None:
    """Refuse to build a model of which nobody knows how many classes it has.

    Raises:
        ValueError: a head leaves ``num_classes`` open.
    """
    if heads := list(_open_heads(cfg)):
        raise ValueError(
            f"{' and '.join(heads)}: num_classes is open; training and testing take it from the "
            "data, but there is none here. Give it: --cfg-options "
            + " ".join(f"{head}.num_classes=80" for head in heads)
        )


def check_classes(model: nn.Module, dataset: DetectionDataset, split: str) -> None:
    """Refuse to train or test a model on another number of classes than the data set has.

    Raises:
        ValueError: the numbers differ, in whichever head.
    """
    num_classes = len(dataset.classes)
    heads = {n: m for n, m in model.named_modules() if hasattr(m, "class_rows") and m is not model}
    wrong = [
        f"model.{name} has num_classes={head.num_classes}"
        for name, head in heads.items()
        if head.num_classes != num_classes
    ]
    if wrong:
        names = ", ".join(dataset.classes[:10]) + (", ..." if num_classes > 10 else "")
        raise ValueError(
            f"{' and '.join(wrong)}, but {split}_data has {num_classes} classes ({names}). Set "
            f"num_classes={num_classes}, or None to take it from the data; or choose the classes "
            f"with {split}_data.dataset.metainfo.classes"
        )


def check_same_classes(
    classes: Sequence[str], dataset: DetectionDataset, source: str, split: str
) -> None:
    """Refuse class names, or an order of them, that differ from those that were trained.

    Args:
        classes: the names that were trained, in the order of their labels.
        dataset: what is tested on.
        source: whose ``classes`` they are: a checkpoint, or ``train_data``.
        split: the section that the data set is from: 'val' or 'test'.

    Raises:
        ValueError: they differ; it shows both, and in what.
    """
    trained, given = list(classes), list(dataset.classes)
    if trained == given:
        return
    raise ValueError(
        f"the classes of {split}_data are not those of {source}: "
        f"{_difference(trained, given, f'{split}_data', source)}.\n"
        f"{split}_data: {given}\n{source}: {trained}"
    )


def _difference(trained: list[str], given: list[str], data: str, source: str) -> str:
    """In what the classes of the data differ, and what to do."""
    missing = [name for name in trained if name not in given]
    added = [name for name in given if name not in trained]
    choose = f"Set {data}.dataset.metainfo.classes to the same names in the same order"
    if not missing and not added:
        pairs = zip(trained, given, strict=True)
        label, (ours, theirs) = next((i, p) for i, p in enumerate(pairs) if p[0] != p[1])
        return (
            f"the order differs, so that labels would mean other classes: label {label} is "
            f"{theirs!r} in {data}, and was {ours!r}. {choose}"
        )
    if not missing:
        return f"{data} has {added} more. {choose}: objects of other classes are not used"
    what = f"{data} has no {missing}" + (f", and {added} instead" if added else "")
    return (
        f"{what}. Take data with the classes of {source}: its annotation file must have all "
        f"categories by the same names, also those without objects. {choose}. To train on other "
        "classes, start from a checkpoint with load_from=dict(path=..., match_classes=True)"
    )


def _open_heads(cfg: Config) -> dict[str, dict[str, Any]]:
    """The dicts of the model that leave ``num_classes`` open, by their place in the config."""
    return dict(_walk(cfg.model, "model")) if isinstance(cfg.get("model"), dict) else {}


def _walk(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _walk(item, f"{place}.{index}")
    if not isinstance(value, dict):
        return
    if "type" in value and value.get(_KEY) is None and _needs_num_classes(value["type"]):
        yield place, value
    for key, item in value.items():
        if key != "rpn_head":
            yield from _walk(item, f"{place}.{key}")


def _needs_num_classes(name: str | type) -> bool:
    """Whether a class of a model needs the number of classes; one that is unknown does not."""
    try:
        parameter = inspect.signature(find_class(name, (MODELS,))).parameters.get(_KEY)
    except KeyError:
        return False  # which building will tell
    return parameter is not None and parameter.default is parameter.empty
