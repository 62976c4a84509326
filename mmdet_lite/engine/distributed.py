"""The processes that train together, and what they tell each other.

What they exchange on the host goes through a gloo group of its own: it waits for no device and
takes no device memory. Gradients go through DistributedDataParallel.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mmdet_lite.engine.launch import Launch, find_launch
from mmdet_lite.engine.meeting import meet

# torch's own limit comes later than the watchdog's, which says what happened.
_GRACE = timedelta(minutes=2)

# The words of gloo and NCCL for a process that is gone.
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "NCCL error")

_host_group: dist.ProcessGroup | None = None


@contextmanager
def processes(launcher: str | None = None, timeout: float = 1800) -> Iterator[None]:
    """Join the processes that were started together; nothing to do for a process of its own.

    Args:
        launcher: see :func:`mmdet_lite.engine.launch.find_launch`.
        timeout: seconds until a run in which a process stalls is ended.

    Raises:
        ValueError: the environment does not fit, or the node has too few GPUs.
        ConnectionError: the processes do not find each other, or one of them is lost.
    """
    launch = find_launch(launcher)
    if launch is None:
        yield
        return
    _join(launch, timedelta(seconds=timeout) + _GRACE)
    try:
        yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _LOST):
            raise
        raise ConnectionError(
            f"rank {launch.rank} lost the connection to another process, which as a rule has "
            f"failed or was killed; look for its own message ({str(error).splitlines()[0]})"
        ) from error
    _leave()  # not after an error: NCCL would wait for the others


def rank() -> int:
    """This process's number, 0 when there is only one."""
    return dist.get_rank() if _is_joined() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _is_joined() else 1


def is_main() -> bool:
    """Whether this is the process that writes logs and checkpoints."""
    return rank() == 0


def wrap(model: nn.Module) -> nn.Module:
    """Let the processes average a model's gradients; a single process keeps the model as it is.

    Buffers are not sent around in every step: :func:`copy_buffers_from_main` does before they are
    used.
    """
    if world_size() == 1:
        return model
    device = next(model.parameters()).device
    is_new = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **{
            "forward_sync_buffers" if is_new else "broadcast_buffers": False
        },  # torch 2.15 renamed it
    )


def copy_buffers_from_main(model: nn.Module) -> None:
    """Give every process the main one's buffers (running statistics), as checkpoints have them."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def max_over_processes(values: Sequence[float]) -> list[float]:
    """The maximum of each value over the processes, the same list on all of them."""
    return _reduce(values, dist.ReduceOp.MAX)


def mean_over_processes(values: Sequence[float]) -> list[float]:
    """The mean of each value over the processes, the same list on all of them."""
    return [value / world_size() for value in _reduce(values, dist.ReduceOp.SUM)]


def gather_to_main(value: Any) -> list[Any] | None:
    """Every process's value, in the order of ranks, on the main process; None on the others."""
    if world_size() == 1:
        return [value]
    gathered = [None] * world_size() if is_main() else None
    dist.gather_object(value, gathered, dst=0, group=_host_group)
    return gathered


def from_main(value: Any) -> Any:
    """The main process's value, on all of them."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0, group=_host_group)
    return values[0]


def wait_for_all() -> None:
    """Return when every process has come here."""
    if world_size() > 1:
        dist.barrier(group=_host_group)


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _reduce(values: Sequence[float], operation: dist.ReduceOp) -> list[float]:
    if world_size() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(tensor, operation, group=_host_group)
    return tensor.tolist()


def _join(launch: Launch, timeout: timedelta) -> None:
    global _host_group
    backend = "gloo"
    if torch.cuda.is_available():
        _take_gpu(launch)
        backend = "cpu:gloo,cuda:nccl"
    try:
        store = meet(launch, timeout)
        os.environ.update(MASTER_ADDR=store.host, MASTER_PORT=str(store.port))
        dist.init_process_group(
            backend, store=store, rank=launch.rank, world_size=launch.world_size, timeout=timeout
        )
        _host_group = dist.new_group(backend="gloo", timeout=timeout)
    except (OSError, RuntimeError) as error:  # torch's DistError is a RuntimeError
        raise ConnectionError(
            f"rank {launch.rank} of {launch.world_size} could not join the others at "
            f"{launch.address}:{launch.port}: {error}\nCheck that all processes were started, with "
            "the same address, port and number of nodes, and that the port is open between the "
            "nodes; on nodes with several networks set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME"
        ) from error


def _take_gpu(launch: Launch) -> None:
    count = torch.cuda.device_count()
    if launch.local_rank >= count:
        raise ValueError(
            f"process {launch.local_rank} of this node has no GPU, as the node has {count}: start "
            f"{count} processes a node"
        )
    torch.cuda.set_device(launch.local_rank)


def _leave() -> None:
    global _host_group
    _host_group = None
    dist.destroy_process_group()
