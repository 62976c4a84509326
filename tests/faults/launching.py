"""Training as a user starts it, watched from outside: every wait has an end, and so has every
process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]
CONFIG = Path(__file__).parent / "processes_config.py"
START_SECONDS = 120  # a start takes 10 s; much more where other tests run at the same time

# Options with which one process and several come to the same sums, but for the last digits: nothing
# depends on how the batch is shared out. Images have one size, batch norm is frozen, losses are
# divided by the samples of all processes.
COMPARABLE = {
    "train_data.dataset.pipeline": [
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "RandomCrop", "crop_size": (56, 56)},
        {"type": "PhotometricDistortion"},
    ],
    "train.clip_grad_norm": None,
    "optimizer.lr": 1e-3,  # a higher one makes more of differences in the last digits
    "model.backbone.norm_eval": True,
    "model.rpn_head.normalizer": "global",
    "model.roi_head.bbox_head.normalizer": "global",
    "model.roi_head.mask_head.normalizer": "global",
}

# The same arithmetic in all runs that are compared: the sums of two threads differ in their last
# digits from those of one.
ONE_THREAD_ON_THE_CPU = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

_TAG = "MMDET_LITE_FAULTS_LAUNCH"  # in the environment of every process of a launch


class Launch:
    """A command that runs in the background, as a context that leaves no process behind.

    Args:
        command: what to run.
        output: file for what it prints.
        env: variables in addition to those of this process.
    """

    def __init__(
        self, command: Sequence[object], output: Path, env: Mapping[str, object] | None = None
    ):
        self.output = output
        self._tag = f"{_TAG}={uuid.uuid4()}"
        modules = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
        environment = {
            **os.environ,
            **ONE_THREAD_ON_THE_CPU,
            "PYTHONPATH": modules,
            **dict([self._tag.split("=")]),
            **{name: str(value) for name, value in (env or {}).items()},
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("w") as file:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=REPOSITORY,
                start_new_session=True,
            )

    def __enter__(self) -> Launch:
        return self

    def __exit__(self, *exception: object) -> None:
        for pid in [self.process.pid, *self._pids()]:
            _kill(pid)
        self.process.wait()

    def text(self) -> str:
        """What was printed so far."""
        return self.output.read_text(errors="replace")

    def wait(self, seconds: float) -> int:
        """The exit code; fails if the command has not ended in time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"not ended after {seconds} s:\n{self.text()[-6000:]}") from None

    def finish(self, seconds: float = 2 * START_SECONDS, code: int = 0) -> str:
        """Wait for the end, which must have this exit code, and return what was printed."""
        found = self.wait(seconds)
        assert found == code, f"exit code {found}, expected {code}:\n{self.text()[-6000:]}"
        return self.text()

    def until(self, happened: Callable[[], Any], what: str, seconds: float = START_SECONDS) -> Any:
        """Wait until a function returns something true, and return that."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if result := happened():
                return result
            assert self.process.poll() is None, f"ended before {what}:\n{self.text()[-6000:]}"
            time.sleep(0.01)
        raise AssertionError(f"no {what} in {seconds} s:\n{self.text()[-6000:]}")

    def _pids(self) -> list[int]:
        """All living processes of the launch; torchrun gives each of its own a session."""
        return [int(path.parent.name) for path in _environments() if self._owns(path)]

    def _owns(self, environment: Path) -> bool:
        try:
            return self._tag.encode() in environment.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            return False


def train(
    work_dir: Path,
    options: Mapping[str, object] | None = None,
    *arguments: object,
    config: Path = CONFIG,
) -> list[object]:
    """The command line of a training, without a launcher."""
    command = [REPOSITORY / "tools/train.py", config, "--work-dir", work_dir, *arguments]
    return [*command, *as_options(options or {})]


def as_options(options: Mapping[str, object]) -> list[str]:
    """Changes of the config as arguments."""
    pairs = [f"{key}={value}" for key, value in options.items()]
    return ["--cfg-options", *pairs] if pairs else []


def torchrun(processes: int, script: Sequence[object], *arguments: object) -> list[object]:
    """The command that runs a script in several processes of this machine."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return [*launcher, "--nproc-per-node", processes, *arguments, *script]


def alone(script: Sequence[object]) -> list[object]:
    """The command that runs a script in one process."""
    return [sys.executable, *script]


def announced(work_dir: Path) -> dict[int, tuple[int, int]]:
    """What the hook Announce wrote last: (process id, iteration) by rank."""
    files = (work_dir / "announced").glob("rank_*")
    places = {int(path.name.removeprefix("rank_")): path.read_text().split() for path in files}
    return {rank: (int(pid), int(iteration)) for rank, (pid, iteration) in places.items()}


def wait_for_iteration(
    launch: Launch, work_dir: Path, rank: int, iteration: int, but_not: Sequence[int] = ()
) -> int:
    """Wait until a rank has come to an iteration; gives its process id.

    Args:
        launch: which runs it.
        work_dir: of the run, which has the hook Announce.
        rank: the rank.
        iteration: counted from 0.
        but_not: process ids of ranks that were killed before.
    """

    def found() -> int:
        pid, reached = announced(work_dir).get(rank, (0, -1))
        return pid if reached >= iteration and pid not in but_not else 0

    return launch.until(found, f"iteration {iteration} on rank {rank}")


def computed_again(work_dir: Path) -> int:
    """How many iterations a run with ``log_interval=1`` did more than once."""
    lines = map(json.loads, (work_dir / "log.jsonl").read_text().splitlines())
    iterations = [line["iter"] for line in lines if line["mode"] == "train"]
    return len(iterations) - len(set(iterations))


def _environments() -> list[Path]:
    return list(Path("/proc").glob("[0-9]*/environ"))


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
