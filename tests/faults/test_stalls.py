"""A process that does not go on: the run ends, says who and where, and resumes exactly."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from contextlib import ExitStack

import pytest
from comparison import assert_same_run
from launching import Launch, computed_again, torchrun, train, wait_for_iteration

pytestmark = pytest.mark.faults

TIMEOUT = 10  # seconds, of distributed.timeout
LIMIT = 180
SAME = "bit-identical to the undisturbed run"
HANGS_AFTER = 15  # samples of rank 1: in iteration 7


def resumed_by_itself(work_dir):
    return re.search(r"resumed from \S+/(iter_\d+)\.pth", (work_dir / "train.log").read_text())[1]


def stalled_rank_exit(text):
    """Exit codes of the workers that torchrun saw failing first."""
    return {int(code) for code in re.findall(r"failed \(exitcode: (-?\d+)\)", text)}


def test_a_rank_that_hangs_while_loading_is_named(tmp_path, record_row):
    pipeline = [{"type": "RandomFlip", "prob": 0.5}]
    hang = {"type": "HangOnce", "rank": 1, "sample": HANGS_AFTER, "mark": str(tmp_path / "hung")}
    options = {"distributed.timeout": TIMEOUT, "train_data.num_workers": 0}
    key = "train_data.dataset.pipeline"
    with Launch(
        torchrun(2, train(tmp_path / "straight", {**options, key: pipeline})), tmp_path / "s.txt"
    ) as launch:
        launch.finish()
    script = train(tmp_path / "run", {**options, key: [*pipeline, hang]})
    with Launch(torchrun(2, script, "--max-restarts", 1), tmp_path / "run.txt") as launch:
        hung = launch.until((tmp_path / "hung").exists, "hanging") and time.monotonic()
        launch.until(lambda: stalled_rank_exit(launch.text()), "end of the stalled run", LIMIT)
        seconds = time.monotonic() - hung
        text = launch.finish(LIMIT)
    assert stalled_rank_exit(text) == {76}
    assert re.search(
        r"behind: rank 1 \(host \S+, pid \d+\): 'loading a batch' of iteration 7 for \d+ s", text
    ), text
    assert re.search(r"waiting: rank 0 .*: '(forward|backward|update)' of iteration 7", text), text
    assert "Rank 1 stalled while loading a batch: look at its storage" in text
    assert "process_hooks.py" in text, "the stack of the stalled thread"
    assert_same_run(tmp_path / "run", tmp_path / "straight")
    record_row(
        "two processes: rank 1 hangs while it loads an image in iteration 7",
        f"ended with exit code 76 after {seconds:.0f} s (distributed.timeout={TIMEOUT}); the error "
        "names rank 1, 'loading a batch', iteration 7 and the line of code; torchrun "
        f"--max-restarts 1 resumed from {resumed_by_itself(tmp_path / 'run')}: {SAME}",
        f"{computed_again(tmp_path / 'run')} iterations computed again (a checkpoint every 4)",
    )


@pytest.mark.parametrize("stopped", [0, 1])
def test_a_stopped_process_is_named(two_processes, tmp_path, record_row, stopped):
    work_dir = tmp_path / "run"
    script = train(work_dir, {"distributed.timeout": TIMEOUT})
    with Launch(torchrun(2, script, "--max-restarts", 1), tmp_path / "run.txt") as launch:
        pid = wait_for_iteration(launch, work_dir, stopped, 9)
        os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        launch.until(lambda: stalled_rank_exit(launch.text()), "end of the stalled run", LIMIT)
        seconds = time.monotonic() - begun
        text = launch.finish(LIMIT)
    assert stalled_rank_exit(text) == {76}
    named = (
        r"Rank 0, which serves the rendezvous store at \S+, does not answer .*: its process hangs",
        "Rank 1 gives no sign of life: its process hangs, was stopped or has ended",
    )
    assert re.search(named[stopped], text), text
    waits = rf"rank {1 - stopped} has waited \d+ s in '[a-z ]+' of iteration (9|10) "
    assert re.search(waits, text), text
    assert_same_run(work_dir, two_processes)
    record_row(
        f"two processes: SIGSTOP to rank {stopped} in iteration 9",
        f"ended with exit code 76 after {seconds:.0f} s (distributed.timeout={TIMEOUT}; torchrun "
        f"waits 30 s for the stopped process before it kills it); the error names rank {stopped}; "
        f"torchrun --max-restarts 1 resumed from {resumed_by_itself(work_dir)}: {SAME}",
        f"{computed_again(work_dir)} iterations computed again (a checkpoint every 4)",
    )


def test_processes_that_srun_started_train_like_torchruns(two_processes, tmp_path, record_row):
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    command = [sys.executable, *train(tmp_path / "run", None, "--launcher", "slurm")]
    with ExitStack() as launches:
        for rank in (0, 1):
            env = {
                "SLURM_PROCID": rank,
                "SLURM_LOCALID": rank,
                "SLURM_NTASKS": 2,
                "SLURM_JOB_ID": 7,
                "SLURM_STEP_NODELIST": "localhost",
                "MASTER_PORT": port,
            }
            launch = Launch(command, tmp_path / f"rank_{rank}.txt", env)
            launches.enter_context(launch)
        launch.finish()
    assert_same_run(tmp_path / "run", two_processes)
    record_row(
        "two processes started as srun does (--launcher slurm)",
        f"everything {SAME} under torchrun",
        "nothing",
    )
