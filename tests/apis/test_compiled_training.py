"""Whole runs with train.compile. Run with: pytest tests/apis/test_compiled_training.py"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys

import pytest
import torch

from mmdet_lite.apis.train import train

pytestmark = [pytest.mark.slow, pytest.mark.needs_compiler]

# Two stages only, to be compiled sooner; two shapes of images, batch norms that train.
OPTIONS = {
    "model.backbone.out_indices": [0, 1],
    "model.neck.in_channels": [8, 16],
    "train_data.dataset.pipeline": [
        {"type": "RandomChoiceResize", "scales": [[64, 64], [96, 96]], "keep_ratio": True}
    ],
    "train_data.batch_size": 1,
    "train.max_iters": 8,
    "train.checkpoint_interval": 4,
    "train.clip_grad_norm": None,
    "train.channels_last": True,
    "train.ema": {"decay": 0.9, "ramp_up": 5},
    "val_data": None,
    "optimizer.lr": 1e-5,
}


@pytest.fixture
def run(tiny, tmp_path, monkeypatch):
    """Train with options of ``train``; gives all losses and the last checkpoint."""
    monkeypatch.setattr("mmdet_lite.apis.train.plot_curves", lambda *given: None)

    def start(name, resume=False, **options):
        torch._dynamo.reset()
        options = {f"train.{key}": value for key, value in options.items()}
        train(tiny(OPTIONS | options), tmp_path / name, resume)
        lines = map(json.loads, (tmp_path / name / "log.jsonl").read_text().splitlines())
        losses = [[v for k, v in line.items() if "loss" in k] for line in lines]
        return torch.tensor(losses), torch.load(tmp_path / name / "iter_8.pth", weights_only=True)

    return start


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_losses_are_those_of_a_run_that_is_not_compiled(run, caplog, precision):
    caplog.set_level(logging.INFO)
    expected, _ = run("eager", precision=precision)
    losses, state = run("compiled", precision=precision, compile="default")
    tolerance = 1e-4 if precision == "float32" else 5e-2
    torch.testing.assert_close(losses, expected, rtol=tolerance, atol=tolerance)
    assert sorted(state["compiled_shapes"][0]) == [[1, 3, 64, 64], [1, 3, 96, 96]]
    # backbone, neck and head of both shapes
    assert re.findall(r"; (\d+) graphs for (\d) shapes", caplog.text) == [("3", "1"), ("6", "2")]


def test_a_resumed_run_that_compiles_again_continues_bit_for_bit(run, tmp_path, monkeypatch):
    _, straight = run("straight", compile="default")
    # without torch's store of what it has compiled before
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    _, resumed = run("resumed", resume=tmp_path / "straight/iter_4.pth", compile="default")
    assert (tmp_path / "inductor/fxgraph").is_dir()  # it was compiled again
    for part in ("model", "ema"):
        for name, value in straight[part].items():
            assert torch.equal(resumed[part][name], value), name
    for name, value in straight["optimizer"]["state"].items():
        for key in value:
            assert torch.equal(resumed["optimizer"]["state"][name][key], value[key])


def test_a_missing_compiler_is_told_at_the_start(tmp_path):
    script = (
        "import torch; from mmdet_lite.engine.compiled_regions import CompiledRegions\n"
        "model = torch.nn.Linear(1, 1); model.regions = lambda: []\n"
        "try: CompiledRegions(model, 'default')\n"
        "except ValueError as error: print(error)"
    )
    env = {"CXX": "no-such-compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | env, capture_output=True, text=True
    )
    assert "train.compile='default': torch cannot compile for cpu on this machine" in done.stdout
    assert "no-such-compiler" in done.stdout and "apt-get install g++" in done.stdout
