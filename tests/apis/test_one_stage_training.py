"""The one-stage systems, and mixtures of their parts, learn; each run takes minutes.

Run with: pytest -m slow tests/apis/test_one_stage_training.py
"""

from __future__ import annotations

import pytest

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.train import train

pytestmark = pytest.mark.slow

SHAPES = {
    "demo/nanodet-plus_shapes.py": 0.5,
    "demo/yolov8_shapes.py": 0.5,
    "demo/yolov5_shapes.py": 0.5,
    "demo/retinanet-ap_shapes.py": 0.5,
    "mix/yolov8-max-iou_shapes.py": 0.2,
    "mix/retinanet-tal_shapes.py": 0.2,
    "mix/fcos-ap_shapes.py": 0.2,
}
OVERFITS = [
    "nanodet-plus_coco-tiny-overfit.py",
    "yolov8_n_coco-tiny-overfit.py",
    "yolov5_n_coco-tiny-overfit.py",
    "retinanet-ap_r18_fpn_coco-tiny-overfit.py",
]


@pytest.mark.parametrize("config", SHAPES)
def test_shapes_are_learnt(config, tmp_path):
    assert train(load_config(config), tmp_path)["bbox_mAP"] > SHAPES[config]


@pytest.mark.parametrize("config", OVERFITS)
def test_sixteen_real_images_are_learnt_by_heart(config, coco_tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MMDET_LITE_COCO_TINY", str(coco_tiny))
    assert train(load_config(f"coco_tiny/{config}"), tmp_path)["bbox_mAP"] > 0.7
