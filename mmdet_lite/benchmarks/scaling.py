"""Speed, side by side: contenders take turns in one run, as machines differ from minute to minute.

A contender is a number of processes and the settings of DistributedDataParallel. Every round
launches each of them anew, on the same images; what is compared are the rounds' figures.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmengine.config import Config

from mmdet_lite.apis.config import require, section
from mmdet_lite.benchmarks.machine import describe_machine, num_cores
from mmdet_lite.benchmarks.scaling_report import describe_rounds, step_seconds

logger = logging.getLogger("mmdet_lite")

# Against what training uses: torch's default of 25 MB buckets and gradients that are views of them.
# The second is that default by name: what it differs by is the noise.
_DDP_SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"bucket_cap_mb": 25},
    {"bucket_cap_mb": 5},
    {"bucket_cap_mb": 100},
    {"static_graph": True},
    {"gradient_as_bucket_view": False},
)


@dataclass(frozen=True)
class Contender:
    """One of what is compared.

    Attributes:
        processes: how many train together.
        ddp: arguments of DistributedDataParallel that differ from training's.
    """

    processes: int
    ddp: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """For people."""
        count = f"{self.processes} process{'es' * (self.processes > 1)}"
        return ", ".join([count, *(f"{key}={value}" for key, value in self.ddp.items())])


def list_contenders(processes: Sequence[int], ddp_settings: bool) -> list[Contender]:
    """Every number of processes; those above one with each setting of DDP if asked for."""
    return [
        Contender(count, ddp)
        for count in processes
        for ddp in (_DDP_SETTINGS if ddp_settings and count > 1 else ({},))
    ]


def benchmark(
    cfg: Config,
    contenders: Sequence[Contender],
    batch_size: int | None = None,
    rounds: int = 3,
    iters: int = 10,
    warmup: int = 3,
) -> dict[str, Any]:
    """Measure the training step of a config, in rounds in which every contender has its turn.

    Args:
        cfg: the config; a step is a batch of its ``train_data``, whatever ``train.accumulate``.
        contenders: what to compare; the first is what the others are compared with.
        batch_size: images a step, over all processes; None: ``train_data.batch_size``.
        rounds: how often each contender is launched.
        iters: steps that are timed in each round; with several processes as many more, once with
            and once without communication.
        warmup: steps before that.

    Returns:
        What :func:`mmdet_lite.benchmarks.scaling_report.table` shows, and every single time.

    Raises:
        ValueError: the config is incomplete, or the batch cannot be shared equally.
        ChildProcessError: a contender failed; holds what it printed.
    """
    require(cfg, ("model", "train_data", "train", "optimizer", "schedule"))
    batch_size = batch_size or section(cfg, "train_data").get("batch_size")
    _check_batch_size(batch_size, contenders)
    machine = describe_machine()
    del machine["threads"]  # each contender has its own number
    measured: list[list[dict]] = [[] for _ in contenders]
    for number in range(1, rounds + 1):
        for contender, results in zip(contenders, measured, strict=True):
            results.append(_launch(cfg, contender, batch_size, iters, warmup))
            seconds = step_seconds(results[-1])
            logger.info("round %d/%d: %s: %.3f s/step", number, rounds, contender.name, seconds)
    return {
        "machine": {**machine, "device": measured[0][0]["device"]},
        "settings": {"batch_size": batch_size, "rounds": rounds, "iters": iters, "warmup": warmup},
        "contenders": [
            {"name": contender.name, **asdict(contender), **figures, "rounds": results}
            for contender, figures, results in zip(
                contenders, describe_rounds(measured, batch_size), measured, strict=True
            )
        ],
    }


def _check_batch_size(batch_size: int | None, contenders: Sequence[Contender]) -> None:
    if type(batch_size) is not int or batch_size < 1:
        raise ValueError(
            f"config: train_data.batch_size is {batch_size!r}, expected a whole number from 1 on; "
            "set it or give --batch-size"
        )
    uneven = sorted({c.processes for c in contenders if batch_size % c.processes})
    if uneven:
        raise ValueError(
            f"{batch_size} images a step cannot be shared equally by "
            f"{' or '.join(map(str, uneven))} processes; choose another --batch-size"
        )


def _launch(
    cfg: Config, contender: Contender, batch_size: int, iters: int, warmup: int
) -> dict[str, Any]:
    """One round of one contender, in processes of its own."""
    cfg = copy.deepcopy(cfg)
    cfg.train_data.batch_size = batch_size // contender.processes
    cfg.train.accumulate = 1
    threads = max(1, num_cores() // contender.processes)
    with TemporaryDirectory() as folder:
        config, result = Path(folder) / "config.py", Path(folder) / "result.json"
        cfg.dump(config)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
                *("--nproc-per-node", str(contender.processes)),
                *("-m", "mmdet_lite", "benchmark", "scaling", str(config), "--worker", str(result)),
                *("--iters", str(iters), "--warmup", str(warmup)),
                *("--worker-ddp", json.dumps(contender.ddp)),
            ],
            env={"OMP_NUM_THREADS": str(threads), **os.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise ChildProcessError(f"{contender.name} failed: {_own_message(done.stdout)}")
        return json.loads(result.read_text())


def _own_message(output: str) -> str:
    """The error of a process without what torchrun adds; everything if it ended without one."""
    found = re.search(r"^error(?: on rank \d+)?: (.*?)\n\(for the traceback", output, re.M | re.S)
    return found[1] if found else f"it printed\n{output.strip()}"
