"""The same run on a GPU: in each precision, resumed, and its checkpoint tested."""

from __future__ import annotations

import json
import math

import pytest

from mmdet_lite.apis.test import test as evaluate_checkpoint
from mmdet_lite.apis.train import train

pytestmark = pytest.mark.needs_gpu


@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_run_on_the_gpu_is_finite_and_resumes(tiny, tmp_path, precision):
    options = {"train.precision": precision, "train.checkpoint_interval": 2}
    train(tiny({**options, "train.max_iters": 2}), tmp_path)
    train(tiny({**options, "train.max_iters": 4}), tmp_path, resume=True)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if line["mode"] == "train"]
    assert [line["iter"] for line in steps] == [1, 2, 3, 4]
    assert all(math.isfinite(line["loss"]) for line in steps)
    assert "cuda (" in (tmp_path / "train.log").read_text()
    metrics = evaluate_checkpoint(tiny({"train.precision": precision}), tmp_path / "iter_4.pth")
    assert 0 <= metrics["bbox_mAP"] <= 1


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compiled_losses_on_the_gpu_are_those_of_a_run_that_is_not_compiled(tiny, tmp_path, mode):
    options = {"train.max_iters": 6, "train.precision": "bf16"}
    losses = []
    for compiled in (None, mode):
        folder = tmp_path / str(compiled)
        train(tiny({**options, "train.compile": compiled, "optimizer.lr": 1e-5}), folder)
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        losses.append([line["loss"] for line in lines if line["mode"] == "train"])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
