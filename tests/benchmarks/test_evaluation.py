"""Evaluation beside pycocotools: what is compared, and what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmdet_lite.benchmarks.evaluation import benchmark_evaluation
from mmdet_lite.benchmarks.evaluation_inputs import (
    EvaluationSize,
    RandomObjects,
    random_boxes,
    random_results,
)
from mmdet_lite.evaluation import CocoMetric

SMALL = EvaluationSize(images=12, detections=30, masks=3, classes=4, height=60, width=80)


def test_figures_are_written(run_cli, tmp_path):
    numbers = ("--images", 12, "--detections", 30, "--masks", 3, "--classes", 4, "--size", 60, 80)
    result = run_cli("benchmark", "eval", *numbers, "--rounds", 2, "--json", tmp_path / "rows.json")
    assert result.code == 0, result.err
    boxes, masks = json.loads((tmp_path / "rows.json").read_text())
    assert boxes["case"] == "COCO's figures of 12 x 30 boxes"
    assert masks["case"] == "12 x 3 masks pasted and encoded"
    assert boxes["peer_name"] == "pycocotools"
    assert masks["settings"]["width"] == 80
    assert min(boxes["ours"], boxes["peer"], masks["ours"], masks["peer"]) > 0


def test_detections_are_worth_evaluating():
    rng = np.random.default_rng(0)
    objects, metric = RandomObjects(SMALL, rng), CocoMetric(("bbox",))
    metric.prepare(objects)
    values = metric.compute(random_results(objects, SMALL, rng))
    assert 0.05 < values["bbox_mAP"] < 0.8
    assert 3 < objects.counts.mean() < 12


def test_boxes_lie_inside_their_image():
    boxes = random_boxes(1000, SMALL, np.random.default_rng(0))
    assert boxes.min() >= 0
    assert ((boxes[:, :2] + boxes[:, 2:]) <= [80, 60]).all()


def test_other_figures_than_pycocotools_end_the_measurement(monkeypatch):
    values = dict.fromkeys(CocoMetric(("bbox",)).names(), 0.5)
    monkeypatch.setattr(CocoMetric, "compute", lambda *_: values)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        benchmark_evaluation(SMALL)


def test_other_masks_than_pycocotools_end_the_measurement(monkeypatch):
    monkeypatch.setattr("mmdet_lite.evaluation.detection_metric.encode_masks", lambda *_: [b"0"])
    with pytest.raises(AssertionError, match="encoded masks differ"):
        benchmark_evaluation(SMALL)
