"""Parameter names, shapes, counts and frozen parameters of the stock models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from reference import load_json

from mmdet_lite.registry import MODELS, build

CONFIGS = Path(__file__).parents[2] / "configs/_base_/models"
R18 = {
    "model.backbone.depth": 18,
    "model.neck.in_channels": [64, 128, 256, 512],
}


@pytest.mark.parametrize(
    ("name", "config", "options"),
    [
        ("faster-rcnn_r50", "faster-rcnn_r50_fpn.py", {}),
        ("faster-rcnn_r18", "faster-rcnn_r50_fpn.py", R18),
        ("mask-rcnn_r50", "mask-rcnn_r50_fpn.py", {}),
        ("cascade-rcnn_r50", "cascade-rcnn_r50_fpn.py", {}),
        ("retinanet_r50", "retinanet_r50_fpn.py", {}),
    ],
)
def test_parameters_equal_the_reference(name, config, options):
    theirs = load_json(f"state_dict_{name}")
    cfg = Config.fromfile(CONFIGS / config)
    cfg.merge_from_dict(options)
    with torch.device("meta"):
        model = build(cfg.model, MODELS)
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == theirs["shapes"]
    parameters = dict(model.named_parameters())
    assert sum(p.numel() for p in parameters.values()) == theirs["num_params"]
    trainable = [p.numel() for p in parameters.values() if p.requires_grad]
    assert sum(trainable) == theirs["num_trainable"]
    frozen = {n for n, p in parameters.items() if not p.requires_grad}
    assert frozen == set(theirs["frozen"])
