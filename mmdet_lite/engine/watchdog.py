"""Ends a run in which a process stalls, and says which and where.

A collective operation waits for all processes. If one of them stalls, the others wait until they
time out, and what they then report is where they waited, not who kept them. Here every process
publishes what it does, and the one that has waited too long looks at the others before it ends.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from mmdet_lite.engine.distributed import rank, world_size
from mmdet_lite.engine.stall_diagnosis import (
    describe,
    diagnose,
    diagnose_unreachable,
    find_silent,
)
from mmdet_lite.engine.status_board import PHASES, Status, StatusBoard

logger = logging.getLogger("mmdet_lite")

EXIT_STALLED = 76  # EX_PROTOCOL of sysexits.h: the others did not answer

_LONGEST_HEARTBEAT = 5.0
_ANSWER_SECONDS = 20.0  # for the store, over a network that may be cut
_REPORT_SECONDS = 5.0  # for stderr and the log, on a file system that may be gone
_LEAVE_SECONDS = 1.0
_MOST_FRAMES = 16


class _Place(NamedTuple):
    """Where the main thread is, and since when by ``time.monotonic``."""

    phase: str
    iteration: int
    turn: int
    since: float


class Watchdog:
    """Watches that the main thread goes on, as a context; nothing to do for a process of its own.

    One thread publishes where the main thread is. Another one, which does no input or output that
    could stall too, ends the process when the main thread stays in one phase for too long.

    Args:
        timeout: seconds that a phase may take.
        board: where the processes tell what they do; None: the run's rendezvous store.
        end: called with the exit code of a stalled run.
    """

    def __init__(
        self,
        timeout: float,
        board: StatusBoard | None = None,
        end: Callable[[int], object] = os._exit,
    ):
        self.timeout = timeout
        self._board = board or _board_of_this_run()
        self._end = end
        self._heartbeat = min(_LONGEST_HEARTBEAT, timeout / 6)
        self._place = _Place("start", 0, 0, time.monotonic())
        self._main_thread = 0
        self._left = threading.Event()
        self._threads: list[threading.Thread] = []

    def phase(self, name: str, iteration: int) -> None:
        """Take note of what the main thread begins; all processes must say the same.

        Args:
            name: one of ``PHASES``.
            iteration: the iteration that it belongs to.

        Raises:
            ValueError: there is no such phase.
        """
        if name not in PHASES:
            raise ValueError(f"unknown phase {name!r}, expected one of {', '.join(PHASES)}")
        turn = self._place.turn + 1 if iteration == self._place.iteration else 0
        self._place = _Place(name, iteration, turn, time.monotonic())

    def __enter__(self) -> Watchdog:
        self._place = _Place("start", 0, 0, time.monotonic())
        if self._board is None:
            return self
        self._main_thread = threading.get_ident()
        self._left = threading.Event()
        self._threads = [_start(self._publish), _start(self._watch)]
        return self

    def __exit__(self, *exception: object) -> None:
        self._left.set()
        for thread in self._threads:
            thread.join(_LEAVE_SECONDS)  # not for ever: the store may have stopped answering

    def _publish(self) -> None:
        is_reachable = True
        while True:
            try:
                self._board.publish(self._status(self._place))
                is_reachable = True
            except (OSError, RuntimeError) as error:
                if is_reachable and not self._left.is_set():
                    logger.warning(self._lost_store_message(error))
                is_reachable = False
            if self._left.wait(self._heartbeat):
                return

    def _watch(self) -> None:
        while (place := self._wait_for_stall()) is not None:
            stack = _stack(self._main_thread)
            findings = self._investigate(place)
            if self._left.is_set():
                return
            if self._place is place:  # else it went on meanwhile: slow, but no stall
                self._end_run(findings, stack)
                return

    def _end_run(self, findings: str, stack: str) -> None:
        message = f"{findings}\nThe main thread of rank {self._board.rank} is at:\n{stack}"
        _within(_REPORT_SECONDS, lambda: _report(message))
        self._end(EXIT_STALLED)

    def _wait_for_stall(self) -> _Place | None:
        """The place where the main thread stalls, or None when it has left the watchdog."""
        while not self._left.wait(self._heartbeat / 4):
            place = self._place
            if time.monotonic() - place.since > self.timeout:
                return place
        return None

    def _investigate(self, place: _Place) -> str:
        """What is wrong, from everybody's status or, failing that, from what is known here."""
        pause = 2.5 * self._heartbeat  # every process that lives publishes in between
        answers = []
        _within(pause + _ANSWER_SECONDS, lambda: answers.append(self._ask(pause)))
        own = self._status(place)
        start = (
            f"rank {self._board.rank} has waited {own.seconds:.0f} s in {describe(own)} "
            f"(distributed.timeout={self.timeout:g}); ending the run.\n"
        )
        answer = answers[0] if answers else f"waited {_ANSWER_SECONDS:g} s"
        if isinstance(answer, str):
            return start + diagnose_unreachable(self._board.address, answer)
        earlier, later = answer
        later[self._board.rank] = own
        return start + diagnose(later, find_silent(earlier, later))

    def _ask(self, pause: float) -> tuple[list[Status | None], list[Status | None]] | str:
        try:
            return self._board.read_twice(pause)
        except (OSError, RuntimeError) as error:
            return _first_line(error)

    def _status(self, place: _Place) -> Status:
        return Status(
            host=socket.gethostname(),
            pid=os.getpid(),
            published=time.time(),
            phase=place.phase,
            iteration=place.iteration,
            turn=place.turn,
            seconds=time.monotonic() - place.since,
        )

    def _lost_store_message(self, error: Exception) -> str:
        host, port = self._board.address
        return (
            f"rank {self._board.rank} cannot tell the others what it does: the rendezvous store at "
            f"{host}:{port} gives {_first_line(error)}. If the run stalls, this rank looks silent"
        )


def _board_of_this_run() -> StatusBoard | None:
    if world_size() == 1:
        return None
    address = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
    return StatusBoard(address, rank(), world_size())


def _start(target: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=target, name="watchdog", daemon=True)
    thread.start()
    return thread


def _within(seconds: float, function: Callable[[], object]) -> None:
    """Call a function that may never return, and wait for it only so long."""
    _start(function).join(seconds)


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _stack(thread_id: int) -> str:
    """A thread's calls, the innermost last.

    Without source lines: the disk that has them may be what the thread waits for.
    """
    frame = sys._current_frames().get(thread_id)
    lines = []
    while frame is not None and len(lines) < _MOST_FRAMES:
        code = frame.f_code
        lines.append(f"  {code.co_filename}:{frame.f_lineno} in {code.co_name}")
        frame = frame.f_back
    return "\n".join(reversed(lines))


def _report(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
    if logger.hasHandlers():  # else logging would print it to stderr once more
        logger.error(message)
