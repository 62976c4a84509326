"""Logs of plain, resumed and killed runs."""

from __future__ import annotations

import json
import math

import cv2
import pytest

from mmdet_lite.visualization.curves import plot_curves, read_log


def train(iteration, loss=1.0):
    parts = {"loss_cls": loss / 2, "loss_bbox": loss / 2}
    return {"mode": "train", "iter": iteration, "epoch": 1, "lr": 0.02, "loss": loss, **parts}


def val(iteration, ap=0.5):
    return {"mode": "val", "iter": iteration, "epoch": 1, "bbox_mAP": ap, "bbox_mAP_50": -1}


def write(path, records, tail=""):
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + tail)
    return path


def test_a_resumed_run_replaces_what_it_does_again(tmp_path):
    before = [train(10), train(20), val(20), train(30), val(40), train(50)]
    after = [train(20, loss=7), val(20, ap=0.7), train(30, loss=7)]
    log = write(tmp_path / "log.jsonl", before + after)
    assert read_log(log) == [train(10), *after]


def test_lines_that_were_cut_off_are_left_out_with_a_warning(tmp_path, caplog):
    log = write(tmp_path / "log.jsonl", [train(10), train(20)], tail='{"mode": "tra')
    assert read_log(log) == [train(10), train(20)]
    assert "log.jsonl: left out lines that are not log records: 3" in caplog.text


def test_values_that_were_not_finite_are_nan_and_leave_gaps(tmp_path):
    lines = [train(10), {**train(20), "loss": None}, {**val(20), "bbox_mAP": None}, train(30)]
    log = write(tmp_path / "log.jsonl", lines)
    assert math.isnan(read_log(log)[1]["loss"])
    plot_curves(log, tmp_path / "curves.png")


@pytest.mark.parametrize("validations", [[], [val(20), val(40, ap=-1)]])
def test_curves_are_drawn(tmp_path, validations):
    log = write(tmp_path / "log.jsonl", [train(10), train(20), *validations[:1], train(30)])
    plot_curves(log, tmp_path / "new" / "curves.png")
    picture = cv2.imread(str(tmp_path / "new" / "curves.png"))
    height, width = picture.shape[:2]
    assert width == 1170 and height == (1274 if validations else 884)
    assert picture.min() < 60 and picture[:3].min() == 255


def test_a_missing_log_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.jsonl: no such log"):
        plot_curves(tmp_path / "none.jsonl", tmp_path / "curves.png")


def test_a_log_without_training_lines_is_refused(tmp_path):
    log = write(tmp_path / "log.jsonl", [val(20)])
    with pytest.raises(ValueError, match="no line of a training step"):
        plot_curves(log, tmp_path / "curves.png")
