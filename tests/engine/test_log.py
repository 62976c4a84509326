"""Run with: pytest tests/engine/test_log.py"""

from __future__ import annotations

import io
import json
import logging
import math
import sys

import pytest
import torch

from mmdet_lite.engine.log import RunLog, format_train_line, peak_memory_mb
from mmdet_lite.engine.status_line import Status
from mmdet_lite.engine.writers.all_writers import AllWriters
from mmdet_lite.engine.writers.writer import Writer

RECORD = {
    "mode": "train",
    "iter": 1590,
    "epoch": 3,
    "lr": 0.02,
    "loss": 1.2341,
    "loss_rpn_cls": 0.123,
    "loss_mask": 0.5,
    "acc": 93.123,
    "grad_norm": 4.211,
    "time": 0.4123,
    "data_time_share": 0.031,
    "memory_mb": 2310.4,
}
TIMES = {"lr": 0.1, "loss": 1.0, "time": 1.0, "data_time_share": 0.5, "memory_mb": 9.0}


@pytest.fixture
def log(tmp_path):
    with RunLog(tmp_path / "run").open() as log:
        yield log


def test_the_line_is_readable_at_a_glance():
    assert format_train_line(RECORD, "epoch 3/12  iter 150/720", 751.3) == (
        "epoch 3/12  iter 150/720  eta 0:12:31  lr 2.0e-02  loss 1.234 (rpn_cls 0.123  mask 0.500)"
        "  acc 93.12  grad 4.21  0.412 s/it (data 3%)  mem 2310 MB"
    )


def test_a_model_with_one_loss_has_no_parenthesis():
    record = {**RECORD, "loss": 1.0}
    del record["loss_rpn_cls"], record["loss_mask"], record["grad_norm"]
    line = format_train_line(record, "iter 5/9", 1)
    assert "  loss 1.000  acc 93.12  0.412 s/it" in line


def test_json_lines_hold_every_value(log):
    log.train(RECORD, "iter 150/720", 1.0)
    log.val({"mode": "val", "iter": 1590, "epoch": 3, "bbox_mAP": 0.4, "segm_mAP": math.nan})
    lines = (log.work_dir / "log.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == RECORD
    assert json.loads(lines[1]) == {
        "mode": "val",
        "iter": 1590,
        "epoch": 3,
        "bbox_mAP": 0.4,
        "segm_mAP": None,
    }


def test_messages_of_all_modules_reach_the_console_and_the_file(tmp_path, capsys):
    with RunLog(tmp_path).open():
        logging.getLogger("mmdet_lite.somewhere").info("hello")
        logging.getLogger("mmdet_lite.somewhere").warning("look here")
    logging.getLogger("mmdet_lite.somewhere").warning("too late")
    text = (tmp_path / "train.log").read_text()
    for output in (text, capsys.readouterr().out):
        assert "  hello\n" in output
        assert "  WARNING: look here\n" in output
        assert "too late" not in output


def test_a_resumed_run_appends(tmp_path):
    for value in (0.1, 0.2):
        with RunLog(tmp_path).open() as log:
            log.val({"mode": "val", "iter": 1, "epoch": 1, "mAP": value})
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2
    assert (tmp_path / "train.log").read_text().count("validation at epoch 1, iter 1") == 2


class Written(Writer):
    """Keeps what it is given."""

    def __init__(self):
        self.got = []

    def scalars(self, values, iteration):
        self.got.append((iteration, dict(values)))

    def images(self, pictures, iteration):
        self.got.append((iteration, list(pictures)))

    def close(self, failed):
        self.got.append(failed)


def test_writers_get_numbers_by_mode_pictures_and_how_it_ended(tmp_path):
    writer = Written()
    with pytest.raises(ValueError), RunLog(tmp_path).open() as log:
        log.writers = AllWriters([writer])
        log.val({"mode": "val", "iter": 1, "epoch": 1, "bbox_mAP": 0.1})  # before they are open
        log.writers.open(tmp_path, 0)
        log.train({"mode": "train", "iter": 5, "epoch": 1, **TIMES}, "iter 5/9", 1)
        log.val({"mode": "val", "iter": 5, "epoch": 1, "bbox_mAP": 0.5})
        log.pictures({"7": None}, 5)
        raise ValueError
    assert writer.got == [
        (5, {f"train/{name}": value for name, value in TIMES.items()}),
        (5, {"val/bbox_mAP": 0.5}),
        (5, ["val/7"]),
        True,
    ]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_lines_scroll_above_the_status(tmp_path, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with RunLog(tmp_path).open() as log:
        assert log.has_status_line
        log.status(Status(1, 4, "iter 1/4", 0.5, 2.0))
        logging.getLogger("mmdet_lite").info("hello")
    assert sys.stdout is terminal
    shown = terminal.getvalue()
    assert "iter 1/4  eta 0:00:02" in shown
    before, after = shown.split("  hello\n")
    assert "\r\033[K" in before.rpartition("s/it")[2], "the line makes room"
    assert after.endswith("\r\033[K"), "nothing is left at the end"
    assert (tmp_path / "train.log").read_text().endswith("  hello\n")


def test_elsewhere_there_is_no_status(tmp_path, capsys):
    with RunLog(tmp_path).open() as log:
        assert not log.has_status_line
        log.status(Status(1, 4, "iter 1/4", 0.5, 2.0))
    assert capsys.readouterr().out == ""


def test_memory_is_that_of_this_process():
    assert 50 < peak_memory_mb(torch.device("cpu")) < 100_000


def test_a_disk_that_is_full_at_the_end_raises_no_second_error(tmp_path, monkeypatch, capsys):
    def close(handler):
        raise OSError(28, "No space left on device")

    log = RunLog(tmp_path).open()
    with monkeypatch.context() as patch:
        patch.setattr(logging.FileHandler, "close", close)
        log.close()
    assert f"ERROR: the log in {tmp_path} is incomplete: [Errno 28] No" in capsys.readouterr().out
