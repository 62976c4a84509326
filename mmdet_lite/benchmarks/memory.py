"""The most memory that tensors take at a time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from mmdet_lite.benchmarks.rows import Run

_RUNS = "what is measured"


def peak_memory(make: Callable[[], Run], device: torch.device) -> float:
    """Peak in MB during two calls in a row, the model being part of it.

    The second call is the one with gradients and the optimizer's state in memory. On the CPU it is
    the sum of what torch's allocator gave out, of which the convolution library's working memory is
    no part; the same from run to run.

    Args:
        make: builds a model and gives what to call.
        device: whose memory.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
        run = make()
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)
        _run_twice(run)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run = make()
        gc.collect()
        with record_function(_RUNS):
            _run_twice(run)
    events = profiled.profiler.kineto_results.events()
    begin = next(event.start_ns() for event in events if event.name() == _RUNS)
    return _peak((event for event in events if event.name() == "[memory]"), begin) / 1e6


def _run_twice(run: Run) -> None:
    run()
    run()


def _peak(events: Iterable, begin: int) -> int:
    """The highest sum of allocations and releases in the order of time, from ``begin`` on."""
    total = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        total += event.nbytes()
        if event.start_ns() >= begin:
            highest = max(highest, total)
    return highest
