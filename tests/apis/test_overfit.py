"""A few real images are learnt by heart: the path from an annotation to the mAP is sound."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.slow
def test_retinanet_with_ap_loss_learns_sixteen_images(run_cli, coco_tiny, tmp_path, monkeypatch):
    """Ten minutes on one core; 0.91 after half of them."""
    monkeypatch.setenv("MMDET_LITE_COCO_TINY", str(coco_tiny))
    config = CONFIGS / "coco_tiny/retinanet-ap_r18_fpn_coco-tiny-overfit.py"
    result = run_cli("train", config, "--work-dir", tmp_path)
    assert result.code == 0, result.err
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["bbox_mAP"] for line in log if line["mode"] == "val"][-1] > 0.8
