"""The launch scripts, with stubs in place of torchrun and srun. See docs/distributed.md.

Run with: pytest tests/tools/test_launch_scripts.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
SCRIPTS = sorted(TOOLS.glob("*.sh"))
_STUB = """#!/bin/sh
for argument; do printf '%s\\n' "$argument"; done
env | grep -E '^(OMP_|PET_|PYTHONPATH)' >&2
"""
_OURS = ("NNODES", "NODE_RANK", "MASTER_ADDR", "PORT", "MAX_RESTARTS", "OMP_NUM_THREADS")
_OURS += ("GPUS", "GPUS_PER_NODE", "CPUS_PER_TASK", "SRUN_ARGS")


@dataclass
class Launched:
    """What a script came to: its exit code, the arguments that the stub saw, its environment."""

    code: int
    arguments: list[str]
    err: str

    @property
    def env(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.err.splitlines())


def _clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OURS}


@pytest.fixture
def launch(tmp_path) -> Callable[..., Launched]:
    """Runs a script with stubs on the PATH: ``launch("dist_train.sh", "c.py", 2, PORT="1")``."""
    for name, content in {"torchrun": _STUB, "srun": _STUB, "nproc": "#!/bin/sh\necho 8\n"}.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)

    def run(script: str, *arguments: object, **env: str) -> Launched:
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", TOOLS / script, *map(str, arguments)],
            env=_clean_environment() | {"PATH": path, "PYTHONPATH": ""} | env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        return Launched(done.returncode, done.stdout.splitlines(), done.stderr)

    return run


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script):
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_scripts_that_are_called_can_be_executed():
    assert {path.name for path in SCRIPTS if os.access(path, os.X_OK)} == {
        "dist_train.sh",
        "dist_test.sh",
        "slurm_train.sh",
        "slurm_test.sh",
    }


ONE_MACHINE = ["--standalone", "--local-addr", "127.0.0.1"]


def test_one_machine_takes_a_free_port(launch):
    assert launch("dist_train.sh", "my config.py", 2, "--work-dir", "a folder").arguments == [
        "--nproc-per-node",
        "2",
        "--max-restarts",
        "0",
        *ONE_MACHINE,
        str(TOOLS / "train.py"),
        "my config.py",
        "--launcher",
        "pytorch",
        "--work-dir",
        "a folder",
    ]


def test_the_test_script_passes_the_checkpoint(launch):
    arguments = launch("dist_test.sh", "c.py", "best one.pth", 4, "--out", "").arguments
    assert arguments == [
        *("--nproc-per-node", "4", "--max-restarts", "0", *ONE_MACHINE),
        *(str(TOOLS / "test.py"), "c.py", "best one.pth", "--launcher", "pytorch", "--out", ""),
    ]


def _rendezvous(launched: Launched) -> list[str]:
    return launched.arguments[4 : launched.arguments.index(str(TOOLS / "train.py"))]


@pytest.mark.parametrize(
    ("env", "port"), [({}, "29500"), ({"PORT": "1234"}, "1234")], ids=["default port", "PORT"]
)
def test_several_machines_meet_at_the_first(launch, env, port):
    env |= {"NNODES": "2", "NODE_RANK": "1", "MASTER_ADDR": "node0"}
    assert _rendezvous(launch("dist_train.sh", "c.py", 8, **env)) == [
        *("--nnodes", "2", "--node-rank", "1", "--master-addr", "node0", "--master-port", port)
    ]


def test_a_port_that_is_given_is_used_on_one_machine_too(launch):
    assert _rendezvous(launch("dist_train.sh", "c.py", 8, PORT="1234")) == [
        *("--nnodes", "1", "--node-rank", "0"),
        *("--master-addr", "127.0.0.1", "--master-port", "1234"),
    ]


@pytest.mark.parametrize(("node", "is_host"), [("0", "1"), ("1", "0")])
def test_machines_that_are_to_restart_together_use_c10d(launch, node, is_host):
    env = {"NNODES": "2", "NODE_RANK": node, "MASTER_ADDR": "node0", "MAX_RESTARTS": "3"}
    launched = launch("dist_train.sh", "c.py", 8, **env)
    assert launched.arguments[2:4] == ["--max-restarts", "3"]
    assert _rendezvous(launched) == [
        *("--nnodes", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "node0:29500"),
        *("--rdzv-conf", f"is_host={is_host}"),
    ]


@pytest.mark.parametrize(("processes", "threads"), [(1, 8), (2, 4), (3, 2), (8, 1), (16, 1)])
def test_processes_share_the_cores(launch, processes, threads):
    assert launch("dist_train.sh", "c.py", processes).env["OMP_NUM_THREADS"] == str(threads)


def test_threads_that_are_given_stay(launch):
    assert launch("dist_train.sh", "c.py", 2, OMP_NUM_THREADS="3").env["OMP_NUM_THREADS"] == "3"


def test_the_environment_has_this_checkout_and_torchruns_signals(launch):
    env = launch("dist_train.sh", "c.py", 2, PYTHONPATH="/mine").env
    assert env["PYTHONPATH"] == f"{ROOT}:/mine"
    assert "SIGUSR1" in env["PET_SIGNALS_TO_HANDLE"].split(",")


SRUN_8 = ["--gres=gpu:8", "--ntasks=8", "--ntasks-per-node=8", "--cpus-per-task=5"]


def test_slurm_trains_on_eight_gpus(launch):
    assert launch("slurm_train.sh", "gpu", "a job", "c.py", "a folder", "--resume").arguments == [
        *("--partition=gpu", "--job-name=a job", *SRUN_8, "--kill-on-bad-exit=1"),
        *("python", "-u", str(TOOLS / "train.py"), "c.py", "--work-dir=a folder"),
        *("--launcher=slurm", "--resume"),
    ]


def test_slurm_tests_a_checkpoint(launch):
    assert launch("slurm_test.sh", "gpu", "job", "c.py", "best.pth", "--out", "x y").arguments == [
        *("--partition=gpu", "--job-name=job", *SRUN_8, "--kill-on-bad-exit=1"),
        *("python", "-u", str(TOOLS / "test.py"), "c.py", "best.pth"),
        *("--launcher=slurm", "--out", "x y"),
    ]


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"GPUS": "4"}, ["--gres=gpu:4", "--ntasks=4", "--ntasks-per-node=4"]),
        ({"GPUS": "16"}, ["--gres=gpu:8", "--ntasks=16", "--ntasks-per-node=8"]),
        (
            {"GPUS": "16", "GPUS_PER_NODE": "4"},
            ["--gres=gpu:4", "--ntasks=16", "--ntasks-per-node=4"],
        ),
    ],
    ids=["part of a node", "two nodes", "nodes of four"],
)
def test_slurm_takes_as_many_gpus_as_it_is_told(launch, env, expected):
    assert launch("slurm_train.sh", "gpu", "job", "c.py", "dir", **env).arguments[2:5] == expected


def test_slurm_takes_cores_and_other_arguments(launch):
    env = {"CPUS_PER_TASK": "12", "SRUN_ARGS": "--time=1:00:00  --exclusive"}
    arguments = launch("slurm_train.sh", "gpu", "job", "c.py", "dir", **env).arguments
    assert arguments[5:9] == [
        "--cpus-per-task=12",
        "--kill-on-bad-exit=1",
        "--time=1:00:00",
        "--exclusive",
    ]


@pytest.mark.parametrize(
    ("script", "arguments", "needed"),
    [
        ("dist_train.sh", ["c.py"], 2),
        ("dist_test.sh", ["c.py", "8"], 3),
        ("slurm_train.sh", ["gpu", "job", "c.py"], 4),
        ("slurm_test.sh", ["gpu", "job", "c.py"], 4),
    ],
)
def test_missing_arguments_are_answered_with_the_usage(launch, script, arguments, needed):
    launched = launch(script, *arguments)
    assert (launched.code, launched.arguments) == (2, [])
    first, usage = launched.err.splitlines()[:2]
    assert first == f"expected at least {needed} arguments, found {len(arguments)}"
    assert usage.startswith(f"usage: bash tools/{script} ")
    assert len(usage.partition("[")[0].split()) == 3 + needed


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        (["--resume"], {}, "GPUS: expected a number from 1 on, found '--resume'"),
        (["0"], {}, "GPUS: expected a number from 1 on, found '0'"),
        (["2"], {"MAX_RESTARTS": "yes"}, "MAX_RESTARTS: expected a number from 0 on, found 'yes'"),
        (["2"], {"NNODES": "two"}, "NNODES: expected a number from 1 on, found 'two'"),
        (
            ["2"],
            {"NNODES": "2", "NODE_RANK": "1"},
            "NNODES=2: set NODE_RANK to this node's number, 0 to 1, and MASTER_ADDR to the address "
            "of the node whose number is 0",
        ),
    ],
)
def test_wrong_numbers_are_named(launch, arguments, env, message):
    launched = launch("dist_train.sh", "c.py", *arguments, **env)
    assert (launched.code, launched.arguments) == (2, [])
    assert " ".join(launched.err.splitlines()).startswith(f"{message} usage: ")


@pytest.mark.slow
def test_two_processes_train_and_test(tmp_path):
    config = ROOT / "tests/apis/tiny_config.py"
    work_dir = tmp_path / "a run"
    env = _clean_environment() | {"OMP_NUM_THREADS": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"

    def run(script: str, *arguments: object) -> None:
        command = ["bash", TOOLS / script, *map(str, arguments)]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run("dist_train.sh", config, 2, "--work-dir", work_dir)
    lines = (work_dir / "log.jsonl").read_text().splitlines()
    modes = [json.loads(line)["mode"] for line in lines]
    assert modes == ["train", "train", "val"]  # the main process alone writes
    metrics = tmp_path / "metrics.json"
    run("dist_test.sh", config, work_dir / "iter_2.pth", 2, "--out-metrics", metrics)
    validated = json.loads(lines[-1])
    assert json.loads(metrics.read_text())["bbox_mAP"] == validated["bbox_mAP"]
