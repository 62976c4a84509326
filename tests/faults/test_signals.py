"""A cluster that takes the machine away says so by a signal: the run is saved within seconds."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import pytest
from comparison import assert_same_run
from single_run import Moment, SingleRun, train_here

from mmdet_lite.engine.checkpoint import find_resume_checkpoint
from mmdet_lite.engine.signals import EXIT_PREEMPTED

pytestmark = pytest.mark.faults

_DEADLINE = 10.0  # seconds
# As many validation batches as it takes until a run looks at its signals in between.
_OPTIONS = {"train.max_iters": 20, "val_data.dataset.num_images": 40}
_ACCUMULATE = _OPTIONS | {"train.accumulate": 4}


class Case(NamedTuple):
    """When which signal comes, and where the checkpoint may then be."""

    number: signal.Signals
    is_time: Callable[[Moment], bool]
    saved_at: tuple[int, ...]
    to_workers: bool = False
    accumulate: bool = False


def _at(iteration: int, phase: str) -> Callable[[Moment], bool]:
    return lambda moment: moment == (iteration, phase) or moment.iteration > iteration


CASES = {
    "SIGTERM in a step": Case(signal.SIGTERM, _at(7, "forward"), (8, 9)),
    "SIGUSR1 in a step": Case(signal.SIGUSR1, _at(7, "backward"), (8, 9)),
    "SIGTERM while a checkpoint is written": Case(signal.SIGTERM, _at(9, "saving"), (9, 10)),
    "SIGTERM in a validation": Case(signal.SIGTERM, _at(10, "validation"), (10,)),
    "SIGTERM while batches are accumulated": Case(
        signal.SIGTERM, _at(9, "forward"), (12,), accumulate=True
    ),
    "SIGTERM to the workers too": Case(signal.SIGTERM, _at(7, "forward"), (8, 9), to_workers=True),
    "SIGUSR1 to the workers too": Case(signal.SIGUSR1, _at(7, "forward"), (8, 9), to_workers=True),
}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folders of the undisturbed runs, by whether they accumulate."""
    folders = {False: tmp_path_factory.mktemp("each"), True: tmp_path_factory.mktemp("sum")}
    for accumulate, folder in folders.items():
        train_here(folder, _ACCUMULATE if accumulate else _OPTIONS)
    return folders


@pytest.mark.parametrize("name", CASES)
def test_a_signal_saves_and_ends_the_run(name, straight, tmp_path, record_row):
    case = CASES[name]
    options = _ACCUMULATE if case.accumulate else _OPTIONS
    work_dir = tmp_path / "run"
    with SingleRun(work_dir, options) as run:
        moment = run.wait_until(case.is_time)
        started = time.monotonic()
        if case.to_workers:
            run.signal_group(case.number)
        else:
            run.process.send_signal(case.number)
        text = run.finish(_DEADLINE, code=EXIT_PREEMPTED)
        seconds = time.monotonic() - started
    saved = find_resume_checkpoint(work_dir)
    assert int(saved.stem.removeprefix("iter_")) in case.saved_at, (moment, text)
    assert f"WARNING: {case.number.name}: saved {saved.name} and leaving; start again" in text
    train_here(work_dir, options, resume=True)
    assert _computed_twice(work_dir) == 0
    assert_same_run(work_dir, straight[case.accumulate])
    record_row(
        name,
        f"exit code 75 after {seconds:.1f} s with {saved.name} written (the signal came at "
        f"iteration {moment.iteration}, {moment.phase}); resumed to the same bits",
        "the validation that was broken off" if "validation" in name else "nothing",
    )


def _computed_twice(work_dir) -> int:
    lines = map(json.loads, (work_dir / "log.jsonl").read_text().splitlines())
    counts = Counter(line["iter"] for line in lines if line["mode"] == "train")
    return sum(count - 1 for count in counts.values())
