"""Reading ahead: order, how far, errors in their place, an end of the thread."""

from __future__ import annotations

import threading

import pytest

from mmdet_lite.data.read_ahead import read_ahead


def test_order_and_number_stay():
    for count in (0, 1, 3, 50):
        assert list(read_ahead(range(count), 4)) == list(range(count))


def test_only_so_many_are_read_ahead():
    asked = []
    items = (asked.append(i) or i for i in range(100))
    ahead = read_ahead(items, 3)
    assert [next(ahead) for _ in range(10)] == list(range(10))
    ahead.close()
    assert 10 <= len(asked) <= 13


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise OSError("the disk is gone")

    ahead = read_ahead(items(), 5)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)


def test_one_thread_asks_and_ends_with_the_generator():
    names = []
    before = threading.active_count()
    ahead = read_ahead((names.append(threading.current_thread().name) for _ in range(9)), 2)
    next(ahead)
    assert threading.active_count() == before + 1
    ahead.close()
    assert threading.active_count() == before and set(names) == {names[0]}
    assert names[0] != threading.current_thread().name
