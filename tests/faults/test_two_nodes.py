"""Two nodes, which are network namespaces of this machine, and the link between them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from comparison import assert_same_run
from launching import Launch, computed_again, train, wait_for_iteration

pytestmark = pytest.mark.faults

TIMEOUT = 15  # seconds, of distributed.timeout
LIMIT = 180
ADDRESSES = ("10.213.7.1", "10.213.7.2")


class Nodes:
    """Two namespaces with a veth pair between them, as a context that removes them.

    Raises:
        OSError: they cannot be made here; says why.
    """

    def __init__(self) -> None:
        self.names = [f"mmdet-lite-{os.getpid()}-{node}" for node in (0, 1)]
        self.links = [f"ml{os.getpid() % 10**6}v{node}" for node in (0, 1)]

    def __enter__(self) -> Nodes:
        try:
            self._make()
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for name in self.names:  # their ends of the pair go with them
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def inside(self, node: int, *command: object) -> list[object]:
        """A command that runs on a node."""
        return ["ip", "netns", "exec", self.names[node], *command]

    def set_link(self, node: int, state: str) -> None:
        """Take a node's end of the link 'up' or 'down'."""
        _ip(*self.inside(node, "ip", "link", "set", self.links[node], state)[1:])

    def _make(self) -> None:
        for name in self.names:
            _ip("netns", "add", name)
        ends = [["name", self.links[node], "netns", self.names[node]] for node in (0, 1)]
        _ip("link", "add", *ends[0], "type", "veth", "peer", *ends[1])
        for node, (name, link) in enumerate(zip(self.names, self.links, strict=True)):
            _ip("-n", name, "addr", "add", f"{ADDRESSES[node]}/24", "dev", link)
            _ip("-n", name, "link", "set", link, "up")
            _ip("-n", name, "link", "set", "lo", "up")


def _ip(*arguments: object) -> None:
    command = ["ip", *map(str, arguments)]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        raise OSError(f"{' '.join(command)}: {error.stderr.strip()}") from error


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    try:
        made = Nodes().__enter__()
    except OSError as error:
        pytest.skip(f"cannot make network namespaces here: {error}")
    yield made
    made.__exit__()


def start(launches: ExitStack, nodes: Nodes, script: list, folder: Path) -> list[Launch]:
    """Start a training of one process on each node, with torchrun, as docs/distributed.md does."""
    started = []
    for node in (0, 1):
        launcher = [
            *(sys.executable, "-m", "torch.distributed.run"),
            *("--nnodes", 2, "--node-rank", node, "--nproc-per-node", 1),
            *("--master-addr", ADDRESSES[0], "--master-port", 29500),
        ]
        launch = Launch(
            nodes.inside(node, *launcher, *script),
            folder / f"node_{node}.txt",
            {"GLOO_SOCKET_IFNAME": nodes.links[node]},
        )
        started.append(launches.enter_context(launch))
    return started


def worker_exit(launch: Launch) -> int | None:
    """The exit code of the worker that a node's torchrun saw failing."""
    found = re.search(r"failed \(exitcode: (-?\d+)\)", launch.text())
    return int(found[1]) if found else None


def test_two_nodes_train_to_the_weights_of_one(two_processes, nodes, tmp_path, record_row):
    with ExitStack() as launches:
        for launch in start(launches, nodes, train(tmp_path / "run"), tmp_path):
            launch.finish()
    assert_same_run(tmp_path / "run", two_processes)
    record_row(
        "two nodes (network namespaces), one process each, under torchrun --nnodes 2",
        "weights, optimizer, moving average, best metric and everything logged bit-identical to "
        "two processes on one node",
        "nothing",
    )


def test_a_cut_link_ends_the_run_on_both_nodes_and_it_resumes(
    two_processes, nodes, tmp_path, record_row
):
    work_dir = tmp_path / "run"
    script = train(work_dir, {"distributed.timeout": TIMEOUT})
    with ExitStack() as launches:
        started = start(launches, nodes, script, tmp_path / "cut")
        wait_for_iteration(started[0], work_dir, 0, 9)
        nodes.set_link(1, "down")
        cut = time.monotonic()
        for launch in started:
            launch.until(lambda at=launch: worker_exit(at), "end of the worker", LIMIT)
        seconds = time.monotonic() - cut
        codes = [launch.wait(LIMIT) for launch in started]
        until_torchrun_left = time.monotonic() - cut
        texts = [launch.text() for launch in started]
    assert [worker_exit(launch) for launch in started] == [76, 76], texts
    silent = "Rank 1 gives no sign of life: its process hangs, was stopped or has ended"
    assert silent in texts[0], texts[0]
    store = rf"Rank 0, which serves the rendezvous store at {ADDRESSES[0]}:\d+, does not answer"
    assert re.search(store, texts[1]), texts[1]
    for rank, text in enumerate(texts):
        assert re.search(rf"rank {rank} has waited \d+ s in '[a-z ]+' of iteration \d+", text), text
    nodes.set_link(1, "up")
    again = train(work_dir, None, "--resume")
    with ExitStack() as launches:
        for launch in start(launches, nodes, again, tmp_path / "again"):
            text = launch.finish()
    resumed = re.search(r"resumed from \S+/(iter_\d+)\.pth", (work_dir / "train.log").read_text())
    assert resumed, text
    assert_same_run(work_dir, two_processes)
    record_row(
        "two nodes: the link cut in iteration 9",
        f"after {seconds:.0f} s (distributed.timeout={TIMEOUT}) the processes of both nodes had "
        "ended with exit code 76; rank 0's error names rank 1, which gives no sign of life, rank "
        "1's names rank 0, which does not answer, each with the phase; both torchruns had ended "
        f"after {until_torchrun_left:.0f} s (exit codes {codes[0]} and {codes[1]}); with the link "
        f"restored --resume went on from {resumed[1]}: bit-identical to "
        "the undisturbed run",
        f"{computed_again(work_dir)} iterations computed again (a checkpoint every 4)",
    )
