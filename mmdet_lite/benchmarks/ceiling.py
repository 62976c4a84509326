"""What the machine could do at best: the rate of large matrix products."""

from __future__ import annotations

from statistics import median

import torch
from torch.utils.flop_counter import FlopCounterMode

from mmdet_lite.benchmarks.rows import Run, take_turns

_SIDES = {"cpu": 2048, "cuda": 8192}


def product_rate(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of square matrix products, the median of seven."""
    side = _SIDES.get(device.type, _SIDES["cpu"])
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = take_turns({"product": lambda: a @ b}, rounds=7, device=device)["product"]
    return 2 * side**3 / median(seconds)


def count_flops(run: Run) -> int:
    """FLOPs of convolutions and matrix products, forward and backward, of one call."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()
