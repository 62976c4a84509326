"""Whether two runs are the same, to the last bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from mmdet_lite.engine.checkpoint import find_resume_checkpoint, load_checkpoint

_TIMINGS = ("time", "data_time_share", "memory_mb")


def assert_same(ours: Any, theirs: Any, place: str = "state") -> None:
    """Equal to the last bit, at any depth; an error names the place that differs."""
    assert type(ours) is type(theirs), place
    if isinstance(ours, torch.Tensor):
        assert ours.dtype == theirs.dtype, place
        assert torch.equal(ours, theirs), place
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), place
        for key in ours:
            assert_same(ours[key], theirs[key], f"{place}.{key}")
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), place
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{place}[{index}]")
    else:
        assert ours == theirs, place


def logged(work_dir: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The log's records by (mode, iteration), without timings; of repeated ones the later."""
    lines = map(json.loads, (work_dir / "log.jsonl").read_text().splitlines())
    return {
        (line["mode"], line["iter"]): {k: v for k, v in line.items() if k not in _TIMINGS}
        for line in lines
    }


def final_state(work_dir: Path, *ignored: str) -> dict[str, Any]:
    """The newest checkpoint of a run, without the config's text and the ``ignored`` entries."""
    path = find_resume_checkpoint(work_dir)
    assert path is not None, f"{work_dir} has no good checkpoint"
    return _comparable(path, ignored)


def best_states(work_dir: Path, *ignored: str) -> dict[str, dict[str, Any]]:
    """The content of each ``best_*.pth`` by its name, as of :func:`final_state`."""
    return {path.name: _comparable(path, ignored) for path in sorted(work_dir.glob("best_*.pth"))}


def assert_same_run(ours: Path, theirs: Path, *ignored: str) -> None:
    """Final and best checkpoints and all that was logged are equal, bit for bit.

    Args:
        ours: a run's folder.
        theirs: another's.
        ignored: entries of the checkpoints that may differ ('hooks', 'arithmetic').
    """
    assert_same(final_state(ours, *ignored), final_state(theirs, *ignored))
    assert_same(best_states(ours, *ignored), best_states(theirs, *ignored), "best")
    assert_same(logged(ours), logged(theirs), "log")


def _comparable(path: Path, ignored: tuple[str, ...]) -> dict[str, Any]:
    state = load_checkpoint(path)
    state["meta"].pop("config")  # options of the two runs may differ
    return {name: value for name, value in state.items() if name not in ignored}
