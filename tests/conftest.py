"""What all tests share: skips for missing hardware, one thread a process, real data if present."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch


def pytest_configure(config: pytest.Config) -> None:
    torch.set_num_threads(int(os.environ.get("MMDET_LITE_TEST_THREADS", "1")))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {
        "needs_gpu": None if torch.cuda.is_available() else "no CUDA device",
        "needs_compiler": None if shutil.which("c++") or shutil.which("g++") else "no C++ compiler",
    }
    for item in items:
        for mark, reason in reasons.items():
            if reason and item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def coco_tiny() -> Path:
    """The folder with a piece of COCO: MMDET_LITE_COCO_TINY, else ../shared/data/coco_tiny."""
    default = Path(__file__).parents[2] / "shared/data/coco_tiny"
    folder = Path(os.environ.get("MMDET_LITE_COCO_TINY") or default)
    if not (folder / "annotations/instances_train2017.json").is_file():
        pytest.skip(f"no coco_tiny at {folder}; set MMDET_LITE_COCO_TINY")
    return folder
