"""Items that are made in a thread while the caller works on those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_END = object()


def read_ahead(items: Iterable[T], most: int) -> Iterator[T]:
    """Yield items in their order; up to ``most`` of the next ones are asked for in a thread.

    Whatever asking for an item raises is raised here, after the items before it.

    Args:
        items: asked for by that one thread only, which ends with this generator.
        most: 1 or more.
    """
    iterator = iter(items)
    pool = ThreadPoolExecutor(1, "mmdet_lite-read-ahead")
    try:
        ahead = deque(pool.submit(next, iterator, _END) for _ in range(most))
        while (item := ahead.popleft().result()) is not _END:
            ahead.append(pool.submit(next, iterator, _END))
            yield item
    finally:
        pool.shutdown(cancel_futures=True)
