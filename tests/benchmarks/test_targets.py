"""Targets of both stages beside torchvision's: the same work, and figures that are written."""

from __future__ import annotations

import json

import pytest

from mmdet_lite.apis.config import load_config
from mmdet_lite.benchmarks.inputs import InputSize, random_batch
from mmdet_lite.benchmarks.targets import _RoICase, _RPNCase, benchmark_targets

CONFIG = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
SMALL = {"model.roi_head.bbox_head.fc_out_channels": 4, "model.rpn_head.feat_channels": 4}


def _cfg(**options: object):
    return load_config(CONFIG, SMALL | {"model.rpn_head.in_channels": 4} | options)


def test_targets_are_few_operations_and_never_wait(run_cli, tmp_path):
    numbers = ("--batch-size", 8, "--size", 64, 96, "--objects", 3, "--rounds", 2)
    options = [f"{key}={value}" for key, value in SMALL.items()]
    path = tmp_path / "rows.json"
    arguments = ("benchmark", "targets", CONFIG, "--cfg-options", *options, "--json", path)
    result = run_cli(*arguments, *numbers)
    assert result.code == 0, result.err
    rows = {row["case"]: row for row in json.loads(path.read_text())}
    assert len(rows) == 16
    assert rows["RPN targets: operations"]["ours"] <= 80 < rows["RPN targets: operations"]["peer"]
    waits = {row["ours"] for name, row in rows.items() if "waits" in name}
    assert waits == {0}


def test_both_take_as_many_positives():
    batch = random_batch(InputSize(2, 96, 128, 3), 80, False)
    roi = _RoICase(_cfg(), batch)
    labels, _ = roi.their_targets()
    ours = roi.our_targets()
    assert [int((of_image > 0).sum()) for of_image in labels] == ours.is_pos.sum(dim=1).tolist()
    assert [len(of_image) for of_image in labels] == ours.valid.sum(dim=1).tolist()
    rpn = _RPNCase(_cfg(), batch)
    rpn.our_losses()
    rpn.their_losses()


def test_other_thresholds_than_torchvision_s_are_refused():
    cfg = _cfg(**{"model.rpn_head.assigner.pos_iou_thr": 0.6})
    with pytest.raises(AssertionError, match="torchvision's positive anchors are others"):
        benchmark_targets(cfg, InputSize(1, 64, 64, 2), rounds=1)


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="with a ResNet-50 and FPN"):
        benchmark_targets(load_config("retinanet/retinanet_r50_fpn_1x_coco.py"), InputSize())
