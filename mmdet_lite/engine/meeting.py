"""Where the processes of a launch meet.

torchrun's store outlives its processes. When it starts them again, the addresses of the dead ones
are still in it, and whoever reads one before its successor has overwritten it waits for a dead
process. Here the main process serves a store of its own, and torchrun's only tells where that is.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from datetime import timedelta

import torch.distributed as dist

from mmdet_lite.engine.launch import Launch

_PLACE = "mmdet_lite/place"
_TRY = timedelta(seconds=30)  # more than a slow name server takes
_PAUSE = 0.5


def meet(launch: Launch, timeout: timedelta) -> dist.TCPStore:
    """A store that only the processes of this start know.

    Returns:
        The store; ``host`` and ``port`` are what all but the main process connect to.

    Raises:
        dist.DistError: not all came in time.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        is_main = launch.rank == 0
        return dist.TCPStore(launch.address, launch.port, launch.world_size, is_main, timeout)
    torchruns = dist.TCPStore(launch.address, launch.port, is_master=False, timeout=timeout)
    if launch.rank == 0:
        return _serve(torchruns, launch, timeout)
    return _find(torchruns, launch, timeout)


def _serve(torchruns: dist.TCPStore, launch: Launch, timeout: timedelta) -> dist.TCPStore:
    host = _own_address(launch)
    store = dist.TCPStore(host, 0, None, True, timeout, wait_for_workers=False)
    torchruns.set(_PLACE, f"{host} {store.port}")
    for rank in range(1, launch.world_size):
        store.set(f"welcome/{store.get(f'here/{rank}').decode()}", "")
    return store


def _find(torchruns: dist.TCPStore, launch: Launch, timeout: timedelta) -> dist.TCPStore:
    """Look for the main process until it answers: the place may still be that of a dead one."""
    name = uuid.uuid4().hex
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        try:
            host, port = torchruns.get(_PLACE).decode().split()
            # a refused connection makes TCPStore print screens of C++ frames: look first
            socket.create_connection((host, int(port)), timeout=_TRY.total_seconds()).close()
            store = dist.TCPStore(host, int(port), is_master=False, timeout=_TRY)
            store.set(f"here/{launch.rank}", name)
            store.wait([f"welcome/{name}"], _TRY)
            store.set_timeout(timeout)
            return store
        except (OSError, RuntimeError):
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)


def _own_address(launch: Launch) -> str:
    """Where the other nodes reach this one: on the way by which it reaches torchrun's store."""
    with socket.create_connection((launch.address, launch.port)) as connection:
        own = connection.getsockname()[0]
    # the store is on this node: its address is what the others know it by
    return launch.address if own.startswith("127.") or own == "::1" else own
