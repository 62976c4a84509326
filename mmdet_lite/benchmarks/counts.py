"""What a piece of code asks of the device, in numbers that no other load changes.

Counted are operations as the dispatcher sees them, forward and backward, and what would make the
host wait for a GPU. The latter are counted on the CPU too, where nothing has to wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Views and bookkeeping: nothing runs on the device.
_FREE = {
    *("view", "_unsafe_view", "_reshape_alias", "as_strided", "expand", "permute", "transpose"),
    *("t", "unsqueeze", "squeeze", "select", "slice", "split", "split_with_sizes", "unbind"),
    *("alias", "detach", "unfold", "diagonal", "narrow", "lift_fresh", "empty", "empty_like"),
    *("empty_strided", "new_empty", "new_empty_strided", "_local_scalar_dense", "set_"),
    *("is_same_size", "_has_compatible_shallow_copy_type", "chunk"),
}
_HEAVY = {
    *("convolution", "convolution_backward", "mm", "addmm", "bmm", "baddbmm"),
    *("_convolution", "mkldnn_convolution", "linear", "mkldnn_linear"),
    *("conv2d", "conv_transpose2d", "matmul"),  # seen so in inference mode
}
# Their result's size depends on values, or they hand values to the host.
_WAITS = {
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim"),
    *("unique_consecutive", "nms", "equal", "is_nonzero", "bincount"),
}
_WAITING_METHODS = {Tensor.tolist, Tensor.numpy, Tensor.__array__}


@dataclass
class Counts:
    """What was counted.

    Attributes:
        operations: that run something on the device, but not convolutions and matrix products.
        heavy: convolutions and matrix products, forward and backward.
        waits: places where the host would wait for a GPU.
        names: how often each operation ran.
        waiting: how often each kind of wait occurred.
    """

    operations: int = 0
    heavy: int = 0
    waits: int = 0
    names: Counter = field(default_factory=Counter)
    waiting: Counter = field(default_factory=Counter)

    def add_wait(self, name: str) -> None:
        """Count a place where the host would wait."""
        self.waits += 1
        self.waiting[name] += 1


def count(function: Callable[[], Any]) -> Counts:
    """Run a function once and count, on one thread: what others do is not seen.

    Args:
        function: what to run.
    """
    counts, threads = Counts(), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _Methods(counts), _Operations(counts):
            function()
    finally:
        torch.set_num_threads(threads)
    return counts


class _Operations(TorchDispatchMode):
    """Sees every operation below autograd, those of the backward pass too."""

    def __init__(self, counts: Counts):
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in _HEAVY:
            self.counts.heavy += 1
        elif name not in _FREE:
            self.counts.operations += 1
        self.counts.names[name] += 1
        if name in _WAITS or _has_mask(name, args) or _repeats_by_tensor(name, args, kwargs):
            self.counts.add_wait(name)
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    """Sees what reads values without an operation: ``tolist`` and ``numpy``; and copies to the
    host that are no copies on the CPU."""

    def __init__(self, counts: Counts):
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in _WAITING_METHODS:
            self.counts.add_wait(func.__name__)
        elif func is Tensor.cpu:
            self.counts.add_wait("cpu")
        return func(*args, **(kwargs or {}))


def _has_mask(name: str, args: tuple) -> bool:
    """``x[mask]``, which looks for the mask's nonzero entries inside."""
    if name not in ("index", "index_put", "index_put_", "_index_put_impl_"):
        return False
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])


def _repeats_by_tensor(name: str, args: tuple, kwargs: dict | None) -> bool:
    known = (kwargs or {}).get("output_size") is not None
    return name == "repeat_interleave" and len(args) == 1 and not known
