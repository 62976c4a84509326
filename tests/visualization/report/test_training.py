"""The course of a training as curves."""

from __future__ import annotations

from mmdet_lite.visualization.report.training import training_series

TRAIN = [
    {"mode": "train", "iter": i, "loss": 9.0 - i, "loss_cls": 1.0, "lr": 0.1} for i in (1, 2, 3)
]


def test_curves_of_a_run():
    val = {"mode": "val", "iter": 3, "bbox_mAP": 0.25, "bbox_mAP_50": 0.5, "bbox_mAP_s": 0.1}
    series = training_series([*TRAIN, val | {"segm_mAP": -1}])
    assert series["loss"][0] == {"name": "loss", "x": [1, 2, 3], "y": [8.0, 7.0, 6.0]}
    assert [one["name"] for one in series["loss"]] == ["loss", "loss_cls"]
    assert series["mAP"] == [
        {"name": "bbox_mAP", "x": [3], "y": [0.25]},
        {"name": "bbox_mAP_50", "x": [3], "y": [0.5]},
    ]


def test_long_curves_are_thinned_and_keep_their_ends():
    records = [{"mode": "train", "iter": i, "loss": float(i), "lr": 0.1} for i in range(5000)]
    (curve,) = training_series(records)["loss"]
    assert len(curve["x"]) == 200
    assert (curve["x"][0], curve["x"][-1]) == (0, 4999)
    assert curve["y"][100] == curve["x"][100]


def test_values_that_are_not_finite_are_gaps_and_no_log_no_curves():
    record = {"mode": "train", "iter": 1, "loss": float("nan"), "lr": 0.1}
    assert training_series([record])["loss"][0]["y"] == [None]
    assert training_series([]) == {"loss": [], "lr": [], "mAP": []}
