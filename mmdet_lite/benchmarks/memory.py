"""The most memory that tensors take at a time."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable

import torch
from torch.profiler import ProfilerActivity, profile

from mmdet_lite.benchmarks.rows import Run


def peak_memory(make: Callable[[], Run], device: torch.device) -> float:
    """Peak of two calls in a row in MB, from before the model exists.

    On the CPU it is the sum of what torch's allocator gave out, which the convolution library's
    working memory is not part of; the same from run to run.

    Args:
        make: builds a model and gives what to call.
        device: whose memory.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        _run_twice(make)
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        _run_twice(make)
    events = profiled.profiler.kineto_results.events()
    return _peak(event for event in events if event.name() == "[memory]") / 1e6


def _run_twice(make: Callable[[], Run]) -> None:
    """The second call is the one with gradients and the optimizer's state in memory."""
    run = make()
    run()
    run()


def _peak(events: Iterable) -> int:
    """The highest sum of allocations and releases in the order of time."""
    total = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        total += event.nbytes()
        highest = max(highest, total)
    return highest
