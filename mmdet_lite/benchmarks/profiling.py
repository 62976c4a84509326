"""What torch's profiler sees of one run: a trace to look at, and how often a GPU was called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

_LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "hipLaunchKernel")


def save_trace(run: Callable[[], Any], path: Path) -> None:
    """Write a trace of one run, for chrome://tracing or https://ui.perfetto.dev.

    Args:
        run: what to trace.
        path: of the JSON file; folders are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _profile(run).export_chrome_trace(str(path))


def count_launches(run: Callable[[], Any]) -> int:
    """How many kernels and graphs the host launches on a GPU in one run."""
    return launches(_profile(run).key_averages())


def launches(events: Iterable[Any]) -> int:
    """Launches among the averaged events of a profile; a recorded graph is one."""
    return sum(event.count for event in events if event.key.startswith(_LAUNCHES))


def _profile(run: Callable[[], Any]) -> profile:
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities, acc_events=True) as profiler:
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    return profiler
