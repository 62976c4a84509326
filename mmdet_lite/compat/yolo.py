"""Weights of the YOLOs' original implementations under our names.

They come as a state dict of plain tensors; the files on the web hold pickled modules, whose
``state_dict()`` has to be saved with the program that made them. A network there is a list of
layers, so a parameter is called by its layer's place: ``model.2.m.0.cv1.conv.weight``.

Convolutions may be fused with their batch norms: then they have a bias and no norm. Such a one gets
a norm that does nothing but add the bias, so that the model stays one that can be trained.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from mmdet_lite.compat.converted import COCO_CLASSES, Converted, add_batch_counts, require_tensors

_NORM_EPS = 1e-3  # of all batch norms, see csp_blocks.py
_PREFIX = re.compile(r"(?:model\.)?model\.(\d+)\.")

# Names inside of a CSP block or the pooling -> ours.
_IN_BLOCK = [
    (r"cv(\d)\.(.+)", r"conv\1.\2"),
    (r"m\.(\d+)\.cv(\d)\.(.+)", r"blocks.\1.conv\2.\3"),
]


@dataclass
class _Layout:
    """One generation: what the layers are, and how its head's parameters are called.

    Attributes:
        layers: place in the list -> our module; the head is not among them.
        head: place of the head.
        in_head: names inside of the head -> ours.
    """

    layers: dict[int, str]
    head: int
    in_head: list[tuple[str, str]]


_BACKBONE = {
    0: "backbone.stem",
    **{1 + 2 * stage: f"backbone.downsamples.{stage}" for stage in range(4)},
    **{2 + 2 * stage: f"backbone.stages.{stage}" for stage in range(4)},
    9: "backbone.sppf",
}
_V8 = _Layout(
    layers=_BACKBONE
    | {
        12: "neck.top_down_blocks.1",
        15: "neck.top_down_blocks.0",
        16: "neck.downsamples.0",
        18: "neck.bottom_up_blocks.0",
        19: "neck.downsamples.1",
        21: "neck.bottom_up_blocks.1",
    },
    head=22,
    in_head=[
        (r"cv2\.(\d)\.(\d)\.(.+)", r"reg_branches.\1.\2.\3"),
        (r"cv3\.(\d)\.(\d)\.(.+)", r"cls_branches.\1.\2.\3"),
    ],
)
_V5 = _Layout(
    layers=_BACKBONE
    | {
        **{10: "neck.reduce_convs.1", 13: "neck.top_down_blocks.1"},
        **{14: "neck.reduce_convs.0", 17: "neck.top_down_blocks.0"},
        **{18: "neck.downsamples.0", 20: "neck.bottom_up_blocks.0"},
        **{21: "neck.downsamples.1", 23: "neck.bottom_up_blocks.1"},
    },
    head=24,
    in_head=[(r"m\.(\d)\.(weight|bias)", r"convs.\1.\2")],
)
_V5_ANCHORS = ("anchors", "anchor_grid")  # not learnt; the second, in pixels, only of old releases
_V5_STRIDES = (8, 16, 32)
_V5_BALANCE = [4.0, 1.0, 0.4]  # of the levels' losses; not kept there, no prediction needs it
_V5_COCO_ANCHORS = [  # of configs/yolov5/
    [(10, 13), (16, 30), (33, 23)],
    [(30, 61), (62, 45), (59, 119)],
    [(116, 90), (156, 198), (373, 326)],
]
_V8_BINS = "dfl.conv.weight"  # not learnt: 0, 1, 2, ...
_SIZES = {16: "n", 32: "s", 48: "m"}  # by the stem's channels


def is_yolo(names: Collection[str]) -> bool:
    """Whether parameters are named as in YOLOv5 or YOLOv8."""
    return _is_yolov5(names) or any(_in_head(n, r"cv2\.0\.0\.conv\.weight") for n in names)


def convert_yolo(content: dict) -> Converted:
    """Rename parameters and say which config computes the same.

    Args:
        content: a state dict, or a checkpoint with one as ``model`` or ``state_dict``.

    Raises:
        ValueError: it is another network than those of ``configs/yolov5/`` and
            ``configs/yolov8/``.
    """
    found = content.get("model", content.get("state_dict", content))
    state = require_tensors(found, "the checkpoint")
    if _is_yolov5(state):
        generation, weights = "yolov5", convert_yolov5_state_dict(state)
        anchors = len(_V5_COCO_ANCHORS[0])
        count = len(weights["bbox_head.convs.0.bias"]) // anchors - 5
        options = _anchor_options(state)
    else:
        generation, weights = "yolov8", convert_yolov8_state_dict(state)
        count, options = len(weights["bbox_head.cls_branches.0.2.bias"]), {}
    size = _size(weights, generation)
    return Converted(
        weights=weights,
        source=f"{generation.replace('yolo', 'YOLO')} {size}",
        config=f"configs/{generation}/{generation}_{size}_640_coco.py",
        options=options | ({} if count == 80 else {"model.bbox_head.num_classes": count}),
        notes=["Images are RGB, resized to fit in 640 x 640 and padded with grey (114)"],
        classes=list(COCO_CLASSES.values()) if count == 80 else None,
    )


def convert_yolov5_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename parameters, and give fused convolutions a norm; the anchors are in the config.

    Args:
        state: state dict of a YOLOv5 detector, of which each convolution may be fused or not.

    Returns:
        A state dict for the models of ``configs/yolov5/``.

    Raises:
        ValueError: a parameter is not one of YOLOv5's.
    """
    renamed = {
        _rename(name, _V5, "YOLOv5"): value
        for name, value in state.items()
        if not any(_in_head(name, anchors) for anchors in _V5_ANCHORS)
    }
    renamed["bbox_head.obj_balance"] = torch.tensor(_V5_BALANCE)
    return add_batch_counts(_with_norms(renamed))


def convert_yolov8_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename parameters, and give fused convolutions a norm.

    Args:
        state: state dict of a YOLOv8 detector, of which each convolution may be fused or not.

    Returns:
        A state dict for the models of ``configs/yolov8/``.

    Raises:
        ValueError: a parameter is not one of YOLOv8's, or its bins are not 0, 1, 2, ...
    """
    converted = {}
    for name, value in state.items():
        if name.endswith(f".{_V8.head}.{_V8_BINS}"):
            _check_bins(name, value)
        else:
            converted[_rename(name, _V8, "YOLOv8")] = value
    return add_batch_counts(_with_norms(converted))


def _is_yolov5(names: Collection[str]) -> bool:
    return any(_in_head(name, r"m\.0\.weight") for name in names)


def _in_head(name: str, pattern: str) -> bool:
    """Whether it is a parameter of a layer, called like this in it; only heads have such."""
    return re.fullmatch(_PREFIX.pattern + pattern, name) is not None


def _size(weights: dict[str, Tensor], generation: str) -> str:
    """The letter of the config that has such a network."""
    channels = len(weights["backbone.stem.conv.weight"])
    if channels not in _SIZES:
        raise ValueError(
            f"its first convolution has {channels} channels; there are configs of "
            f"{generation.replace('yolo', 'YOLO')} n, s and m, which have "
            f"{', '.join(map(str, _SIZES))}"
        )
    return _SIZES[channels]


def _anchor_options(state: dict[str, Tensor]) -> dict[str, object]:
    """Anchors in the config's form, where they are not COCO's; the weights have them in strides."""
    anchors = next((value for name, value in state.items() if _in_head(name, "anchors")), None)
    if anchors is None:
        return {}
    strides = torch.tensor(_V5_STRIDES, dtype=torch.float32).reshape(-1, 1, 1)
    if anchors.dim() != 3 or len(anchors) != len(strides):
        raise ValueError(f"its anchors are {tuple(anchors.shape)}, expected (3, anchors, 2)")
    sizes = (anchors.float().cpu() * strides).double().numpy().round(3).tolist()
    sizes = [[tuple(pair) for pair in level] for level in sizes]
    if sizes == _V5_COCO_ANCHORS:
        return {}
    return {"model.bbox_head.prior_generator.base_sizes": sizes}


def _rename(name: str, layout: _Layout, generation: str) -> str:
    if found := _PREFIX.match(name):
        place, rest = int(found[1]), name[found.end() :]
        if place == layout.head:
            module, patterns = "bbox_head", layout.in_head
        else:
            module, patterns = layout.layers.get(place), [*_IN_BLOCK, (r"((?:conv|bn)\..+)", r"\1")]
        for theirs, ours in patterns if module else []:
            if re.fullmatch(theirs, rest):
                return f"{module}.{re.sub(theirs, ours, rest)}"
    raise ValueError(f"{name!r} is not a parameter of {generation}")


def _check_bins(name: str, value: Tensor) -> None:
    bins = value.flatten().float()
    if not torch.equal(bins, torch.arange(float(len(bins)), device=bins.device)):
        raise ValueError(f"{name} must hold 0, 1, 2, ..., which YOLOv8Head has built in")


def _with_norms(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A convolution's bias becomes that of a norm that changes nothing else."""
    result = {}
    for name, value in weights.items():
        if name.endswith(".conv.bias"):
            norm = name.removesuffix("conv.bias") + "bn."
            result[norm + "weight"] = torch.ones_like(value)
            result[norm + "bias"] = value
            result[norm + "running_mean"] = torch.zeros_like(value)
            # The norm divides by the root of this plus its epsilon.
            result[norm + "running_var"] = torch.ones_like(value) - _NORM_EPS
        else:
            result[name] = value
    return result
