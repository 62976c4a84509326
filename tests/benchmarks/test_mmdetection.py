"""MMDetection as a peer: only where it is installed, with the operators of mmcv."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.apis.config import load_config
from mmdet_lite.benchmarks import mmdetection, training
from mmdet_lite.benchmarks.inputs import InputSize

MASK = "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"


def test_peers_are_those_that_are_installed(monkeypatch):
    found = {"mmdet": object(), "mmcv._ext": None}
    monkeypatch.setattr(mmdetection.importlib.util, "find_spec", found.get)
    assert not mmdetection.is_installed()
    found["mmcv._ext"] = object()
    assert mmdetection.is_installed()


@pytest.mark.skipif(not mmdetection.is_installed(), reason="no MMDetection with mmcv's operators")
def test_mmdetection_detects_what_ours_detects():
    every = {"model.roi_head.bbox_head.score_thr": 0.001}  # weights are random
    match = training._Match(load_config(MASK, every), InputSize(1, 96, 128, 3))
    ours, theirs = match.our_model(training.Variant()).eval(), match._mmdetection_model().eval()
    theirs.roi_head.test_cfg.score_thr = 0.001
    data = mmdetection.mmdetection_inputs(match.batch)
    with torch.inference_mode():
        found, (expected,) = ours(match.batch), theirs.test_step(data)
    boxes, valid = expected.pred_instances.bboxes, found.valid[0]
    assert len(boxes) == valid.sum() > 0
    torch.testing.assert_close(found.boxes[0][valid], boxes, rtol=0, atol=1e-2)
