"""How long it takes until something happens: imports, and the first training iteration.

Every turn is a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from mmdet_lite.apis.config import load_config
from mmdet_lite.benchmarks.rows import Row, take_turns, time_row

_OURS, _PEER = "import torch, mmdet_lite", "import torch"
_TORCHVISION = "import torch, torchvision.models.detection"


def benchmark_startup(config: str, rounds: int = 5) -> list[Row]:
    """Time imports, and a training of one iteration, from the start of the process to its end.

    Args:
        config: whose training is started, with everything that a run writes, but no validation.
        rounds: turns of each.

    Raises:
        ChildProcessError: a process failed; holds what it printed.
    """
    imports = {
        code: (lambda code=code: _run([sys.executable, "-c", code]))
        for code in (_OURS, _PEER, _TORCHVISION)
    }
    seconds = take_turns(imports, rounds)
    rows = [time_row(_OURS, seconds[_OURS], seconds[name], name) for name in (_PEER, _TORCHVISION)]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.py"
        cfg = load_config(config, {"train.max_iters": 1, "train.max_epochs": None})
        cfg.val_data = cfg.train.val_interval = cfg.train.checkpoint_interval = None
        cfg.dump(path)
        command = [sys.executable, "-m", "mmdet_lite", "train", str(path), "--work-dir", folder]
        seconds = take_turns({"train": lambda: _run(command)}, rounds)["train"]
    case = f"first training iteration of {config}, to the end of the process"
    return [*rows, time_row(case, seconds, None, "")]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise ChildProcessError(f"{' '.join(command)} failed: it printed\n{done.stdout.strip()}")
