"""What is started to be timed, and that failures are told."""

from __future__ import annotations

import subprocess

import pytest
from mmengine.config import Config

from mmdet_lite.benchmarks.startup import benchmark_startup


def test_every_turn_is_a_process_of_its_own(monkeypatch):
    commands, trained = [], []

    def run(command, **_):
        commands.append(command)
        if "train" in command:
            trained.append(Config.fromfile(command[command.index("train") + 1]))
        return subprocess.CompletedProcess(command, 0, stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    rows = benchmark_startup("demo/yolov8_shapes.py", rounds=2)
    assert [row.peer_name for row in rows[:2]] == [
        *("import torch", "import torch, torchvision.models.detection")
    ]
    assert rows[2].peer is None and rows[2].ours > 0
    assert len(commands) == 3 * 3 + 3 and len(trained) == 3
    assert trained[0].train.max_iters == 1 and trained[0].val_data is None


def test_failure_is_told(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, stdout="no torch\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ChildProcessError, match="import torch.* failed: it printed\nno torch"):
        benchmark_startup("demo/yolov8_shapes.py", rounds=1)
