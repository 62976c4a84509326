"""How anchors fit the data: the numbers, better anchors, and who says so when."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from mmengine.config import Config

from mmdet_lite.apis.anchors import (
    box_sizes,
    check_anchors,
    fit_anchors,
    measure_fit,
    report_anchors,
)
from mmdet_lite.apis.build import build_dataset, build_model
from mmdet_lite.apis.config import load_config

DEMO = "demo/yolov5_shapes.py"
FEW = {"train_data.dataset.num_images": 40}
TINY_ANCHORS = {
    "model.bbox_head.prior_generator.base_sizes": [[(1, 1), (2, 2)], [(3, 3), (4, 4)], [(9, 2)] * 2]
}


def _demo(**options):
    return load_config(DEMO, FEW | options)


def _check(cfg, caplog) -> str:
    with caplog.at_level(logging.INFO, logger="mmdet_lite"):
        check_anchors(cfg, build_model(cfg), build_dataset(cfg, "train", 0))
    return caplog.text


def test_boxes_match_by_the_worse_of_their_sides():
    anchors = np.array([[10.0, 10], [20, 40]])
    sizes = np.array([[39.0, 3], [12, 11], [30, 39], [41, 10], [40, 40]])
    fit = measure_fit(sizes, anchors, 4.0)
    # to the first anchor: 3.9, 1.2, 3.9, 4.1 and exactly 4; to the second: 13, 3.6, 1.5, 4 and 2
    assert fit.recall == pytest.approx(4 / 5)
    assert fit.matches == pytest.approx((1 + 2 + 2 + 0 + 1) / 5)


def test_sizes_are_those_of_the_evaluation_pipeline():
    cfg = _demo(**{"val_data.dataset.pipeline": [{"type": "Resize", "scale": (256, 256)}]})
    dataset = build_dataset(cfg, "train", 0)
    sizes = box_sizes(cfg, dataset, 5)
    loaded = [dataset.load(index).boxes for index in (0, 10, 20, 29, 39)]
    expected = np.concatenate([boxes[:, 2:] - boxes[:, :2] for boxes in loaded])
    np.testing.assert_allclose(sizes, 2 * expected)


def test_a_pipeline_is_found_in_wrapped_data_and_need_not_be_there():
    inner = dict(type="ShapesDataset", num_images=3, pipeline=[dict(type="Resize", scale=(8, 8))])
    wrapped = dict(type="RepeatDataset", dataset=dict(type="ConcatDataset", datasets=[inner]))
    train = Config(dict(train_data=dict(batch_size=1, dataset=inner)))
    dataset = build_dataset(train, "train", 0)
    small = box_sizes(train, dataset, 3)
    assert small.max() <= 8
    nested = Config(dict(val_data=dict(dataset=wrapped)))
    np.testing.assert_allclose(box_sizes(nested, dataset, 3), small)


def test_fitted_anchors_are_the_sizes_that_there_are():
    rng = np.random.default_rng(0)
    groups = np.array([[10.0, 12], [40, 20], [90, 150]])
    sizes = np.concatenate([group + rng.uniform(-1, 1, (50, 2)) for group in groups])
    anchors = fit_anchors(sizes, 3, 4.0)
    np.testing.assert_allclose(anchors, groups, rtol=0.05)
    assert np.array_equal(anchors, fit_anchors(sizes, 3, 4.0))
    assert measure_fit(sizes, anchors, 1.3).recall == 1


def test_fitting_makes_a_bad_fit_good():
    sizes = np.random.default_rng(1).uniform(4, 200, (400, 2))
    before = measure_fit(sizes, np.full((6, 2), 10.0), 4.0).recall
    assert before < 0.5
    assert measure_fit(sizes, fit_anchors(sizes, 6, 4.0), 4.0).recall > 0.98


def test_too_few_boxes_are_told():
    with pytest.raises(ValueError, match="9 anchors need at least as many boxes"):
        fit_anchors(np.full((8, 2), 20.0), 9, 4.0)
    same = fit_anchors(np.full((9, 2), 20.0), 9, 4.0)  # no spread, which k-means divides by
    np.testing.assert_allclose(same, 20.0, rtol=0.2)


def test_good_anchors_are_left_alone(caplog):
    cfg = _demo()
    assert "match at least one" in report_anchors(cfg) and "base_sizes" not in report_anchors(cfg)
    text = _check(cfg, caplog)
    assert "WARNING" not in text and "boxes match one" in text


def test_bad_anchors_are_told_at_the_start_and_better_ones_printed(caplog, run_cli):
    cfg = _demo(**TINY_ANCHORS)
    text = _check(cfg, caplog)
    assert "WARNING" in text and f"`mmdet-lite anchors {cfg.filename}`" in text

    pairs = [f"{key}={value}".replace(" ", "") for key, value in (FEW | TINY_ANCHORS).items()]
    result = run_cli("anchors", DEMO, "--num", 30, "--cfg-options", *pairs)
    assert result.code == 0, result.err
    snippet = result.out[result.out.index("model = dict(") :]
    head = Config.fromstring(snippet, ".py").model.bbox_head
    better = _demo(
        **{"model.bbox_head.prior_generator.base_sizes": head.prior_generator.base_sizes}
    )
    assert [len(level) for level in head.prior_generator.base_sizes] == [2, 2, 2]
    assert "100.0% of" in report_anchors(better)


def test_heads_without_such_anchors_are_passed_over_or_told(caplog, tiny, cli_error):
    cfg = tiny()
    assert _check(cfg, caplog) == ""
    message = cli_error("anchors", "configs/demo/retinanet-ap_shapes.py")
    assert message.endswith("but model.bbox_head is RetinaHead")


def test_proposed_anchors_that_are_no_better_or_of_few_boxes_are_told(monkeypatch):
    worse = np.linspace([5.0, 5], [6, 6], 9)
    monkeypatch.setattr("mmdet_lite.apis.anchors.fit_anchors", lambda *given: worse)
    cfg = _demo(**{"train_data.dataset.num_images": 4})
    text = report_anchors(cfg, always_fit=True)
    assert "boxes alone, which is little for 9 anchors" in text
    assert "They fit no better than the config's, which are to be kept" in text
    monkeypatch.undo()
    text = report_anchors(_demo(**{"train_data.dataset.num_images": 80}), always_fit=True)
    assert "which is little" not in text and "no better" not in text
