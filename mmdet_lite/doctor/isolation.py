"""Work in processes that may crash or hang over an item without taking the others along."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

_Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Lost:
    """What comes instead of a result where the process was lost.

    Args:
        reason: how: 'crashes (signal 11)'.
    """

    reason: str


def run_isolated(
    make_function: Callable[[], _Function],
    items: Sequence[Any],
    num_workers: int,
    timeout_s: float,
) -> Iterator[tuple[int, Any]]:
    """Apply a function to every item, in other processes, one item at a time in each.

    Args:
        make_function: called once in each process; gives the function. Both must be picklable
            where processes are not forked.
        items: what the function is called with.
        num_workers: processes, from 1 on.
        timeout_s: a process that needs longer for an item is killed.

    Yields:
        The index of an item, and the function's result or :class:`Lost`, as they are done.

    Raises:
        Exception: whatever the function raises.
    """
    todo = iter(range(len(items)))
    busy = [_Worker(make_function) for _ in range(min(num_workers, len(items)))]
    for worker in busy:
        worker.take(next(todo), items, timeout_s)
    try:
        while busy:
            for worker in _ready(busy):
                index, result = worker.index, worker.result()
                if isinstance(result, Exception):
                    raise result
                busy.remove(worker)
                following = next(todo, None)
                if following is None or isinstance(result, Lost):
                    worker.stop()
                if following is not None:
                    if isinstance(result, Lost):
                        worker = _Worker(make_function)
                    worker.take(following, items, timeout_s)
                    busy.append(worker)
                yield index, result
    finally:
        for worker in busy:
            worker.stop()


class _Worker:
    """A process, the item that it has in hand, and until when it may have it."""

    def __init__(self, make_function: Callable[[], _Function]):
        self.pipe, theirs = multiprocessing.Pipe()
        arguments = (make_function, theirs, self.pipe)
        self.process = multiprocessing.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.index = -1
        self.deadline = 0.0

    def take(self, index: int, items: Sequence[Any], timeout_s: float) -> None:
        self.index, self.deadline = index, time.monotonic() + timeout_s
        with suppress(BrokenPipeError):  # it has died since: result() says so
            self.pipe.send(items[index])

    def result(self) -> Any:
        """What has come, or Lost of a process that has died or is late."""
        if not self.pipe.poll():
            return Lost("does not come to an end")
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            code = self.process.exitcode
            return Lost(f"crashes (signal {-code})" if code < 0 else f"ends (exit code {code})")

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _ready(busy: list[_Worker]) -> list[_Worker]:
    """Those that have something to say, or are late; waits for the first of them."""
    remaining = min(worker.deadline for worker in busy) - time.monotonic()
    said = wait([worker.pipe for worker in busy], timeout=max(remaining, 0))
    now = time.monotonic()
    return [worker for worker in busy if worker.pipe in said or worker.deadline <= now]


def _work(make_function: Callable[[], _Function], pipe: Connection, other_end: Connection) -> None:
    other_end.close()  # so that the end of the main process ends this one
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process
    function = make_function()
    while True:
        try:
            item = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            result = function(item)
        except Exception as error:  # our own mistake: raised in the main process
            result = error
        pipe.send(result)
