"""Runs side by side: the figures by hand, what configs differ in, messages."""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import pytest

from mmdet_lite.apis.analyze_logs import analyze_logs, config_differences, summarize
from mmdet_lite.apis.run_logs import Run


def train(iteration, loss, seconds=0.5, share=0.1, **more):
    return {
        **{"mode": "train", "iter": iteration, "epoch": 1, "lr": 0.1, "loss": loss},
        **{"loss_cls": loss / 2, "time": seconds, "data_time_share": share, "memory_mb": 900.4},
        **more,
    }


def val(iteration, ap):
    return {"mode": "val", "iter": iteration, "epoch": 1, "bbox_mAP": ap, "bbox_mAP_50": 2 * ap}


def run(name, *records, config=None, is_foreign=False):
    return Run(name, [Path("log.jsonl")], list(records), config, is_foreign)


ONE = run(
    "one",
    *(train(10, 4.0), train(20, 3.0, seconds=2.0, share=0.4), val(20, 0.5)),
    *(train(30, math.nan, memory_mb=1000.0), train(40, 1.5), val(40, 0.25)),
    config={"seed": 1, "optimizer.lr": 0.1, "work_dir": "a"},
)
TWO = run(
    "two",
    *(train(10, 5.0), val(10, -1.0), train(15, 2.5)),
    config={"seed": 1, "optimizer.lr": 0.2, "work_dir": "b", "model.neck.type": "F" * 50},
)


def test_figures_of_a_run():
    assert summarize(ONE) == {
        "iterations": 40,
        "metrics": {"bbox_mAP": {"best": 0.5, "best_iter": 20, "last": 0.25, "last_iter": 40}},
        "losses": {"loss": 1.5, "loss_cls": 0.75},
        "seconds_per_iteration": (0.5 * 30 + 2.0 * 10) / 40,
        "data_time_share": pytest.approx((0.1 * 15 + 0.4 * 20) / 35),
        "training_seconds": 35.0,
        "memory_mb": 1000.0,
    }
    assert summarize(TWO)["metrics"] == {}, "-1: no such objects"
    assert summarize(TWO)["training_seconds"] == 0.5 * 5 + 0.5 * 5, "10 iterations are 5 and 5"


def test_keys_choose_losses_metrics_and_anything_else():
    summary = summarize(ONE, ["lr", "loss_cls", "bbox_mAP_50"])
    assert summary["losses"] == {"lr": 0.1, "loss_cls": 0.75}
    assert summary["metrics"]["bbox_mAP_50"]["best"] == 1.0 and len(summary["metrics"]) == 1


def test_a_log_that_tells_little():
    summary = summarize(run("r", {"mode": "val", "iter": 7, "epoch": 1, "accuracy": 0.5}))
    assert summary["metrics"]["accuracy"]["last"] == 0.5 and summary["losses"] == {}
    assert summary["seconds_per_iteration"] is None and summary["memory_mb"] is None


def test_the_table():
    assert analyze_logs([ONE, TWO], None, None, as_json=False) == (
        "                           one      two\n"
        "---------------------------------------\n"
        "iterations                  40       15\n"
        "bbox_mAP, best    0.5000 at 20        -\n"
        "bbox_mAP, last    0.2500 at 40        -\n"
        "loss                       1.5      2.5\n"
        "loss_cls                  0.75     1.25\n"
        "s/it                     0.875    0.500\n"
        "waiting for data           27%      10%\n"
        "memory, MB                1000      900\n"
        "training time          0:00:35  0:00:05\n"
        "\n"
        "config           one                                       two\n"
        "--------------------------------------------------------------\n"
        "optimizer.lr     0.1                                       0.2\n"
        f"model.neck.type    -  {'F' * 37}..."
    )


def test_what_configs_differ_in():
    assert config_differences([ONE, TWO]) == {
        "optimizer.lr": [0.1, 0.2],
        "model.neck.type": [None, "F" * 50],
    }
    assert config_differences([ONE]) == {}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (run("two", val(5, 0.5)), "configs are not compared: there is none to be read of two"),
        (
            run("two", val(5, 0.5), config={"a": 1}, is_foreign=True),
            "configs are not compared: some are MMDetection's, whose keys are others",
        ),
        (run("two", val(5, 0.5), config=ONE.config), "the configs do not differ"),
    ],
)
def test_why_no_configs_are_compared(other, said):
    assert analyze_logs([ONE, other], None, None, as_json=False).endswith(f"\n\n{said}")


def test_as_json_what_is_not_finite_is_null():
    text = analyze_logs([run("r", train(10, math.nan)), TWO], None, None, as_json=True)
    content = json.loads(text)
    assert [each["run"] for each in content["runs"]] == ["r", "two"]
    assert content["runs"][0]["losses"] == {"loss": None, "loss_cls": None}
    assert content["config"] == {}


def test_unknown_keys_are_named_with_near_ones():
    with pytest.raises(ValueError) as error:
        analyze_logs([ONE, TWO], ["loss", "bbox_map", "zzz"], None, as_json=False)
    assert str(error.value).startswith(
        "--keys: no run has 'bbox_map' (did you mean 'bbox_mAP' or 'bbox_mAP_50'?), 'zzz'; they "
        "have lr, loss, loss_cls, time"
    )


def test_curves_are_drawn_one_panel_a_key(tmp_path):
    analyze_logs([ONE, TWO], None, tmp_path / "new/curves.png", as_json=False)
    assert cv2.imread(str(tmp_path / "new/curves.png")).shape[:2] == (780, 1170)  # loss, bbox_mAP
    analyze_logs([ONE, TWO], ["loss_cls"], tmp_path / "one.png", as_json=False)
    assert cv2.imread(str(tmp_path / "one.png")).shape[:2] == (442, 1170)


def test_the_command(run_cli, tmp_path):
    line = json.dumps(train(10, 4.0))
    (tmp_path / "log.jsonl").write_text(line + "\n" + line[:9])
    result = run_cli("analyze-logs", tmp_path, "--keys", "loss")
    assert result.code == 0 and result.out.splitlines()[2].split() == ["iterations", "10"]
    result = run_cli("analyze-logs", tmp_path / "none")
    assert result.code == 1 and "none: no such folder or file" in result.err
