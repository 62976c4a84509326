"""How this process was started: alone, by torchrun or by SLURM."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

_TORCHRUN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
_SLURM = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS")


@dataclass(frozen=True)
class Launch:
    """The place of one process in a launch of several.

    Attributes:
        rank: its number over all nodes.
        local_rank: its number on its node, which is also the number of its GPU.
        world_size: number of processes.
        address: host where they meet.
        port: port there.
    """

    rank: int
    local_rank: int
    world_size: int
    address: str
    port: int


def find_launch(launcher: str | None, env: Mapping[str, str] = os.environ) -> Launch | None:
    """Read the place of this process from the environment.

    Args:
        launcher: 'pytorch' (torchrun), 'slurm', 'none', or None: torchrun if it started this.
        env: environment variables.

    Returns:
        The place, or None for a process of its own.

    Raises:
        ValueError: the environment contradicts ``launcher``.
    """
    by_torchrun = all(name in env for name in _TORCHRUN)
    if launcher == "slurm":
        return _slurm_launch(env)
    if launcher == "pytorch" and not by_torchrun:
        raise ValueError(
            "--launcher pytorch, but this process was not started by torchrun "
            f"({', '.join(n for n in _TORCHRUN if n not in env)} not set): "
            "bash tools/dist_train.sh CONFIG GPUS, or torchrun --nproc-per-node GPUS "
            "tools/train.py CONFIG"
        )
    several = by_torchrun and int(env["WORLD_SIZE"]) > 1
    if launcher == "none" and several:
        raise ValueError(
            f"--launcher none, but torchrun started {env['WORLD_SIZE']} processes, which would all "
            "write to the same work dir: leave --launcher out"
        )
    if by_torchrun and launcher != "none":
        return Launch(
            *(int(env[n]) for n in _TORCHRUN[:3]), env[_TORCHRUN[3]], int(env["MASTER_PORT"])
        )
    if int(env.get("SLURM_PROCID", 0)) > 0:
        raise ValueError(
            f"srun started {env.get('SLURM_NTASKS', 'several')} of these processes, and each would "
            "train alone in the same work dir: add --launcher slurm"
        )
    return None


def restarted_launch(env: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun or SLURM has started this run before and now starts it again."""
    return any(
        int(env.get(n, 0)) > 0 for n in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    )


def launch_name(env: Mapping[str, str] = os.environ) -> str:
    """A name that all restarts of one launch share, and no other launch has."""
    if "SLURM_JOB_ID" in env:
        return f"slurm job {env['SLURM_JOB_ID']}"
    run_id = env.get("TORCHELASTIC_RUN_ID", "none")
    if run_id != "none":
        return f"torchrun {run_id}"
    # the parent is the torchrun of this node, and it is the one that restarts
    return f"{socket.gethostname()}, process {os.getppid()} started at {_start_time(os.getppid())}"


def _slurm_launch(env: Mapping[str, str]) -> Launch:
    missing = [name for name in _SLURM if name not in env]
    if missing:
        raise ValueError(
            f"--launcher slurm, but this process was not started by srun ({', '.join(missing)} not "
            "set): bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR"
        )
    job = int(env.get("SLURM_JOB_ID", 0))
    return Launch(
        *(int(env[name]) for name in ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NTASKS")),
        address=env.get("MASTER_ADDR") or _first_host(env),
        port=int(env.get("MASTER_PORT") or 20000 + job % 10000),
    )


def _first_host(env: Mapping[str, str]) -> str:
    nodes = env.get("SLURM_STEP_NODELIST") or env.get("SLURM_JOB_NODELIST", "")
    if not any(mark in nodes for mark in "[,"):
        return nodes or "127.0.0.1"
    try:
        command = ["scontrol", "show", "hostnames", nodes]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError) as error:
        raise ValueError(
            f"--launcher slurm: cannot tell the first host of {nodes!r} ({error}); set MASTER_ADDR "
            "to its name"
        ) from error


def _start_time(pid: int) -> str:
    """When a process started, in clock ticks since boot: numbers of processes are used again."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:  # not Linux
        return "unknown"
