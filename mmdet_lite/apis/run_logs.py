"""Logs of runs, this package's and MMDetection's, found and read."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmdet_lite.compat.mmdet.logs import is_mmdet_record, translate_records
from mmdet_lite.engine.writers.writer import flatten
from mmdet_lite.literals import read_assignments
from mmdet_lite.visualization.curves import drop_repeated, read_json_lines

logger = logging.getLogger("mmdet_lite")

_LOG, _FOREIGN = "log.jsonl", "scalars.json"
_MOST_NAMED = 5  # folders in a message


@dataclass
class Run:
    """What is known of a run.

    Attributes:
        name: as the user named it, or shorter.
        files: its log, in the order in which it was written.
        records: by iteration; see :func:`mmdet_lite.visualization.curves.read_log`.
        config: dotted keys to values; None: there is none to be read.
        is_foreign: whether MMDetection wrote it, whose config has other keys.
    """

    name: str
    files: list[Path]
    records: list[dict[str, Any]]
    config: dict[str, Any] | None = None
    is_foreign: bool = False
    train: list[dict[str, Any]] = field(init=False)
    val: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.train = [record for record in self.records if record["mode"] == "train"]
        self.val = [record for record in self.records if record["mode"] == "val"]


def read_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Read the logs of several runs.

    Args:
        paths: work dirs, or log files.

    Raises:
        FileNotFoundError: there is no log in a folder, or no such folder.
        ValueError: a log holds no record of a run, or a run is named twice.
    """
    counts = Counter(Path(path).resolve() for path in paths)
    if twice := [str(path) for path, count in counts.items() if count > 1]:
        raise ValueError(f"{', '.join(twice)}: named more than once; name each run once")
    return [_read_run(Path(path), name) for path, name in zip(paths, _names(paths), strict=True)]


def find_logs(path: Path) -> list[Path]:
    """The files of a run's log, oldest first; MMDetection begins one at every start.

    Raises:
        FileNotFoundError: there is none; the message names folders below that have one.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder or file; name the work dir of a run")
    for pattern in (_LOG, _FOREIGN, f"vis_data/{_FOREIGN}", f"*/vis_data/{_FOREIGN}"):
        if found := sorted(path.glob(pattern)):
            return found
    below = sorted({p.parent for p in path.glob(f"*/{_LOG}")} | _foreign_runs(path))
    hint = ""
    if below:
        shown = ", ".join(str(folder) for folder in below[:_MOST_NAMED])
        hint = f". There are runs below it: {shown}" + (", ..." if len(below) > _MOST_NAMED else "")
    raise FileNotFoundError(
        f"{path}: no log of a run; expected {_LOG}, or vis_data/{_FOREIGN} of MMDetection 3.x in "
        f"the folder or in one below it{hint}"
    )


def _foreign_runs(path: Path) -> set[Path]:
    return {p.parents[2] for p in path.glob(f"*/*/vis_data/{_FOREIGN}")}


def _names(paths: Sequence[str | Path]) -> list[str]:
    """Names of folders where they tell runs apart, else the paths."""
    names = [Path(path).resolve().name for path in paths]
    is_clear = len(set(names)) == len(names) and all(Path(path).is_dir() for path in paths)
    return names if is_clear else [str(path) for path in paths]


def _read_run(path: Path, name: str) -> Run:
    files = find_logs(path)
    records: list[dict[str, Any]] = []
    is_foreign = False
    for file in files:
        lines = read_json_lines(file)
        is_foreign = bool(lines) and is_mmdet_record(lines[0])
        records += translate_records(lines) if is_foreign else [r for r in lines if _is_own(r)]
    if not records:
        raise ValueError(
            f"{files[-1]}: holds no record of a run; it is empty, or no log of this package or of "
            "MMDetection 3.x"
        )
    config = files[-1].with_name("config.py")
    return Run(name, files, drop_repeated(records), _read_config(config), is_foreign)


def _is_own(line: dict[str, Any]) -> bool:
    return line.get("mode") in ("train", "val") and isinstance(line.get("iter"), int)


def _read_config(file: Path) -> dict[str, Any] | None:
    """A resolved config, which is read and not run; None: there is none."""
    if not file.is_file():
        return None
    try:
        return flatten(read_assignments(file.read_text(encoding="utf-8")))
    except (ValueError, SyntaxError, RecursionError) as error:
        logger.warning("%s: not compared, it cannot be read without running it: %s", file, error)
        return None
