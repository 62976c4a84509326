"""A bar on a terminal, lines in a file."""

from __future__ import annotations

import io

from mmdet_lite.apis import progress_bar
from mmdet_lite.apis.progress_bar import progress_line, show_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_line_has_number_rate_and_time_left():
    assert progress_line(5, 20, 10, "images") == "5/20 images  0.5 images/s  eta 0:00:30"
    assert progress_line(20, 20, 10, "images") == "20/20 images  2.0 images/s"
    assert progress_line(7, None, 2, "frames") == "7 frames  3.5 frames/s"
    bar = progress_line(5, 20, 10, "images", with_bar=True).split("  ")[1]
    assert bar == "[" + "#" * 7 + "." * 23 + "]"


def test_a_file_gets_plain_lines(monkeypatch):
    clock = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: next(clock))
    out = io.StringIO()
    assert list(show_progress("abcdef", 6, "images", out)) == list("abcdef")
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["3/6", "6/6", "6/6"]
    assert "\r" not in out.getvalue() and "#" not in out.getvalue()


def test_a_terminal_gets_one_line_that_is_written_again(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(progress_bar.time, "monotonic", lambda: next(clock))
    out = Terminal()
    list(show_progress(range(3), 3, "images", out))
    assert out.getvalue().count("\r") == 4 and out.getvalue().count("\n") == 1
    assert "3/3 images  [" + "#" * 30 + "]" in out.getvalue()


def test_the_last_state_is_shown_after_an_error():
    out = io.StringIO()
    items = show_progress(iter([1, 2]), 2, "images", out)
    next(items)
    items.close()
    assert out.getvalue().startswith("0/2 images")
    assert "eta" not in progress_line(1, 2, 1, "images", goes_on=False)
