"""The package of docs/extending.md is imported by a config, and trains."""

from __future__ import annotations

import json

import pytest

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.train import train


@pytest.fixture
def config_file(write_files):
    return write_files("docs/extending.md")["my_config.py"]


def _records(work_dir) -> list[dict]:
    lines = (work_dir / "log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_head_trains(config_file, small, tmp_path):
    cfg = load_config(config_file, small)
    metrics = train(cfg, tmp_path / "run")
    training = [record for record in _records(tmp_path / "run") if record["mode"] == "train"]
    assert [record["iter"] for record in training] == [1, 2]
    assert all(record["loss_mask"] > 0 for record in training)
    assert "segm_mAP" in metrics


def test_the_hook_stops_the_run(config_file, small, tmp_path):
    cfg = load_config(config_file, small | {"hooks.0.hours": 0, "train.max_iters": 5})
    train(cfg, tmp_path / "run")
    assert _records(tmp_path / "run")[-1]["iter"] == 1
    assert "0 hours are over" in (tmp_path / "run/train.log").read_text()
    assert (tmp_path / "run/iter_1.pth").is_file()


def test_without_delete_the_arguments_that_do_not_fit_are_named(config_file, small, tmp_path):
    config_file.write_text(config_file.read_text().replace("_delete_=True", "num_convs=2"))
    with pytest.raises(TypeError, match="LightMaskHead: unknown argument 'conv_out_channels'"):
        train(load_config(config_file, small), tmp_path / "run")
