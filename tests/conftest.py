"""What all tests share: skips for missing hardware, one thread a process, real data if present,
the command line called in this process, how many examples a property is tried on."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import settings

_EXAMPLES = 40  # of each property


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(int(os.environ.get("MMDET_LITE_TEST_THREADS", "1")))
    times = int(os.environ.get("MMDET_LITE_EXAMPLES", "1"))
    settings.register_profile(
        "mmdet_lite", max_examples=times * _EXAMPLES, derandomize=times == 1, deadline=None
    )
    settings.load_profile("mmdet_lite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {
        "needs_gpu": None if torch.cuda.is_available() else "no CUDA device",
        "needs_browser": None if _browser() else "no Chromium with playwright",
        "needs_compiler": None if shutil.which("c++") or shutil.which("g++") else "no C++ compiler",
    }
    for item in items:
        for mark, reason in reasons.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


def _browser() -> str | None:
    """Path of a Chromium, if there is what drives it."""
    if importlib.util.find_spec("playwright") is None:
        return None
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)


@pytest.fixture(scope="session")
def coco_tiny() -> Path:
    """The folder with a piece of COCO: MMDET_LITE_COCO_TINY, else ../shared/data/coco_tiny."""
    default = Path(__file__).parents[2] / "shared/data/coco_tiny"
    folder = Path(os.environ.get("MMDET_LITE_COCO_TINY") or default)
    if not (folder / "annotations/instances_train2017.json").is_file():
        pytest.skip(f"no coco_tiny at {folder}; set MMDET_LITE_COCO_TINY")
    return folder


@dataclass
class CliResult:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def run_cli(capfd: pytest.CaptureFixture) -> Callable[..., CliResult]:
    """Call ``mmdet-lite`` with arguments: ``run_cli("train", config, "--amp")``."""
    from mmdet_lite.cli import main

    def run(*arguments: object) -> CliResult:
        capfd.readouterr()
        code = 0
        try:
            main(argv=[str(argument) for argument in arguments])
        except SystemExit as exit:
            code = exit.code or 0
        out, err = capfd.readouterr()
        return CliResult(code, out, err)

    return run


@pytest.fixture
def cli_error(run_cli: Callable[..., CliResult]) -> Callable[..., str]:
    """Call ``mmdet-lite`` with wrong input; gives the message, which stands alone on stderr."""

    def run(*arguments: object) -> str:
        result = run_cli(*arguments)
        assert result.code == 1, result
        assert result.err.startswith("\nerror: "), result.err
        assert "Traceback" not in result.err
        message, hint = result.err.removeprefix("\nerror: ").rstrip().rsplit("\n", 1)
        assert hint == "(for the traceback set MMDET_LITE_TRACEBACK=1)"
        return message

    return run
