"""Calls in a thread: their order, their number, their errors."""

from __future__ import annotations

import threading

import pytest

from mmdet_lite.evaluation.background import Background


def test_results_come_in_the_order_of_the_calls():
    background = Background()
    for number in range(20):
        background.submit(pow, number, 2)
    assert background.take() == [number**2 for number in range(20)]
    assert background.take() == []


def test_calls_go_on_in_one_other_thread():
    background = Background()
    for _ in range(3):
        background.submit(threading.get_ident)
    (other,) = set(background.take())
    assert other != threading.get_ident()


def test_the_caller_goes_on_until_too_many_calls_wait():
    background, may_go_on, third_came = Background(), threading.Event(), threading.Event()
    background.submit(may_go_on.wait)
    background.submit(int)

    def submit_a_third():
        background.submit(int)
        third_came.set()

    caller = threading.Thread(target=submit_a_third)
    caller.start()
    assert not third_came.wait(0.05)
    may_go_on.set()
    caller.join()
    assert background.take() == [True, 0, 0]


def test_an_error_is_raised_where_the_results_are_taken():
    background = Background()
    background.submit(int, "no number")
    with pytest.raises(ValueError, match="no number"):
        background.take()


def test_cancelled_calls_leave_nothing_behind():
    background = Background()
    background.submit(int)
    background.cancel()
    background.submit(int, "1")
    assert background.take() == [1]
