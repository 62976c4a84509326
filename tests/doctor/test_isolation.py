import faulthandler
import os
import signal
import time

import pytest

from mmdet_lite.doctor.isolation import Lost, run_isolated


def make_square():
    return lambda value: value * value


def make_fragile():
    """A function that some items are the end of."""

    def function(value):
        if value == "crash":
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        if value == "exit":
            os._exit(3)
        if value == "hang":
            time.sleep(60)
        if value == "mistake":
            raise KeyError("a mistake of our own")
        return value, os.getpid()

    return function


@pytest.mark.parametrize("num_workers", [1, 3, 20])
def test_every_item_has_its_result(num_workers):
    results = dict(run_isolated(make_square, range(10), num_workers, 60.0))
    assert results == {i: i * i for i in range(10)}


def test_nothing_to_do():
    assert list(run_isolated(make_square, [], 2, 60.0)) == []


def test_crash_costs_one_item():
    items = ["a", "crash", "b", "exit", "c", "crash"]
    results = dict(run_isolated(make_fragile, items, 1, 60.0))
    assert [results[i][0] for i in (0, 2, 4)] == ["a", "b", "c"]
    assert results[1] == results[5] == Lost("crashes (signal 11)")
    assert results[3] == Lost("ends (exit code 3)")


def test_item_that_takes_too_long_is_given_up():
    start = time.monotonic()
    results = dict(run_isolated(make_fragile, ["hang", "a"], 1, 0.3))
    assert results[0] == Lost("does not come to an end")
    assert results[1][0] == "a"
    assert time.monotonic() - start < 20


def test_work_is_done_elsewhere():
    pids = {pid for _, (_, pid) in run_isolated(make_fragile, "ab" * 5, 2, 60.0)}
    assert os.getpid() not in pids and 1 <= len(pids) <= 2


def test_own_mistake_is_raised():
    with pytest.raises(KeyError, match="a mistake of our own"):
        list(run_isolated(make_fragile, ["a", "mistake"], 1, 60.0))
