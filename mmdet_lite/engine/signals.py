"""Signals by which a cluster announces that it will take the machine away."""

from __future__ import annotations

import signal
import threading
from types import FrameType

EXIT_PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: try again

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Preempted(SystemExit):
    """A signal asked the run to end; it has been saved and can be resumed. Exit code 75."""

    def __init__(self) -> None:
        super().__init__(EXIT_PREEMPTED)


class StopRequested(Exception):
    """Breaks off a validation, which a resumed run repeats."""


class StopSignals:
    """Takes note of SIGTERM and SIGUSR1, as a context; outside of it they kill as usual.

    In another thread than the main one there is nothing to take note of.

    Attributes:
        received: the name of the signal that came, or None.
    """

    def __init__(self) -> None:
        self.received: str | None = None
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number).name
