"""Saving without stopping: a copy in host memory, written by a thread while training goes on."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from mmdet_lite.engine.checkpoint import keep_last, link_checkpoint, snapshot, write_checkpoint

logger = logging.getLogger(__name__)


class CheckpointWriter:
    """Writes checkpoints one after the other, as a context that waits for the last one.

    A disk that is full or away for a while does not end a run of weeks: a checkpoint that cannot
    be written is logged as an error, and only :meth:`finish` raises it.

    Args:
        keep: how many periodic checkpoints to keep in a folder; None: all.

    Attributes:
        best_is_lost: whether the last one that was to be the best could not be written.
    """

    def __init__(self, keep: int | None):
        self.keep = keep
        self.best_is_lost = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future | None = None
        self._error: OSError | None = None

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self._thread.shutdown(wait=True)

    def save(self, state: dict, path: Path, best_path: Path | None = None) -> None:
        """Copy the state and have it written; waits only for the checkpoint before this one.

        Args:
            state: see :func:`mmdet_lite.engine.checkpoint.save_checkpoint`.
            path: the file to write.
            best_path: a second name for it.

        Raises:
            TypeError: there is something in ``state`` that no checkpoint holds.
        """
        self.wait()
        copied = snapshot(state)
        self._pending = self._thread.submit(self._write, copied, path, best_path)

    def finish(self) -> None:
        """Wait until all is written.

        Raises:
            OSError: the last checkpoint could not be written.
        """
        self.wait()
        if self._error is not None:
            raise self._error

    def wait(self) -> None:
        """Wait until all is written, or has failed to be."""
        if self._pending is not None:
            self._pending.result()
        self._pending = None

    def _write(self, state: dict, path: Path, best_path: Path | None) -> None:
        try:
            write_checkpoint(state, best_path or path)
            if best_path is not None:
                # after the best one: a resumed run that finds this one must find that one too
                link_checkpoint(best_path, path)
        except OSError as error:
            self._error = error
            self.best_is_lost |= best_path is not None
            both = f" and without {path.name}" if best_path else ""
            logger.error("%s; training goes on without it%s", error, both)
            return
        self._error = None
        self.best_is_lost &= best_path is None
        logger.info("saved %s%s", path.name, f" and {best_path.name}" if best_path else "")
        if self.keep is None:
            return
        try:
            keep_last(path.parent, self.keep)
        except OSError as error:
            logger.warning("cannot remove older checkpoints: %s", error)
