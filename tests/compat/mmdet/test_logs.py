"""Logs as MMDetection 3.x writes them; the lines are mmengine's, shortened."""

from __future__ import annotations

from mmdet_lite.compat.mmdet.logs import is_mmdet_record, translate_records

BY_EPOCH = [
    {"lr": 0.02, "data_time": 0.01, "loss": 2.5, "loss_cls": 1.5, "grad_norm": 7.0, "time": 0.04}
    | {"epoch": 1, "iter": 50, "memory": 2310, "step": 50},
    {"coco/bbox_mAP": 0.1, "coco/bbox_mAP_50": 0.2, "data_time": 0.1, "time": 0.2, "step": 1},
]
BY_ITERATION = [
    {"lr": 0.01, "loss": 2.5, "time": 0.4, "iter": 50, "step": 50},
    {"coco/segm_mAP": 0.1, "step": 60},
    {"lr": 0.01, "loss": 1.5, "time": 0.4, "iter": 100, "step": 100},
    {"coco/segm_mAP": 0.2, "step": 0},
]


def test_a_run_by_epochs():
    train, val = translate_records(BY_EPOCH)
    assert train == {
        **{"mode": "train", "iter": 50, "epoch": 1, "lr": 0.02, "loss": 2.5, "loss_cls": 1.5},
        **{"grad_norm": 7.0, "time": 0.04, "data_time_share": 0.25, "memory_mb": 2310},
    }
    assert val == {"mode": "val", "iter": 50, "epoch": 1, "bbox_mAP": 0.1, "bbox_mAP_50": 0.2}


def test_a_run_by_iterations_tells_them_if_it_is_told_to():
    records = translate_records(BY_ITERATION)
    assert [(r["mode"], r["iter"]) for r in records] == [
        *[("train", 50), ("val", 60)],
        *[("train", 100), ("val", 100)],
    ]
    assert records[3] == {"mode": "val", "iter": 100, "epoch": 1, "segm_mAP": 0.2}


def test_whose_line_it_is():
    assert all(map(is_mmdet_record, BY_EPOCH + BY_ITERATION))
    assert not is_mmdet_record({"mode": "train", "iter": 50, "epoch": 1})
    assert not is_mmdet_record({"bbox_mAP": 0.5})
