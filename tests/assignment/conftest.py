"""Small models of every system, and one step of each, captured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmdet_lite.apis.build import build_dataset, build_model
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.targets import Step, load_batch
from mmdet_lite.assignment.capture import Captured, capture
from mmdet_lite.assignment.stage import Stage, read_stages
from mmdet_lite.structures.samples import Batch

HERE = Path(__file__).parent
SYSTEMS = {
    "mask-rcnn": HERE.parent / "apis/tiny_config.py",
    "cascade-rcnn": HERE / "cascade_config.py",
    "retinanet-ap": "demo/retinanet-ap_shapes.py",
    "retinanet-tal": "mix/retinanet-tal_shapes.py",
    "fcos": "mix/fcos-ap_shapes.py",
    "nanodet-plus": "demo/nanodet-plus_shapes.py",
    "yolov8": "demo/yolov8_shapes.py",
    "yolov8-max-iou": "mix/yolov8-max-iou_shapes.py",
    "yolov5": "demo/yolov5_shapes.py",
}
SMALL = {
    "train_data.batch_size": 2,
    "train_data.num_workers": 0,
    "train_data.dataset.num_images": 4,
    "train_data.dataset.image_size": [64, 64],
}


@dataclass
class Captive:
    """A captured step.

    Attributes:
        losses: what each loss was called with, by its name in the model, call by call; seen by
            hooks of the tests' own.
    """

    cfg: Config
    model: nn.Module
    batch: Batch
    captured: list[Captured]
    losses: dict[str, list[tuple[Tensor, ...]]]

    def stages(self, image: int) -> list[Stage]:
        return read_stages(self.model, self.captured, self.batch, image)


@cache
def _captive(system: str) -> Captive:
    cfg = load_config(SYSTEMS[system], SMALL)
    torch.manual_seed(0)
    model = build_model(cfg)
    batch = load_batch([cfg], build_dataset(cfg, "train", 0), model, Step(0, 0))
    losses: dict[str, list[tuple[Tensor, ...]]] = {}
    for name, module in model.named_modules():
        if "loss_" in name.rpartition(".")[2]:
            module.register_forward_pre_hook(
                lambda _, given, name=name: losses.setdefault(name, []).append(given)
            )
    return Captive(cfg, model, batch, capture(model, batch), losses)


@pytest.fixture
def captive() -> Callable[[str], Captive]:
    """``captive("yolov8")``: a training step of a small model of that system."""
    return _captive
