"""YOLOv8 and its parts learn, in minutes each.

Run with: pytest -m slow tests/apis/test_yolov8_training.py
"""

from __future__ import annotations

import pytest

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.train import train

pytestmark = pytest.mark.slow

SHAPES = {
    "demo/yolov8_shapes.py": 0.5,
    "mix/yolov8-max-iou_shapes.py": 0.2,
    "mix/retinanet-tal_shapes.py": 0.2,
}


@pytest.mark.parametrize("config", SHAPES)
def test_shapes_are_learnt(config, tmp_path):
    assert train(load_config(config), tmp_path)["bbox_mAP"] >= SHAPES[config]


def test_real_images_are_learnt_by_heart(coco_tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MMDET_LITE_COCO_TINY", str(coco_tiny))
    cfg = load_config("coco_tiny/yolov8_n_coco-tiny-overfit.py")
    assert train(cfg, tmp_path)["bbox_mAP"] >= 0.5
