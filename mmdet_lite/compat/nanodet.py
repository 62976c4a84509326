"""Weights of NanoDet-Plus (https://github.com/RangiLyu/nanodet) under our names.

The original gives the classes and the distances of a level by one convolution, here there are two.
Its ``.ckpt`` files hold the weights as trained (``model.``) and their average (``avg_model.``).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from torch import Tensor

from mmdet_lite.compat.converted import COCO_CLASSES, Converted, require_tensors, unknown_names

_PREFIX = re.compile(r"(?:(?:module|model|avg_model)\.)*")
_AVERAGE = "avg_model."
_LAYERS = {
    "depthwise": "depthwise_conv.conv",
    "dwnorm": "depthwise_conv.bn",
    "pointwise": "pointwise_conv.conv",
    "pwnorm": "pointwise_conv.bn",
    "primary_conv.0": "primary.conv",
    "primary_conv.1": "primary.bn",
    "cheap_operation.0": "cheap.conv",
    "cheap_operation.1": "cheap.bn",
    "shortcut.0": "shortcut.depthwise_conv.conv",
    "shortcut.1": "shortcut.depthwise_conv.bn",
    "shortcut.2": "shortcut.pointwise_conv.conv",
    "shortcut.3": "shortcut.pointwise_conv.bn",
}
_SEPARABLE = "depthwise|dwnorm|pointwise|pwnorm"

# Their name -> ours; <...> is looked up in the table above. What a neck has, both have.
_NECK = [
    (r"(reduce_layers\.\d\.(?:conv|bn)\..+)", r"\1"),
    (
        r"(\w+_blocks\.\d)\.blocks\.0\.(ghost[12])\.((?:primary_conv|cheap_operation)\.[01])\.(.+)",
        r"\1.\2.<\3>.\4",
    ),
    (r"(\w+_blocks\.\d)\.blocks\.0\.(shortcut\.[0-3])\.(.+)", r"\1.<\2>.\3"),
    (rf"(downsamples\.\d)\.({_SEPARABLE})\.(.+)", r"\1.<\2>.\3"),
    (rf"extra_lvl_(in|out)_conv\.0\.({_SEPARABLE})\.(.+)", r"extra_\1.<\2>.\3"),
]
_NAMES = [
    (r"backbone\.((?:conv1|stage[234])\..+)", r"backbone.\1"),
    *((rf"fpn\.{theirs}", rf"neck.{ours}") for theirs, ours in _NECK),
    *((rf"aux_fpn\.{theirs}", rf"aux_neck.{ours}") for theirs, ours in _NECK),
    (rf"head\.cls_convs\.(\d\.\d)\.({_SEPARABLE})\.(.+)", r"bbox_head.convs.\1.<\2>.\3"),
    (r"head\.gfl_cls\.(\d)\.(weight|bias)", r"bbox_head.conv_cls.\1.\2"),
    (r"aux_head\.(cls|reg)_convs\.(\d)\.(conv|gn)\.(.+)", r"aux_head.\1_convs.\2.\3.\4"),
    (r"aux_head\.gfl_(cls|reg)\.(weight|bias)", r"aux_head.conv_\1.\2"),
    (r"aux_head\.scales\.(\d)\.scale", r"aux_head.scales.\1.scale"),
]
_BINS = re.compile(r"(aux_)?head\.distribution_project\.project")  # 0, 1, 2, ...: nothing learnt
_NECK_NORM = "neck.reduce_layers.0.bn.weight"
_CLASSES = "bbox_head.conv_cls.0.bias"
_GUIDE = "aux_head.conv_cls.bias"
_NUM_SIDES = 32  # four sides of eight bins
_CONFIGS = {  # by the channels of the neck
    96: "configs/nanodet/nanodet-plus-m_320_coco.py",
    128: "configs/nanodet/nanodet-plus-m-1.5x_320_coco.py",
}


def is_nanodet(names: Collection[str]) -> bool:
    """Whether parameters are named as in NanoDet-Plus."""
    return any(re.match(rf"{_PREFIX.pattern}fpn\.reduce_layers\.", name) for name in names)


def convert_nanodet(content: dict, raw: bool = False) -> Converted:
    """Rename parameters, divide the outputs, and say which config computes the same.

    Args:
        content: a checkpoint of Lightning or of NanoDet, or a state dict.
        raw: take the weights as trained, where the default is their average if there is one.

    Raises:
        ValueError: it is another model than NanoDet-Plus-m or NanoDet-Plus-m-1.5x with its guiding
            branch.
    """
    state = require_tensors(content.get("state_dict", content), "the checkpoint")
    averaged = any(name.startswith(_AVERAGE) for name in state)
    if averaged:
        state = {n: v for n, v in state.items() if n.startswith(_AVERAGE) != raw}
    weights = convert_nanodet_state_dict(state)
    _check_complete(weights)
    width = len(weights[_NECK_NORM])
    count = len(weights[_CLASSES])
    heads = ("bbox_head", "aux_head") if count != len(COCO_CLASSES) else ()
    return Converted(
        weights=weights,
        source=f"NanoDet-Plus{', averaged weights' if averaged and not raw else ''}",
        config=_CONFIGS[width],
        options={f"model.{head}.num_classes": count for head in heads},
        notes=[
            "The config for images of 416 pixels fits as well; the weights do not tell the size"
        ],
        classes=None if heads else list(COCO_CLASSES.values()),
    )


def convert_nanodet_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename parameters, and divide the outputs of the head.

    Args:
        state: state dict of NanoDet-Plus with ShuffleNetV2, with or without prefixes.

    Returns:
        A state dict for the models of ``configs/nanodet/``.

    Raises:
        ValueError: a parameter is not one of that detector's.
    """
    bare = {name[_PREFIX.match(name).end() :]: value for name, value in state.items()}
    bare = {name: value for name, value in bare.items() if not _BINS.fullmatch(name)}
    renamed = {name: _rename(name) for name in bare}
    if lost := [name for name, ours in renamed.items() if ours is None]:
        raise unknown_names(lost, "NanoDet-Plus with ShuffleNetV2 and GhostPAN")
    converted = {}
    for name, value in bare.items():
        ours = renamed[name]
        if ours.startswith("bbox_head.conv_cls."):
            converted[ours] = value[:-_NUM_SIDES]
            converted[ours.replace("conv_cls", "conv_reg")] = value[-_NUM_SIDES:]
        else:
            converted[ours] = value
    return converted


def _rename(name: str) -> str | None:
    for theirs, ours in _NAMES:
        if re.fullmatch(theirs, name):
            renamed = re.sub(theirs, ours, name)
            return re.sub(r"<(.+)>", lambda found: _LAYERS[found[1]], renamed)
    return None


def _check_complete(weights: dict[str, Tensor]) -> None:
    if missing := [name for name in (_NECK_NORM, _CLASSES, _GUIDE) if name not in weights]:
        raise ValueError(
            f"there is no {missing[0]} (under its name here): expected a checkpoint of the "
            "training, with the neck (fpn), the head and what guides them (aux_fpn, aux_head)"
        )
    if (width := len(weights[_NECK_NORM])) not in _CONFIGS:
        raise ValueError(
            f"its neck has {width} channels; NanoDet-Plus-m has 96, NanoDet-Plus-m-1.5x 128"
        )
