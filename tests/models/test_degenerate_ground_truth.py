"""Ground truth at its worst: every detector's losses stay finite and every parameter is trained.

A detector joins with an entry in ``DETECTORS``: a function that makes it, for 3 classes and images
of 64 x 64, with few channels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict

from mmdet_lite.models.detectors import SingleStageDetector
from mmdet_lite.registry import MODELS, build

CONFIGS = Path(__file__).parents[2] / "configs/_base_/models"
BOX, OTHER = [4.0, 4, 30, 40], [20.0, 10, 60, 60]
CASES = {
    "objects": [[BOX, OTHER], [OTHER]],
    "an image without objects": [[BOX, OTHER], []],
    "a batch without objects": [[], []],
    "a box that contains no prior": [[[33.2, 33.2, 34.1, 34.3]], [BOX]],
    "only a box that contains no prior": [[[33.2, 33.2, 34.1, 34.3]], []],
    "duplicate boxes": [[BOX, BOX, OTHER, BOX], [OTHER, OTHER]],
    "a box larger than the image": [[[-30.0, -20, 100, 90]], [BOX]],
}


def _slim(cfg: ConfigDict) -> ConfigDict:
    """A detector's config with a ResNet-18 of 8 channels, an FPN and a RetinaNet's head."""
    cfg.backbone.update(depth=18, base_channels=8, pretrained=None)
    cfg.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
    cfg.bbox_head.update(num_classes=3, in_channels=8, feat_channels=8)
    return cfg


def _retinanet() -> SingleStageDetector:
    return build(_slim(Config.fromfile(CONFIGS / "retinanet_r50_fpn.py").model), MODELS)


def _retinanet_ap() -> SingleStageDetector:
    return build(_slim(Config.fromfile(CONFIGS / "retinanet-ap_r50_fpn.py").model), MODELS)


def _fcos() -> SingleStageDetector:
    cfg = Config.fromfile(CONFIGS / "retinanet_r50_fpn.py").model
    cfg.bbox_head = ConfigDict(
        type="FCOSHead",
        strides=[8, 16, 32, 64, 128],
        num_groups=2,
        loss_cls=dict(type="FocalLoss"),
        loss_bbox=dict(type="GIoULoss"),
        loss_centerness=dict(type="BinaryCrossEntropyLoss"),
    )
    return build(_slim(cfg), MODELS)


def _yolo(name: str) -> Callable[[], SingleStageDetector]:
    def make() -> SingleStageDetector:
        cfg = Config.fromfile(CONFIGS / f"{name}.py").model
        cfg.backbone.update(depth_multiple=0.1, width_multiple=0.125)
        widths = [32, 64, 128]
        cfg.neck.update(in_channels=widths, depth_multiple=0.1)
        cfg.bbox_head.update(num_classes=3, in_channels=widths)
        return build(cfg, MODELS)

    return make


def _nanodet_plus() -> SingleStageDetector:
    cfg = Config.fromfile(CONFIGS / "nanodet-plus-m.py").model
    cfg.backbone.update(width=0.5, pretrained=None)
    cfg.neck.update(in_channels=[48, 96, 192], out_channels=32)
    cfg.bbox_head.update(num_classes=3, in_channels=32, feat_channels=32)
    cfg.aux_head.update(num_classes=3, in_channels=64, feat_channels=32)
    return build(cfg, MODELS)


DETECTORS: dict[str, Callable[[], torch.nn.Module]] = {
    "RetinaNet": _retinanet,
    "RetinaNet-AP": _retinanet_ap,
    "FCOS": _fcos,
    "YOLOv8": _yolo("yolov8_n"),
    "YOLOv5": _yolo("yolov5_s"),
    "NanoDet-Plus": _nanodet_plus,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("detector", DETECTORS)
def test_losses_and_gradients_are_finite(tiny_batch, detector, case):
    torch.manual_seed(0)
    model = DETECTORS[detector]().train()
    losses = {name: v for name, v in model(tiny_batch(CASES[case])).items() if "loss" in name}
    for name, value in losses.items():
        assert value.shape == () and bool(torch.isfinite(value)), f"{name}: {value}"
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.grad is None or bool(torch.isfinite(parameter.grad).all()), name
