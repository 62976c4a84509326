"""Work that goes on in a thread while the caller does something else."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_MOST_WAITING = 2  # so that what waits does not fill the memory where the thread is the slower one


class Background:
    """Calls functions in a thread, one after the other, and keeps what they return.

    The thread begins with the first call and ends with :meth:`take` or :meth:`cancel`.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._results: list[Any] = []
        self._waiting: deque[Future] = deque()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Let a function be called; waits while more than two calls are not done.

        Args:
            function: what it raises is raised here or by :meth:`take`, later.
            arguments: its arguments, which nobody may change meanwhile.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, "mmdet_lite-background")
        self._waiting.append(self._pool.submit(function, *arguments))
        while len(self._waiting) > _MOST_WAITING:
            self._results.append(self._waiting.popleft().result())

    def take(self) -> list[Any]:
        """Wait for all calls; what they returned since the last time, in their order."""
        self._results += [future.result() for future in self._waiting]
        results = self._results
        self.cancel()
        return results

    def cancel(self) -> None:
        """Forget the calls; one that has begun goes on by itself."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool, self._results, self._waiting = None, [], deque()
