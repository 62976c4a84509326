"""Converting checkpoints of other frameworks to ours."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Collection
from pathlib import Path

import torch

from mmdet_lite.apis.build import build_model, read_path
from mmdet_lite.apis.classes import fill_num_classes
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.publish import check_out, write_weights
from mmdet_lite.compat.converted import Converted
from mmdet_lite.compat.detectron2 import convert_detectron2, is_detectron2
from mmdet_lite.compat.foreign_file import read_foreign
from mmdet_lite.compat.mmdet.weights import convert_mmdet, is_mmdet
from mmdet_lite.compat.nanodet import convert_nanodet, is_nanodet
from mmdet_lite.compat.resnets import convert_resnet, is_resnet
from mmdet_lite.compat.torchvision import convert_torchvision, is_torchvision
from mmdet_lite.compat.yolo import convert_yolo, is_yolo
from mmdet_lite.engine.weights import check_fit

logger = logging.getLogger("mmdet_lite")

# In the order of trying: an MMDetection name says the least.
_SOURCES: dict[str, tuple[Callable[[Collection[str]], bool], Callable[..., Converted]]] = {
    "torchvision": (is_torchvision, convert_torchvision),
    "detectron2": (is_detectron2, convert_detectron2),
    "nanodet": (is_nanodet, convert_nanodet),
    "resnet": (is_resnet, convert_resnet),
    "yolo": (is_yolo, convert_yolo),
    "mmdet": (is_mmdet, convert_mmdet),
}
_AVERAGING = ("nanodet", "mmdet")  # those whose checkpoints may hold averages beside the weights
_EXAMPLES = {
    "torchvision": ["backbone.body.conv1.weight", "backbone.fpn.inner_blocks.0.0.weight"],
    "detectron2": ["backbone.bottom_up.stem.conv1.weight", "proposal_generator.rpn_head.conv.bias"],
    "nanodet": [
        "model.backbone.stage2.0.branch1.0.weight",
        "model.fpn.reduce_layers.0.conv.weight",
    ],
    "resnet": ["conv1.weight", "layer1.0.conv1.weight", "stem.conv1.weight", "conv1_w"],
    "yolo": ["model.0.conv.weight", "model.22.cv2.0.0.conv.weight", "model.24.m.0.weight"],
    "mmdet": ["backbone.conv1.weight", "rpn_head.rpn_conv.weight", "bbox_head.retina_cls.weight"],
}
_LISTED = 8
KINDS = ("auto", *_SOURCES)


def convert_checkpoint(
    source: str | Path,
    out: str | Path,
    kind: str = "auto",
    config: str | Path | None = None,
    raw: bool = False,
) -> Converted:
    """Write a checkpoint's weights under our names, and say which config they belong to.

    Args:
        source: a checkpoint of MMDetection, torchvision, detectron2 or NanoDet-Plus, of YOLOv5 or
            YOLOv8, or a ResNet's weights.
        out: the file to write, ``.pth`` or ``.safetensors``; its checksum goes beside it.
        kind: whose checkpoint it is, one of ``KINDS``; 'auto': found out by its names.
        config: a config whose model the weights must fit; None: the one that is known for them.
        raw: of MMDetection and NanoDet-Plus: take the weights as trained, where the default is
            their average (EMA) if there is one.

    Returns:
        What was written.

    Raises:
        ValueError: an unknown kind of checkpoint or ``out``, or the weights do not fit the config.
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be read.
        ImportError: a .safetensors file is to be read or written without its package.
        OSError: the file cannot be written.
    """
    path, out = read_path(source, "checkpoint"), Path(out)
    check_out(out, path)
    converted = convert_content(read_foreign(path), str(path), kind, raw)
    _check(converted, config, str(path))
    meta = {"converted_from": converted.source, "torch": str(torch.__version__)}
    meta |= {"classes": converted.classes} if converted.classes else {}
    meta |= {"config": converted.config_text} if converted.config_text else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_weights(converted.weights, meta, out)
    logger.info("%s", _summary(converted, path, out, config))
    return converted


def convert_content(content: dict, source: str, kind: str = "auto", raw: bool = False) -> Converted:
    """Find out whose checkpoint it is, and convert it.

    Args:
        content: tensors and plain values.
        source: where it comes from, for messages.
        kind, raw: see :func:`convert_checkpoint`.

    Raises:
        ValueError: an unknown kind, or the checkpoint is of none, or not one that can be converted.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    names = _names(content)
    if kind == "auto":
        kind = next((k for k, (is_one, _) in _SOURCES.items() if is_one(names)), "")
        if not kind:
            raise ValueError(_unknown(source, content, names))
    try:
        if kind in _AVERAGING:
            return _SOURCES[kind][1](content, raw)
        return _SOURCES[kind][1](content)
    except ValueError as error:
        raise ValueError(f"{source} (taken as --kind {kind}): {error}") from error


def _names(content: dict) -> list[str]:
    """The names of parameters, wherever they stand."""
    inner = (content.get(key) for key in ("state_dict", "model", "blobs"))
    state = next((value for value in inner if isinstance(value, dict) and value), content)
    return [str(name).removeprefix("module.") for name in state]


def _unknown(source: str, content: dict, names: list[str]) -> str:
    """What was found, and the kind whose names are the most similar."""
    shown = names[:: max(1, len(names) // _LISTED)][:_LISTED]
    near = {
        kind: max(
            (difflib.SequenceMatcher(None, n, e).ratio() for n in shown for e in examples),
            default=0.0,
        )
        for kind, examples in _EXAMPLES.items()
    }
    best = max(near, key=near.get)
    keys = ", ".join(str(key) for key in list(content)[:_LISTED])
    return (
        f"{source} is of no known kind. It holds {len(names)} names, as {', '.join(shown)} (top "
        f"level: {keys}). The nearest kind is {best}, with names as {', '.join(_EXAMPLES[best])}; "
        "docs/checkpoints.md lists what can be converted, --kind says what it is taken for"
    )


def _check(converted: Converted, config: str | Path | None, source: str) -> None:
    """The weights must fit the user's config, or the one that belongs to them."""
    options = None if config is not None else converted.options
    if (config := config or converted.config) is None:
        return
    cfg = load_config(config, options)
    if converted.classes is not None:
        cfg = fill_num_classes(cfg, converted.classes, source)
    with torch.device("meta"):
        model = build_model(cfg)
    if not any(name.startswith("backbone.") for name in converted.weights):
        model = model.backbone  # the weights of a backbone alone
    check_fit(model, converted.weights, f"{source}, for {config}")


def _summary(converted: Converted, path: Path, out: Path, config: str | Path | None) -> str:
    classes = converted.classes
    named = "class names unknown" if classes is None else f"{len(classes)} classes"
    lines = [f"wrote {out} ({path}: {converted.source}); {len(converted.weights)} tensors, {named}"]
    if config is not None:
        lines.append(f"it fits {config}")
    elif converted.config is not None:
        lines.append(f"use it with {converted.config}{_as_arguments(converted.options)}")
    return "\n".join([*lines, *(f"{note}." for note in converted.notes)])


def _as_arguments(options: dict[str, object]) -> str:
    if not options:
        return ""
    pairs = (f"{key}={str(value).replace(' ', '')}" for key, value in options.items())
    return " --cfg-options " + " ".join(pairs)
