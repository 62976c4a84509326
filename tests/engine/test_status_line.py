"""Run with: pytest tests/engine/test_status_line.py"""

from __future__ import annotations

import io
import math
import sys
from contextlib import contextmanager

import pytest

from mmdet_lite.engine.status_line import Status, StatusLine, draw_bar, format_status, is_terminal

ERASE = "\r\033[K"
FIRST, SECOND = Status(1, 4, "iter 1/4", 0.5, 2.0), Status(2, 4, "iter 2/4", 0.5, 1.0)
TEXTS = [format_status(status) for status in (FIRST, SECOND)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def screen(text):
    """What a terminal shows: lines, after carriage returns and erasing."""
    return [line.rpartition(ERASE)[2] for line in text.split("\n")]


@contextmanager
def started(redraw=0.0, columns="200"):
    """A terminal as output and error, and the line on it (pytest's own come between fixtures)."""
    stream, line = Terminal(), StatusLine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        patch.setenv("COLUMNS", columns)
        patch.setattr("mmdet_lite.engine.status_line._REDRAW", redraw)
        line.start()
        yield stream, line
        line.stop()


def test_the_line_says_how_far_and_how_good():
    status = Status(150, 600, "epoch 1/4  iter 150/150", 0.5, 1.2341)
    assert format_status(status) == (
        "[#####...............] epoch 1/4  iter 150/150  eta 0:03:45  loss 1.234  0.500 s/it"
    )
    status.metric, status.phase, status.loss = ("segm_mAP", 0.25, 0.5), "validation", math.nan
    assert format_status(status) == (
        "[#####...............] epoch 1/4  iter 150/150  validation  eta 0:03:45  0.500 s/it  "
        "segm_mAP 0.250 (best 0.500)"
    )
    assert draw_bar(7, 7, 3) == "[###]" and draw_bar(9, 7, 3) == "[###]"


def test_it_is_one_line_that_changes_and_is_gone_at_the_end():
    with started() as (terminal, line):
        line.show(FIRST)
        line.show(SECOND)
        assert screen(terminal.getvalue()) == [TEXTS[1]]
    assert screen(terminal.getvalue()) == [""]


def test_other_output_comes_above():
    with started() as (terminal, line):
        line.show(FIRST)
        print("a", "b")
        print("careful", file=sys.stderr)
        assert screen(terminal.getvalue()) == ["a b", "careful", TEXTS[0]]


def test_half_a_line_is_not_written_over():
    with started() as (terminal, line):
        line.show(FIRST)
        print("(Pdb) ", end="", file=sys.stderr)
        assert screen(terminal.getvalue()) == ["(Pdb) "], "a prompt waits at its place"
        line.show(SECOND)
        assert screen(terminal.getvalue()) == ["(Pdb) ", TEXTS[1]]


def test_it_is_cut_to_the_width_of_the_terminal():
    with started(columns="20") as (terminal, line):
        line.show(FIRST)
        assert screen(terminal.getvalue()) == [TEXTS[0][:19]]


def test_it_is_not_drawn_more_often_than_can_be_seen():
    with started(redraw=3600) as (terminal, line):
        line.show(FIRST)
        line.show(SECOND)
        assert screen(terminal.getvalue()) == [TEXTS[0]]
        line.show(Status(2, 4, "iter 2/4", 0.5, 1.0, phase="validation"))
        assert "validation" in screen(terminal.getvalue())[-1]


def test_streams_are_as_they_were_afterwards():
    with started() as (terminal, line):
        assert sys.stdout is not terminal and sys.stdout.isatty()
        line.stop()
        assert sys.stdout is terminal and sys.stderr is terminal
        line.start()
        other = sys.stdout = io.StringIO()  # somebody's own, put on top
        line.stop()
        assert sys.stdout is other and sys.stderr is terminal


def test_a_terminal_that_is_gone_does_not_end_the_run():
    def gone(text):
        raise OSError(5, "Input/output error")

    with started() as (terminal, line):
        line.show(FIRST)
        terminal.write = gone
        line.show(SECOND)


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("TERM", "dumb")])
def test_only_a_terminal_that_somebody_watches_gets_it(monkeypatch, name, value):
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert is_terminal(Terminal()) and not is_terminal(io.StringIO())
    monkeypatch.setenv(name, value)
    assert not is_terminal(Terminal())
