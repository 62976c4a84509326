"""How far a long command is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TextIO, TypeVar

from mmdet_lite.engine.status_line import draw_bar

T = TypeVar("T")

_WIDTH = 30
_REDRAW = 0.1  # seconds
_LINE_EVERY = 10.0  # seconds, in a file


def show_progress(
    items: Iterable[T],
    total: int | None,
    unit: str,
    stream: TextIO | None = None,
) -> Iterator[T]:
    """Pass items on, and show how many there were and how many a second.

    Args:
        items: what is counted.
        total: how many are expected; None: unknown.
        unit: what they are, in the plural.
        stream: where to; None: the standard output.
    """
    out = stream or sys.stdout
    is_terminal = out.isatty()
    every = _REDRAW if is_terminal else _LINE_EVERY
    start = shown = time.monotonic()
    done = 0
    try:
        for item in items:
            yield item
            done += 1
            now = time.monotonic()
            if now - shown >= every:
                shown = now
                _write(out, is_terminal, progress_line(done, total, now - start, unit, is_terminal))
    finally:
        elapsed = time.monotonic() - start
        line = progress_line(done, total, elapsed, unit, is_terminal, goes_on=False)
        _write(out, is_terminal, line)
        if is_terminal:
            print(file=out)


def progress_line(
    done: int,
    total: int | None,
    seconds: float,
    unit: str,
    with_bar: bool = False,
    goes_on: bool = True,
) -> str:
    """What is shown.

    Args:
        done: finished items.
        total: of how many; None: unknown.
        seconds: since the start.
        unit: what they are, in the plural.
        with_bar: draw a bar too.
        goes_on: say how long the rest will take.
    """
    rate = done / max(seconds, 1e-9)
    parts = [f"{done} {unit}" if total is None else f"{done}/{total} {unit}"]
    if with_bar and total:
        parts.append(draw_bar(done, total, _WIDTH))
    parts.append(f"{rate:.1f} {unit}/s")
    if goes_on and total is not None and 0 < done < total:
        parts.append(f"eta {timedelta(seconds=round((total - done) / rate))}")
    return "  ".join(parts)


def _write(out: TextIO, is_terminal: bool, line: str) -> None:
    if is_terminal:
        print(f"\r{line}\033[K", end="", file=out, flush=True)
    else:
        print(line, file=out, flush=True)
