"""How large a model is and how much it computes to detect, part by part."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.config import require, section
from mmdet_lite.data.collate import Collate, is_size
from mmdet_lite.data.sample import Sample
from mmdet_lite.structures.samples import Batch

_NOTE = (
    "Convolutions and matrix products are counted, one multiply-add as two FLOPs; normalisation, "
    "activations, pooling of regions and NMS are not."
)
_USUAL_SIZE = (1280, 800)  # of COCO's images at MMDetection's scale
_MASK_NOTE = "Masks are counted for as many detections as an image can have."


@dataclass
class PartCost:
    """A part of a model, and what it costs to detect in one image.

    Attributes:
        name: of the attribute; 'other' for what lies between the parts.
        kind: name of its class.
        parameters: how many values it has, frozen ones included.
        training_only: how many of them take no part in detecting.
        flops: floating-point operations of its convolutions and matrix products.
    """

    name: str
    kind: str
    parameters: int
    training_only: int
    flops: int


def print_flops(cfg: Config, size: Sequence[int] | None = None) -> None:
    """Print parameters, multiply-adds and FLOPs of detecting in one image.

    Args:
        cfg: a config with a model; its weights do not matter.
        size: (width, height) of the network input in pixels; the batch's padding comes on top.
            None: that to which test_data, or val_data, brings all images; else 1280 x 800.

    Raises:
        ValueError: the size is not two positive integers, or the config has no model.
    """
    size = size_of_inputs(cfg) if size is None else size
    if not is_size(size):
        raise ValueError(f"size must be two positive integers, width and height, got {size!r}")
    require(cfg, ("model",))
    batch = _blank_batch(size, section(cfg, "test_data").get("size_divisor", 32))
    model = build_model(cfg).eval()
    parts = count_flops(model, batch)
    height, width = batch.images.shape[-2:]
    print(f"one image, {width} wide and {height} high")
    print(_table(parts))
    print(_NOTE if model.mask_format is None else f"{_NOTE} {_MASK_NOTE}")


def size_of_inputs(cfg: Config) -> Sequence[int]:
    """The (width, height) that all images of an evaluation have, or 1280 x 800."""
    size = _USUAL_SIZE
    for split in ("val_data", "test_data"):  # the latter where both are there
        dataset = section(cfg, split).get("dataset") or {}
        if "image_size" in dataset:  # of a ShapesDataset, (height, width)
            size = dataset["image_size"][::-1]
        for step in dataset.get("pipeline") or []:
            if step.get("type") == "Letterbox":
                size = step["size"]
            elif step.get("type") == "Resize" and not step.get("keep_ratio", True):
                size = step["scale"]
    return size


def count_flops(model: nn.Module, batch: Batch) -> list[PartCost]:
    """What each part of a detector costs; in the order of its attributes.

    Args:
        model: a detector in evaluation mode, on the CPU.
        batch: one image; what is in it does not matter.
    """
    import torchvision  # noqa: F401 - it brings deform_conv2d; not before what is said without it

    others = {torch.ops.torchvision.deform_conv2d: _count_deform_conv}
    with FlopCounterMode(display=False, custom_mapping=others) as counter:
        with _watch(model, counter) as (flops, called):
            _detect(model, batch)
        total = counter.get_total_flops()
    parts = [
        PartCost(
            name,
            type(part).__name__,
            sum(p.numel() for p in part.parameters()),
            _count_unused(part, called),
            flops[name],
        )
        for name, part in model.named_children()
    ]
    parts.append(PartCost("other", "", 0, 0, total - sum(flops.values())))
    return [part for part in parts if part.parameters or part.flops]


def _detect(model: nn.Module, batch: Batch) -> None:
    """As the model's ``predict``; masks of all detections that there can be."""
    feats = model.extract(batch)
    found = model.predict_boxes(feats, batch)
    model.predict_masks(feats, replace(found, valid=torch.ones_like(found.valid)))


@contextmanager
def _watch(
    model: nn.Module, counter: FlopCounterMode
) -> Iterator[tuple[Counter[str], set[nn.Module]]]:
    """Fills, by hooks, the operations of each part by name, and which modules were called."""
    flops, called, handles = Counter(), set(), []
    for name, part in model.named_children():
        meter = _Meter(name, counter, flops, called)
        for module in part.modules():
            handles.append(module.register_forward_pre_hook(meter.enter))
            handles.append(module.register_forward_hook(meter.leave))
    try:
        with torch.no_grad():
            yield flops, called
    finally:
        for handle in handles:
            handle.remove()


class _Meter:
    """Adds up what happens from entering a part, by whichever of its modules, to leaving it."""

    def __init__(
        self, name: str, counter: FlopCounterMode, flops: Counter[str], called: set[nn.Module]
    ):
        self.name, self.counter, self.flops, self.called = name, counter, flops, called
        self.depth = self.start = 0

    def enter(self, module: nn.Module, inputs: Any) -> None:
        self.called.add(module)
        if self.depth == 0:
            self.start = self.counter.get_total_flops()
        self.depth += 1

    def leave(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.flops[self.name] += self.counter.get_total_flops() - self.start


def _count_unused(part: nn.Module, called: set[nn.Module]) -> int:
    """Values of the parameters that belong to modules which were not called."""
    unused = [module for module in part.modules() if module not in called]
    return sum(p.numel() for module in unused for p in module.parameters(recurse=False))


def _count_deform_conv(
    images: Sequence[int], weight: Sequence[int], *_: Any, out_shape: Any
) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight[1:])


def _blank_batch(size: Sequence[int], size_divisor: int) -> Batch:
    """One black image of (width, height) ``size``, padded as in testing."""
    width, height = size
    nothing = np.zeros(0, dtype=np.int64)
    boxes = np.zeros((0, 4), dtype=np.float32)
    image = np.zeros((height, width, 3), dtype=np.uint8)
    sample = Sample(image, boxes, nothing, nothing, boxes, None, 0, "", 0, (height, width))
    return Collate(size_divisor)([sample])


def _table(parts: Sequence[PartCost]) -> str:
    total = PartCost("total", "", *(0, 0, 0))
    for part in parts:
        total.parameters += part.parameters
        total.training_only += part.training_only
        total.flops += part.flops
    rows = [("part", "type", "parameters", "training only", "multiply-adds", "FLOPs")]
    rows += [
        (
            part.name,
            part.kind,
            f"{part.parameters / 1e6:.2f} M",
            f"{part.training_only / 1e6:.2f} M" if part.training_only else "-",
            f"{part.flops / 2e9:.3f} G",
            f"{part.flops / 1e9:.3f} G",
        )
        for part in (*parts, total)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(_align(row, widths)).rstrip() for row in rows)


def _align(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Names to the left, numbers to the right."""
    for place, (text, width) in enumerate(zip(row, widths, strict=True)):
        yield text.ljust(width) if place < 2 else text.rjust(width)
