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
_V8_BINS = "dfl.conv.weight"  # not learnt: 0, 1, 2, ...
_V8_SIZES = {16: "n", 32: "s", 48: "m"}  # by the stem's channels


def is_yolo(names: Collection[str]) -> bool:
    """Whether parameters are named as in YOLOv8."""
    return any(re.fullmatch(_PREFIX.pattern + r"cv2\.0\.0\.conv\.weight", n) for n in names)


def convert_yolo(content: dict) -> Converted:
    """Rename parameters and say which config computes the same.

    Args:
        content: a state dict, or a checkpoint with one as ``model`` or ``state_dict``.

    Raises:
        ValueError: it is another network than those of ``configs/yolov8/``.
    """
    found = content.get("model", content.get("state_dict", content))
    state = require_tensors(found, "the checkpoint")
    weights = convert_yolov8_state_dict(state)
    channels = len(weights["backbone.stem.conv.weight"])
    if channels not in _V8_SIZES:
        raise ValueError(
            f"its first convolution has {channels} channels; there are configs of YOLOv8 n, s and "
            f"m, which have {', '.join(map(str, _V8_SIZES))}"
        )
    size, count = _V8_SIZES[channels], len(weights["bbox_head.cls_branches.0.2.bias"])
    return Converted(
        weights=weights,
        source=f"YOLOv8 {size}",
        config=f"configs/yolov8/yolov8_{size}_640_coco.py",
        options={} if count == 80 else {"model.bbox_head.num_classes": count},
        notes=["Images are RGB, resized to fit in 640 x 640 and padded with grey (114)"],
        classes=list(COCO_CLASSES.values()) if count == 80 else None,
    )


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
