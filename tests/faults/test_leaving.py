"""Signals at moments that are held until they come: between two decisions, twice, to everyone."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from comparison import assert_same_run
from single_run import SingleRun, train_here

from mmdet_lite.engine.checkpoint import find_resume_checkpoint, load_checkpoint
from mmdet_lite.engine.signals import EXIT_PREEMPTED

pytestmark = pytest.mark.faults

_DEADLINE = 10  # seconds from the last signal to the end of the process
_OPTIONS = {"train.max_iters": 12, "val_data.dataset.num_images": 4}

# (name, phase, finished iterations) of each signal, and the checkpoint. One is due at 9.
_CASES = {
    "SIGTERM just after a step has asked for signals": ([("SIGTERM", "update", 7)], 9),
    "SIGUSR1 where a checkpoint and a validation come next": ([("SIGUSR1", "saving", 9)], 10),
    "SIGTERM to the loading workers too, while a batch is awaited": (
        [("SIGTERM", "loading a batch", 7)],
        8,
    ),
    "SIGUSR1, and SIGTERM while it saves": (
        [("SIGUSR1", "forward", 7), ("SIGTERM", "saving", 8)],
        8,
    ),
}


def awaiting(*signals: tuple[str, str, int]) -> dict:
    """Options of a run that goes on only when these signals have come."""
    keys = ("name", "phase", "iteration")
    hooks = [{"type": "AwaitSignal", **dict(zip(keys, given, strict=True))} for given in signals]
    return {
        **_OPTIONS,
        "custom_imports": {"imports": ["fault_hooks", "number_hooks"]},
        "hooks": [{"type": "TellPhase"}, *hooks],
    }


def leave(work_dir: Path, *signals: tuple[str, str, int], code: int) -> tuple[SingleRun, float]:
    """Start a run and send it signals, to the whole group; gives the seconds until it has ended."""
    with SingleRun(work_dir, awaiting(*signals)) as run:
        for name, *moment in signals:
            run.wait_until(lambda now, at=moment: [now.phase, now.iteration] == at)
            run.signal_group(signal.Signals[name])
        started = time.monotonic()
        text = run.finish(_DEADLINE, code)
        seconds = time.monotonic() - started
    assert "Traceback" not in text
    return run, seconds


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of the undisturbed run."""
    work_dir = tmp_path_factory.mktemp("straight") / "run"
    train_here(work_dir, _OPTIONS)
    return work_dir


@pytest.mark.parametrize("case", _CASES)
def test_what_was_finished_is_saved(case, straight, tmp_path, record_row):
    signals, saved = _CASES[case]
    work_dir = tmp_path / "run"
    run, seconds = leave(work_dir, *signals, code=EXIT_PREEMPTED)
    path = find_resume_checkpoint(work_dir)
    assert path == work_dir / f"iter_{saved}.pth"
    assert load_checkpoint(path)["iteration"] == run.moment().iteration
    assert f"{signals[-1][0]}: saved {path.name} and leaving; start again" in run.text()
    train_here(work_dir, _OPTIONS, resume=True)
    assert_same_run(work_dir, straight, "hooks")
    lines = map(json.loads, (work_dir / "log.jsonl").read_text().splitlines())
    counts = Counter((line["mode"], line["iter"]) for line in lines)
    assert set(counts.values()) == {1}
    record_row(
        case,
        f"exit code {EXIT_PREEMPTED} after {seconds:.1f} s with {path.name} written; resumed to "
        "the same bits",
        "nothing",
    )


def test_ctrl_c_leaves_at_once(straight, tmp_path, record_row):
    work_dir = tmp_path / "run"
    run, seconds = leave(work_dir, ("SIGINT", "backward", 7), code=130)
    assert "interrupted at iteration 7 of 12; a resumed run continues from the last" in run.text()
    assert find_resume_checkpoint(work_dir) == work_dir / "iter_6.pth"
    train_here(work_dir, _OPTIONS, resume=True)
    assert_same_run(work_dir, straight, "hooks")
    record_row(
        "Ctrl-C in a step, to the loading workers too",
        f"exit code 130 after {seconds:.1f} s; resumed from the last checkpoint to the same bits",
        "1 finished iteration and the one that was interrupted",
    )
