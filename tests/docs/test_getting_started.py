"""docs/getting_started.md and docs/checkpoints.md describe what a run leaves behind."""

from __future__ import annotations

import json
import re

import pytest

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.test import test as evaluate
from mmdet_lite.apis.train import train
from mmdet_lite.engine.checkpoint import load_checkpoint

STARTED, CHECKPOINTS = "docs/getting_started.md", "docs/checkpoints.md"
DEMO = "configs/demo/mask-rcnn_r18_fpn_shapes.py"


@pytest.fixture
def run(workspace, small, monkeypatch):
    """A finished run in the folder that the pages speak of."""
    small |= {"model.roi_head.mask_head.conv_out_channels": 8}
    small |= {f"test_data.{k}": v for k, v in (("num_workers", 0), ("dataset.num_images", 2))}
    small |= {"test_data.dataset.image_size": [64, 64]}
    cfg = load_config(DEMO, small)
    folder = workspace / "work_dirs/first"
    train(cfg, folder)
    return cfg, folder


def test_a_run_leaves_what_the_pages_list(run, read_page, capsys):
    cfg, folder = run
    text = read_page(STARTED).text
    table = text[text.index("## The work dir") : text.index("A new run in a used folder")]
    listed = set(re.findall(r"^\| `([\w.]+)`", table, re.M)) - {"iter_60.pth"}
    assert listed <= {path.name for path in folder.iterdir()}
    assert {"log.jsonl", "curves.png", "config.py", "best_segm_mAP.pth"} <= listed

    table = read_page(CHECKPOINTS).text.partition("## What is inside")[2].partition("```")[0]
    keys = {
        key for row in re.findall(r"^\| (`.+?) \|", table, re.M) for key in row.split("`")[1::2]
    }
    assert keys == load_checkpoint(folder / "best_segm_mAP.pth").keys()

    metrics = evaluate(cfg, folder / "best_segm_mAP.pth")
    table = text[text.index("The keys of the metrics") : text.index("The figures are pyco")]
    keys = {
        key for row in re.findall(r"^\| (`.+?) \|", table, re.M) for key in row.split("`")[1::2]
    }
    assert metrics.keys() == {f"{prefix}_{key}" for prefix in ("bbox", "segm") for key in keys}


def test_fields_of_the_log_are_those_of_the_page(run, read_page):
    record = json.loads((run[1] / "log.jsonl").read_text().splitlines()[0])
    sentence = (
        read_page(STARTED).text.partition("In `log.jsonl` they are called")[2].split("\n\n")[0]
    )
    assert set(re.findall(r"`(\w+)`", sentence)) == record.keys() - {"mode", "iter", "epoch"}


def test_snippets_run(run, read_page, monkeypatch, capsys):
    names: dict = {}
    exec(read_page(STARTED).blocks("python")[0], names)
    assert [iteration for iteration, _ in names["losses"]] == [1, 2]
    assert names["scores"][-1][0] == 2
    monkeypatch.chdir(run[1])
    capsys.readouterr()
    exec(read_page(CHECKPOINTS).blocks("python")[0], {})
    assert "circle" in capsys.readouterr().out
