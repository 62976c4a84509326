"""Figures and how they are made."""

from __future__ import annotations

import pytest

from mmdet_lite.benchmarks.rows import (
    count_row,
    median_range,
    rate_row,
    table,
    take_turns,
    time_row,
)


def test_contenders_take_turns_and_change_who_is_first():
    calls = []
    runs = {name: (lambda name=name: calls.append(name)) for name in ("a", "b")}
    seconds = take_turns(runs, rounds=3, warmup=1)
    assert "".join(calls) == "baabbaab"
    assert {name: len(times) for name, times in seconds.items()} == {"a": 3, "b": 3}
    assert all(time >= 0 for times in seconds.values() for time in times)


def test_ratio_is_that_of_turns_that_belong_together():
    """The machine slows down by ten in the middle: single turns differ, ratios do not."""
    row = time_row("step", [1.0, 10.0, 1.0], [2.0, 20.0, 2.0], "peer", unit="ms")
    assert (row.ours, row.peer, row.ratio) == (1000, 2000, 0.5)
    assert row.ratio_range == (0.5, 0.5)


def test_rates_favour_the_larger():
    """Eleven images in 1 s and 10 s against 2 s and 40 s."""
    row = rate_row("loading", [1.0, 10.0], [2.0, 40.0], "peer", 11, "images/s")
    assert (row.ours, row.peer, row.ratio) == (2, 11 / 21, 3)
    assert row.ratio_range == (2, 4)


def test_interval_lies_around_the_median_and_is_the_same_each_time():
    values = [0.8, 0.9, 1.0, 1.1, 1.2, 0.95, 1.05]
    low, high = median_range(values)
    assert 0.8 <= low < 1.0 < high <= 1.2
    assert (low, high) == median_range(values)


def test_counts_have_a_ratio_also_where_the_peer_s_is_zero():
    assert count_row("a", 2, 4, "peer", "waits").ratio == 0.5
    assert count_row("a", 2, 0, "peer", "waits").ratio == float("inf")
    assert count_row("a", 0, 0, "peer", "waits").ratio != count_row("a", 0, 0, "p", "waits").ratio


def test_table_shows_ratio_and_interval():
    rows = [time_row("step", [1.0, 1.0], [4.0, 4.0], "peer"), count_row("waits", 0, 24, "peer", "")]
    header, step, waits = table(rows).splitlines()
    assert header.split() == ["ours", "peer", "ratio", "(95", "%)", "peer", "is"]
    assert step.split() == ["step", "1", "4", "s", "0.250", "(0.250..0.250)", "peer"]
    assert waits.split() == ["waits", "0", "24", "0.000", "peer"]


def test_a_figure_may_have_no_peer():
    row = time_row("start", [2.0, 3.0, 2.5], None, "")
    assert (row.ours, row.peer, row.ratio, row.ratio_range) == (2.5, None, None, None)
    assert table([row]).splitlines()[1].split() == ["start", "2.500", "s"]


@pytest.mark.parametrize(("value", "text"), [(5, "5"), (0.12345, "0.123"), (1234.56, "1234.6")])
def test_figures_have_few_digits(value, text):
    assert table([count_row("x", value, 1, "peer", "")]).splitlines()[1].split()[1] == text
