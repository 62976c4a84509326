"""A run that is killed at any time goes on from its last checkpoint as if nothing had happened."""

from __future__ import annotations

import json
import random
import time
from collections import Counter

import pytest
from comparison import assert_same_run
from single_run import SingleRun, run_to_the_end, train_here

pytestmark = pytest.mark.faults

_KILLS = 20
_LENGTH = 40  # iterations of fault_config.py
_STEP = 0.06  # seconds of a step, or a little more


def test_a_run_killed_at_20_random_iterations_ends_as_the_undisturbed_one(
    undisturbed, tmp_path, record_row
):
    rng = random.Random(0)
    work_dir = tmp_path / "killed"
    where = Counter()
    for iteration in sorted(rng.sample(range(_LENGTH), _KILLS)):
        with SingleRun(work_dir, resume=True) as run:
            run.wait_until(lambda moment, at=iteration: moment.iteration >= at)
            time.sleep(rng.uniform(0, _STEP))
            where[run.moment().phase] += 1
            run.kill()
    run_to_the_end(work_dir, resume=True)
    assert_same_run(work_dir, undisturbed)
    record_row(
        f"SIGKILL at {_KILLS} random iterations of {_LENGTH}, each followed by a resume",
        "weights, optimizer, moving average, best metric and everything logged bit-identical to "
        "the undisturbed run; it was killed while "
        + ", ".join(f"{phase} ({count})" for phase, count in where.most_common()),
        f"{_logged_twice(work_dir)} iterations computed again (a checkpoint every 3)",
    )


def test_a_run_killed_in_a_validation_repeats_the_validation_alone(tmp_path, record_row):
    options = {
        "train.max_iters": 12,
        "train.checkpoint_interval": 6,
        "train.val_interval": 6,
        "val_data.dataset.num_images": 40,
    }
    with SingleRun(tmp_path / "killed", options) as run:
        run.wait_until(lambda moment: moment == (6, "validation"))
        time.sleep(0.1)
        assert run.moment() == (6, "validation")
        run.kill()
    train_here(tmp_path / "killed", options, resume=True)
    train_here(tmp_path / "straight", options)
    assert _logged_twice(tmp_path / "killed") == 0
    assert_same_run(tmp_path / "killed", tmp_path / "straight")
    record_row(
        "SIGKILL in a validation",
        "the checkpoint written before the validation was resumed, the validation came first, "
        "weights and metrics bit-identical",
        "the validation",
    )


def _logged_twice(work_dir) -> int:
    lines = map(json.loads, (work_dir / "log.jsonl").read_text().splitlines())
    counts = Counter(line["iter"] for line in lines if line["mode"] == "train")
    return sum(count - 1 for count in counts.values())
