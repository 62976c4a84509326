"""A run of YOLOv5 is resumed bit for bit, with the balances of its levels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.train import train
from mmdet_lite.engine.weights import load_weights

DEMO = "demo/yolov5_shapes.py"
TINY = {
    "model.backbone.width_multiple": 0.0625,
    "model.neck.in_channels": [16, 32, 64],
    "model.bbox_head.in_channels": [16, 32, 64],
    "model.bbox_head.autobalance": True,
    "train_data.batch_size": 2,
    "train_data.num_workers": 0,
    "train_data.dataset.num_images": 8,
    "val_data": None,
    "train.max_iters": 4,
    "train.checkpoint_interval": 2,
    "train.ema": {"decay": 0.5, "ramp_up": 1},
}


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch):
    monkeypatch.setattr("mmdet_lite.apis.train.plot_curves", lambda *given: None)


def _state(work_dir: Path) -> dict:
    return torch.load(work_dir / "iter_4.pth", weights_only=True)


def test_a_resumed_run_has_the_same_balances_and_weights(tmp_path):
    cfg = load_config(DEMO, TINY)
    train(cfg, tmp_path / "whole")
    train(cfg, tmp_path / "rest", resume=tmp_path / "whole/iter_2.pth")
    whole, rest = _state(tmp_path / "whole"), _state(tmp_path / "rest")
    balance = whole["model"]["bbox_head.obj_balance"]
    assert balance[1] == 1 and balance[0] != 4
    plain = load_config(DEMO, TINY | {"model.bbox_head.autobalance": False})
    load_weights(build_model(plain), tmp_path / "whole/iter_4.pth")  # strictly
    for part in ("model", "ema"):
        assert whole[part].keys() == rest[part].keys()
        assert all(torch.equal(value, rest[part][name]) for name, value in whole[part].items())
