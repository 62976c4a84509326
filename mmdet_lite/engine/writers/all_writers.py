"""All writers of a run, of which none can end it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_lite.engine.hooks import numbered_names
from mmdet_lite.engine.writers.writer import Writer

logger = logging.getLogger(__name__)

ID_FILE = "writers.json"  # in the work dir: by what writers find their runs again
_MOST_FAILURES = 3  # in a row: each may take as long as a network's time limit


class AllWriters:
    """Passes on what a run shows to each of its writers.

    Whatever a writer raises is told once, and the run goes on. A writer that cannot be opened, or
    fails three times in a row, is left out from then on.

    Args:
        writers: in the order of the config. Until :meth:`open` nothing is passed on to them.
    """

    def __init__(self, writers: Sequence[Writer] = ()):
        self._given = dict(zip(numbered_names(writers), writers, strict=True))
        self._open: dict[str, Writer] = {}
        self._failures = dict.fromkeys(self._given, 0)
        self._told: set[str] = set()

    def __bool__(self) -> bool:
        """Whether anyone takes what is passed on."""
        return bool(self._open)

    def open(self, work_dir: Path, iteration: int) -> None:
        """Open all writers; a resumed run's continue where they wrote to.

        Args:
            work_dir: the run's folder; it exists.
            iteration: finished iterations.
        """
        ids = _read_ids(work_dir / ID_FILE)
        for name, writer in self._given.items():
            try:
                run_id = writer.open(work_dir, ids.get(name), iteration)
            except Exception as error:  # anything, of packages that are not ours
                logger.warning(
                    "%s cannot be opened, so the run goes on without it: %s", name, _short(error)
                )
                continue
            self._open[name] = writer
            if run_id is not None:
                ids[name] = run_id
        if ids:
            _write_ids(work_dir / ID_FILE, ids)

    def config(self, text: str, values: dict[str, Any]) -> None:
        """Pass on the resolved config; see :meth:`Writer.config`."""
        self._each(lambda writer: writer.config(text, values))

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """Pass on numbers by name."""
        self._each(lambda writer: writer.scalars(values, iteration))

    def images(self, pictures: Mapping[str, np.ndarray], iteration: int) -> None:
        """Pass on pictures by name."""
        self._each(lambda writer: writer.images(pictures, iteration))

    def close(self, failed: bool) -> None:
        """Close all writers; afterwards there are none."""
        self._each(lambda writer: writer.close(failed))
        self._open = {}

    def _each(self, call: Callable[[Writer], None]) -> None:
        for name, writer in list(self._open.items()):
            try:
                call(writer)
                self._failures[name] = 0
            except Exception as error:
                self._note_failure(name, error)

    def _note_failure(self, name: str, error: Exception) -> None:
        self._failures[name] += 1
        gives_up = self._failures[name] == _MOST_FAILURES
        if gives_up:
            del self._open[name]
            logger.warning("%s failed %d times in a row and is left out", name, _MOST_FAILURES)
        elif name not in self._told:
            self._told.add(name)
            logger.warning(
                "%s has failed, so what it shows is incomplete; the run goes on: %s",
                *(name, _short(error)),
            )


def _read_ids(file: Path) -> dict[str, str]:
    try:
        ids = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # there is none, or its writing was cut off
        return {}
    if not isinstance(ids, dict):
        return {}
    return {name: run_id for name, run_id in ids.items() if isinstance(run_id, str)}


def _write_ids(file: Path, ids: dict[str, str]) -> None:
    try:
        file.write_text(json.dumps(ids, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        logger.warning("cannot write %s, so a resumed run will be shown anew: %s", file, error)


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
