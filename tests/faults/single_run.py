"""A run of one process, as a user starts it or in this process, that a test may disturb."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fault_hooks import PHASE_FILE
from launching import REPOSITORY, START_SECONDS, Launch, alone, as_options

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.train import train

CONFIG = Path(__file__).parent / "fault_config.py"
Options = dict[str, object]


class Moment(NamedTuple):
    """Where a run is: finished iterations, and what it is doing."""

    iteration: int
    phase: str


class SingleRun(Launch):
    """``tools/train.py`` with the config of these tests.

    Args:
        work_dir: the run's folder.
        options: for ``--cfg-options``.
        resume: with ``--resume``.
    """

    def __init__(self, work_dir: Path, options: Options | None = None, resume: bool = False):
        self.phase_file = work_dir / PHASE_FILE
        self.phase_file.unlink(missing_ok=True)
        command = [REPOSITORY / "tools/train.py", CONFIG, "--work-dir", work_dir]
        command += ["--resume"] * resume + (as_options(options) if options else [])
        super().__init__(alone(command), work_dir.with_name(f"{work_dir.name}.output.txt"))

    def wait_until(
        self, is_reached: Callable[[Moment], bool], seconds: float = START_SECONDS
    ) -> Moment:
        """Return as soon as the run is somewhere, where it must come before it ends."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            moment = self.moment()
            if moment is not None and is_reached(moment):
                return moment
            assert self.process.poll() is None, f"ended before that:\n{self.text()}"
            time.sleep(0.001)  # a step takes 0.04 s
        raise AssertionError(f"did not come there in {seconds:.0f} s:\n{self.text()}")

    def moment(self) -> Moment | None:
        """Where it is; None before it trains."""
        try:
            iteration, phase = self.phase_file.read_text().split(maxsplit=1)
        except (FileNotFoundError, ValueError):
            return None
        return Moment(int(iteration), phase.strip())

    def kill(self) -> None:
        """SIGKILL to the main process alone; its workers notice by themselves."""
        self.process.kill()
        self.process.wait()

    def signal_group(self, number: signal.Signals) -> None:
        """A signal to the run and its data loading workers, as some clusters send it."""
        os.killpg(self.process.pid, number)


def run_to_the_end(work_dir: Path, options: Options | None = None, resume: bool = False) -> None:
    """Train undisturbed in a process of its own."""
    with SingleRun(work_dir, options, resume) as run:
        run.finish()


def train_here(
    work_dir: Path, options: Options | None = None, resume: Path | bool = False
) -> dict[str, float]:
    """Train in this process, which saves the start-up; returns the metrics."""
    return train(load_config(CONFIG, options), work_dir, resume)


def train_in_fork(work_dir: Path, options: Options | None = None, seconds: float = 120) -> int:
    """Train in a fork of this process, which may be killed; returns its exit code."""
    arguments = (work_dir, options)
    process = multiprocessing.get_context("fork").Process(target=train_here, args=arguments)
    process.start()
    deadline = time.monotonic() + seconds
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)  # join() would wait for the workers too, which notice in 5 s
    if process.is_alive():
        process.kill()
        process.join()
        raise AssertionError(f"still running after {seconds:.0f} s")
    return process.exitcode
