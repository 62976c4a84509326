"""One line at the bottom of a terminal that says how far a run is; everything else scrolls above.

Nothing here is used where the output is a file, a pipe or a CI's.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TextIO

_REDRAW = 0.1  # seconds
_BAR = 20  # characters
_ERASE = "\r\033[K"


@dataclass
class Status:
    """How far a run is.

    Attributes:
        done: finished iterations.
        total: of how many.
        position: the same for people: 'epoch 3/12  iter 150/720'.
        seconds: an iteration takes at present.
        loss: mean since the last log line, or NaN.
        metric: of the last validation that decides which is the best: name, value, the best value;
            None before the first.
        phase: what is going on if it is no training step: 'validation'.
    """

    done: int
    total: int
    position: str
    seconds: float
    loss: float
    metric: tuple[str, float, float] | None = None
    phase: str = ""


def format_status(status: Status) -> str:
    """The line."""
    left = timedelta(seconds=round(status.seconds * (status.total - status.done)))
    parts = [f"{draw_bar(status.done, status.total, _BAR)} {status.position}", f"eta {left}"]
    if math.isfinite(status.loss):
        parts.append(f"loss {status.loss:.3f}")
    parts.append(f"{status.seconds:.3f} s/it")
    if status.metric is not None:
        name, value, best = status.metric
        parts.append(f"{name} {value:.3f} (best {best:.3f})")
    if status.phase:
        parts.insert(1, status.phase)
    return "  ".join(parts)


def draw_bar(done: int, total: int, width: int) -> str:
    """``[####....]``, ``width`` characters between the brackets."""
    filled = min(width * done // total, width)
    return "[" + "#" * filled + "." * (width - filled) + "]"


def is_terminal(stream: TextIO) -> bool:
    """Whether somebody watches who wants a line that changes."""
    return stream.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


class StatusLine:
    """The line, between :meth:`start` and :meth:`stop`.

    Meanwhile what Python writes to the standard output or error makes room for itself: the line is
    erased, and drawn again below.
    """

    def __init__(self):
        self._terminal: TextIO = sys.stdout
        self._text = self._phase = ""
        self._is_drawn = False
        self._at_line_start = True
        self._shown = -math.inf
        self._replaced: dict[str, tuple[TextIO, _Above]] = {}

    def start(self) -> None:
        """Take the bottom line."""
        self._terminal = sys.stdout
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                self._replaced[name] = (stream, _Above(stream, self))
                setattr(sys, name, self._replaced[name][1])

    def show(self, status: Status) -> None:
        """Draw the line anew, unless it was a moment ago."""
        self._text = format_status(status)
        now = time.monotonic()
        is_other_phase, self._phase = status.phase != self._phase, status.phase
        if now - self._shown < _REDRAW and not is_other_phase:
            return
        self._shown = now
        if not self._at_line_start:  # somebody has written half a line
            self._put("\n")
            self._at_line_start = True
        self._draw()

    def stop(self) -> None:
        """Erase the line, and leave the streams as they were."""
        self.erase()
        self._text = ""
        for name, (stream, above) in self._replaced.items():
            if getattr(sys, name) is above:  # else somebody has put something of theirs around it
                setattr(sys, name, stream)
        self._replaced = {}

    def erase(self) -> None:
        """Make room for other output."""
        if self._is_drawn:
            self._is_drawn = False
            self._put(_ERASE)

    def wrote(self, text: str) -> None:
        """Draw the line again once other output has ended its own."""
        if text:
            self._at_line_start = text.endswith("\n")
        if self._at_line_start and self._text:
            self._draw()

    def _draw(self) -> None:
        width = shutil.get_terminal_size().columns - 1  # a full line would wrap
        self._is_drawn = True
        self._put(f"{_ERASE}{self._text[:width]}")

    def _put(self, text: str) -> None:
        try:
            self._terminal.write(text)
            self._terminal.flush()
        except (OSError, ValueError):  # the terminal is gone; the run is not
            self._text, self._is_drawn = "", False


class _Above:
    """A stream whose text comes above the line."""

    def __init__(self, stream: TextIO, line: StatusLine):
        self._stream = stream
        self._line = line

    def write(self, text: str) -> int:
        self._line.erase()
        written = self._stream.write(text)
        self._stream.flush()
        self._line.wrote(text)
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
