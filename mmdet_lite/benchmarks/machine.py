"""What a figure depends on: processor, cores, load, versions."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch
import torchvision

from mmdet_lite import __version__


def describe_machine(device: torch.device | str = "cpu") -> dict[str, Any]:
    """What a figure depends on, as plain values.

    Args:
        device: what computes.
    """
    is_gpu = torch.device(device).type == "cuda"
    return {
        "cpu": _cpu_name(),
        "cores": num_cores(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "device": torch.cuda.get_device_name() if is_gpu else "CPU",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "mmdet_lite": __version__,
    }


def heading(machine: dict[str, Any]) -> str:
    """One line about the machine for people."""
    threads = f", {machine['threads']} threads" if "threads" in machine else ""
    return (
        f"{machine['cpu']}, {machine['cores']} cores{threads} (load {machine['load']} at the "
        f"start), {machine['device']}, torch {machine['torch']}, "
        f"torchvision {machine['torchvision']}, Python {machine['python']}, "
        f"mmdet_lite {machine['mmdet_lite']}"
    )


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
