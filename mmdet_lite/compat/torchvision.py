"""Weights of torchvision's detectors under our names and in our class order.

torchvision has the background as its first class; here it is the last one of a softmax, and none of
sigmoids. Its files on the web are older than its code: four names in them are those of a former
version, which are known here too.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import torch
from torch import Tensor

from mmdet_lite.compat.converted import COCO_CLASSES, Converted, add_batch_counts, require_tensors

_BOX_HEAD = "roi_head.bbox_head."
_MASK_HEAD = "roi_head.mask_head."
_FASTER = "fasterrcnn_resnet50_fpn"
_MASK = "maskrcnn_resnet50_fpn"
_RETINA = "retinanet_resnet50_fpn"
_KNOWN = f"torchvision's {_FASTER}, {_MASK} or {_RETINA}"
_COCO_IDS = 90

# Their name -> ours; a number in parentheses is kept.
_NAMES = [
    (r"backbone\.body\.(.+)", r"backbone.\1"),
    (r"backbone\.fpn\.inner_blocks\.(\d)(?:\.0)?\.(\w+)", r"neck.lateral_convs.\1.conv.\2"),
    (r"backbone\.fpn\.layer_blocks\.(\d)(?:\.0)?\.(\w+)", r"neck.fpn_convs.\1.conv.\2"),
    (r"backbone\.fpn\.extra_blocks\.p6\.(\w+)", r"neck.fpn_convs.3.conv.\1"),
    (r"backbone\.fpn\.extra_blocks\.p7\.(\w+)", r"neck.fpn_convs.4.conv.\1"),
    (r"rpn\.head\.conv(?:\.0\.0)?\.(weight|bias)", r"rpn_head.rpn_conv.\1"),
    (r"rpn\.head\.cls_logits\.(\w+)", r"rpn_head.rpn_cls.\1"),
    (r"rpn\.head\.bbox_pred\.(\w+)", r"rpn_head.rpn_reg.\1"),
    (r"roi_heads\.box_head\.fc6\.(\w+)", _BOX_HEAD + r"shared_fcs.0.\1"),
    (r"roi_heads\.box_head\.fc7\.(\w+)", _BOX_HEAD + r"shared_fcs.1.\1"),
    (r"roi_heads\.box_predictor\.cls_score\.(\w+)", _BOX_HEAD + r"fc_cls.\1"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(\w+)", _BOX_HEAD + r"fc_reg.\1"),
    (r"roi_heads\.mask_head\.(\d)\.0\.(weight|bias)", _MASK_HEAD + r"convs.\1.conv.\2"),
    (r"roi_heads\.mask_predictor\.conv5_mask\.(\w+)", _MASK_HEAD + r"upsample.\1"),
    (r"roi_heads\.mask_predictor\.mask_fcn_logits\.(\w+)", _MASK_HEAD + r"conv_logits.\1"),
    (
        r"head\.classification_head\.conv\.(\d)\.0\.(weight|bias)",
        r"bbox_head.cls_convs.\1.conv.\2",
    ),
    (r"head\.regression_head\.conv\.(\d)\.0\.(weight|bias)", r"bbox_head.reg_convs.\1.conv.\2"),
    (r"head\.classification_head\.cls_logits\.(\w+)", r"bbox_head.retina_cls.\1"),
    (r"head\.regression_head\.bbox_reg\.(\w+)", r"bbox_head.retina_reg.\1"),
]


def is_torchvision(names: Collection[str]) -> bool:
    """Whether parameters are named as in torchvision's detectors."""
    return any(n.startswith("backbone.body.") for n in names)


def convert_torchvision(content: dict) -> Converted:
    """Rename parameters and say which config computes the same.

    Args:
        content: a state dict, or a checkpoint with one as ``model`` or ``state_dict``.

    Raises:
        ValueError: it is another detector than those of ``configs/torchvision/``.
    """
    found = content.get("model", content.get("state_dict", content))
    state = require_tensors(found, "the checkpoint")
    try:
        weights = convert_torchvision_state_dict(state)
    except KeyError as error:
        raise ValueError(
            f"{error.args[0]}. Its other detectors, the _v2 ones too, have layers of another kind"
        ) from error
    is_retina = "bbox_head.retina_cls.weight" in weights
    is_mask = _MASK_HEAD + "conv_logits.weight" in weights
    name = _RETINA if is_retina else _MASK if is_mask else _FASTER
    family = "retinanet" if is_retina else "mask-rcnn" if is_mask else "faster-rcnn"
    count = _num_classes(weights)
    heads = ["bbox_head"] if is_retina else ["roi_head.bbox_head"]
    heads += ["roi_head.mask_head"] if is_mask else []
    options = {f"model.{h}.num_classes": count for h in heads if count != _COCO_IDS}
    classes = [COCO_CLASSES.get(i, f"unused id {i}") for i in range(1, _COCO_IDS + 1)]
    notes = ["Images are RGB, resized to (1333, 800) and padded to multiples of 32"]
    if not any("num_batches_tracked" in n for n in state):
        notes.append(
            "Its batch norms are frozen. torchvision computes its own COCO weights (files "
            "*_coco-*.pth) with an epsilon of 0: for these add --cfg-options "
            "\"model.backbone.norm_cfg={'type': 'BN', 'eps': 0.0}\""
        )
    return Converted(
        weights=weights,
        source=f"torchvision's {name}",
        config=f"configs/torchvision/{family}_r50_fpn.py",
        options=options,
        notes=notes,
        classes=classes if count == _COCO_IDS else None,
    )


def convert_torchvision_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename parameters; move the background from the first class to the last, or drop it.

    Args:
        state: state dict of ``fasterrcnn_resnet50_fpn``, ``maskrcnn_resnet50_fpn`` or
            ``retinanet_resnet50_fpn``, with batch norms that are frozen or not.

    Returns:
        A state dict for the models of ``configs/torchvision/``.

    Raises:
        KeyError: a parameter is not one of those detectors'.
    """
    converted = {}
    anchors = len(state.get("head.regression_head.bbox_reg.bias", ())) // 4
    for name, value in state.items():
        ours = _rename(name)
        if ".fc_cls." in ours:
            value = torch.cat([value[1:], value[:1]])
        elif ".fc_reg." in ours:
            value = value[4:]  # boxes of the background are never used
        elif ".conv_logits." in ours:
            value = value[1:]
        elif ".retina_cls." in ours and anchors:
            # Class 0 has an output of its own, which is trained to be 0 everywhere.
            value = value.unflatten(0, (anchors, -1))[:, 1:].flatten(0, 1)
        converted[ours] = value
    return add_batch_counts(converted)


def _num_classes(weights: dict[str, Tensor]) -> int:
    if "bbox_head.retina_cls.bias" in weights:
        boxes = len(weights["bbox_head.retina_reg.bias"]) // 4
        return len(weights["bbox_head.retina_cls.bias"]) // boxes
    return len(weights[_BOX_HEAD + "fc_reg.bias"]) // 4


def _rename(name: str) -> str:
    current = _current_name(name)
    for theirs, ours in _NAMES:
        if re.fullmatch(theirs, current):
            return re.sub(theirs, ours, current)
    raise KeyError(f"{name!r} is not a parameter of {_KNOWN}")


def _current_name(name: str) -> str:
    """The name of the code of today for one of an older file."""
    if found := re.fullmatch(r"roi_heads\.mask_head\.mask_fcn(\d)\.(\w+)", name):
        return f"roi_heads.mask_head.{int(found[1]) - 1}.0.{found[2]}"
    # convolutions and ReLUs in one list: every second place is a convolution
    if found := re.fullmatch(r"(head\.\w+_head\.conv)\.(\d)\.(weight|bias)", name):
        return f"{found[1]}.{int(found[2]) // 2}.0.{found[3]}"
    return name
