"""The conformance tests compare with the arrays of the folder that MMDET_LITE_REFERENCE names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent


@pytest.fixture
def reference(tmp_path):
    """A copy of the reference data."""
    return shutil.copytree(TESTS / "data/reference", tmp_path / "reference")


def conformance(file: str, reference: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pytest", "-v", f"tests/conformance/{file}"]
    environment = os.environ | {"MMDET_LITE_REFERENCE": str(reference)}
    return subprocess.run(
        command, cwd=TESTS.parent, env=environment, capture_output=True, text=True
    )


@pytest.mark.slow
def test_other_numbers_in_the_folder_are_noticed(reference):
    done = conformance("test_overlaps.py", reference)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout

    path = reference / "two_stage/overlaps.npz"
    arrays = dict(np.load(path))
    arrays["iou"][0, 0] += 0.01
    np.savez(path, **arrays)
    done = conformance("test_overlaps.py", reference)
    assert done.returncode == 1
    assert "1 failed, 2 passed" in done.stdout


@pytest.mark.slow
def test_missing_folder_is_an_error_and_no_skip(tmp_path):
    done = conformance("test_overlaps.py", tmp_path / "nowhere")
    assert done.returncode != 0
    assert str(tmp_path / "nowhere") in done.stdout
