"""What each process of a run is doing, where all the others can read it.

The board is the run's rendezvous store, over a connection of its own. In normal operation every
process only writes its own status; nobody reads.
"""

from __future__ import annotations

import json
import math
import socket
import time
from dataclasses import asdict, dataclass
from datetime import timedelta

import torch.distributed as dist

# What a process can be doing. Every process goes through the same phases in the same order.
PHASES = (
    "start",
    "loading a batch",
    "forward",
    "backward",
    "exchanging losses",
    "update",
    "logging",
    "saving",
    "validation",
    "gathering detections",
    "metrics of the main process",
)
# Long, as connecting asks the name server, and only threads that nobody waits for do it.
_CONNECT_SECONDS = 60.0


@dataclass(frozen=True)
class Status:
    """What one process is doing.

    Attributes:
        host: name of its node.
        pid: number of the process.
        published: when it wrote this, in seconds since 1970 by its own clock; a process that
            lives has written another one a heartbeat later.
        phase: what it does, one of ``PHASES``.
        iteration: in which iteration.
        turn: how many phases of this iteration it had entered before; the same on all processes.
        seconds: for how long it has been in the phase.
    """

    host: str
    pid: int
    published: float
    phase: str
    iteration: int
    turn: int
    seconds: float

    def to_json(self) -> str:
        """As one line of text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: bytes) -> Status | None:
        """Read what :meth:`to_json` gave; None for anything else."""
        try:
            status = cls(**json.loads(text))
            numbers = (status.pid, status.published, status.iteration, status.turn, status.seconds)
            is_sound = status.phase in PHASES and all(map(math.isfinite, numbers))
        except (ValueError, TypeError, OverflowError):
            return None
        return status if is_sound else None


class StatusBoard:
    """The statuses of all processes of a run; several threads may use it.

    Args:
        address: host and port of the rendezvous store.
        rank: number of this process.
        world_size: number of processes.
    """

    def __init__(self, address: tuple[str, int], rank: int, world_size: int):
        self.address = address
        self.rank = rank
        self.world_size = world_size
        self._store: dist.TCPStore | None = None

    def publish(self, status: Status) -> None:
        """Replace this process's status; connects at first, and anew after an error.

        Raises:
            OSError: nobody listens at the address.
            RuntimeError: the store does not take it.
        """
        store = self._connected()
        try:
            store.set(_key(self.rank), status.to_json())
        except RuntimeError:
            self._store = None
            raise

    def read_twice(self, pause: float) -> tuple[list[Status | None], list[Status | None]]:
        """Read everyone's status, wait, and read once more; the network may let this hang.

        Args:
            pause: seconds in between.

        Returns:
            The earlier and the later statuses in the order of ranks, None where there is none.

        Raises:
            OSError: nobody listens at the address.
            RuntimeError: the store does not answer.
        """
        store = self._connected()
        earlier = self._read(store)
        time.sleep(pause)
        return earlier, self._read(store)

    def _connected(self) -> dist.TCPStore:
        if self._store is None:
            # a refused connection makes TCPStore print screens of C++ frames: look first
            socket.create_connection(self.address, timeout=_CONNECT_SECONDS).close()
            limit = timedelta(seconds=_CONNECT_SECONDS)
            self._store = dist.TCPStore(
                *self.address, is_master=False, wait_for_workers=False, timeout=limit
            )
        return self._store

    def _read(self, store: dist.TCPStore) -> list[Status | None]:
        keys = [_key(rank) for rank in range(self.world_size)]
        if not store.check(keys):  # to get what is not there would wait for it
            keys = [key for key in keys if store.check([key])]
        found = dict(zip(keys, store.multi_get(keys), strict=True))
        texts = [found.get(_key(rank), b"") for rank in range(self.world_size)]
        return [Status.from_json(text) for text in texts]


def _key(rank: int) -> str:
    """Not by the number of restarts, which torchrun counts apart on each node."""
    return f"mmdet_lite/status/{rank}"
