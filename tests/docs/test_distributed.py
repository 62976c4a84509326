"""docs/distributed.md: its commands start, its files are complete, its messages are the code's.

Run with: pytest tests/docs/test_distributed.py
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from torch.distributed.run import get_args_parser

from mmdet_lite import cli
from mmdet_lite.apis.config import load_config

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docs/distributed"
NAME = "docs/distributed.md"
LAUNCHERS = ("torchrun", "srun")
FROM_TORCH = {"EADDRINUSE", "Connection closed by peer, Connection reset by peer"}
_STUB = """#!/bin/sh
for word in {name} "$@"; do printf '%s\\n' "$word"; done >>"$LOG"
exit {code}
"""


@pytest.fixture
def shell(tmp_path):
    """Runs shell code with stubs for ``srun`` and the like; gives its exit code and their calls."""

    def run(code: str, srun: int = 0) -> tuple[int, list[list[str]]]:
        for name in (*LAUNCHERS, "scontrol"):
            (tmp_path / name).write_text(_STUB.format(name=name, code=srun * (name == "srun")))
            (tmp_path / name).chmod(0o755)
        log = tmp_path / "log"
        log.write_text("")
        env = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "LOG": str(log)}
        env |= {"SLURM_CPUS_PER_TASK": "8", "SLURM_JOB_NAME": "job", "SLURM_JOB_ID": "7"}
        done = subprocess.run(
            ["bash"], input=code, env=env, cwd=ROOT, capture_output=True, text=True
        )
        assert not done.stderr
        calls = re.split(r"^(?=(?:torchrun|srun|scontrol)$)", log.read_text(), flags=re.M)[1:]
        return done.returncode, [call.splitlines() for call in calls]

    return run


def _check_call(words: list[str]) -> None:
    """Launcher, script and config of a command that was called accept what they are given."""
    place = next(i for i, word in enumerate(words) if re.search(r"tools/(train|test)\.py$", word))
    if words[0] == "torchrun":
        parsed = get_args_parser().parse_args(words[1:])
        assert parsed.training_script == words[place]
    parser = argparse.ArgumentParser(exit_on_error=False)
    cli.COMMANDS[Path(words[place]).stem].add_arguments(parser)
    load_config(ROOT / parser.parse_args(words[place + 1 :]).config)


def test_shell_code_parses(page):
    for code in page.blocks("bash"):
        done = subprocess.run(["bash", "-n"], input=code, capture_output=True, text=True)
        assert not done.stderr, code


def test_commands_start(read_page, shell):
    lines = "\n".join(read_page(NAME).blocks("bash")).replace("\\\n", " ").splitlines()
    commands = [c for c in lines if re.search(r"^torchrun |^(\w+=\S+ )*bash tools/", c)]
    calls = [shell(command) for command in commands]
    assert len(calls) == 10
    for code, called in calls:
        assert (code, len(called)) == (0, 1)
        _check_call(called[0])


@pytest.mark.parametrize(
    ("file", "language"),
    [("train.sbatch", "bash"), ("Dockerfile", "dockerfile"), ("pytorchjob.yaml", "yaml")],
)
def test_files_are_those_of_the_page(read_page, file, language):
    assert (FILES / file).read_text() in read_page(NAME).blocks(language)


@pytest.mark.parametrize(("left_with", "is_requeued"), [(75, True), (0, False), (1, False)])
def test_the_job_is_queued_again_if_it_was_interrupted(shell, left_with, is_requeued):
    code, calls = shell((FILES / "train.sbatch").read_text(), srun=left_with)
    assert code == left_with
    _check_call(calls[0])
    assert calls[1:] == [["scontrol", "requeue", "7"]] * is_requeued


def test_the_image_has_what_it_copies_and_runs_without_rights():
    steps = re.findall(r"^([A-Z]+) (.+)$", (FILES / "Dockerfile").read_text(), re.M)
    copied = [source for kind, text in steps if kind == "COPY" for source in text.split()[:-1]]
    assert {"setup.py", "mmdet_lite", "configs", "tools"} <= set(copied)
    assert all((ROOT / source).exists() for source in copied)
    assert [kind for kind, _ in steps][-2:] == ["USER", "CMD"]


@pytest.fixture
def pod() -> dict:
    """The pods' specification in the Kubernetes manifest."""
    _, job = yaml.safe_load_all((FILES / "pytorchjob.yaml").read_text())
    return job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]


def test_the_pods_command_is_accepted_and_resumes(pod):
    command = pod["containers"][0]["command"]
    assert command[-1] == "--resume"
    _check_call(command)


def test_the_pods_have_their_volumes_and_time_to_save(pod):
    container = pod["containers"][0]
    assert container["name"] == "pytorch"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes.keys() == {mount["name"] for mount in container["volumeMounts"]}
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    grace = pod["terminationGracePeriodSeconds"]
    assert grace > int(env["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) > 30


def _texts() -> list[str]:
    """All strings of the package, with ``...`` for what is filled in."""
    found = []
    for path in (ROOT / "mmdet_lite").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "..." for v in node.values)
                found.append("".join(parts))
    return [re.sub(r"%[sd]", "...", text) for text in found]


def test_messages_are_the_codes(read_page):
    section = read_page(NAME).text.partition("## When it hangs or fails")[2]
    messages = set(re.findall(r"^\| `(.+?)` \|", section, re.M)) - FROM_TORCH
    texts = _texts()
    assert len(messages) > 10
    for message in messages:
        parts = [part for part in re.split(r"\s*\.\.\.\s*", message) if part]
        assert any(all(part in text for part in parts) for text in texts), message


def test_variables_of_the_page_are_those_of_the_scripts(read_page):
    table = read_page(NAME).text.partition("## Two machines")[0]
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.M))
    script = (ROOT / "tools/launch.sh").read_text().partition("launch_srun()")[0]
    assert documented == set(re.findall(r"\$\{([A-Z_]+):-", script)) - {"PYTHONPATH"}


def test_default_time_of_a_phase_is_the_codes(read_page):
    from mmdet_lite.apis.config import read_timeout

    code = next(b for b in read_page(NAME).blocks("python") if "timeout" in b)
    names: dict = {}
    exec(code, names)
    assert names["distributed"]["timeout"] == read_timeout({})
