"""The tiny config, and no GPU: what is tested here are figures, not speed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmdet_lite.apis.config import load_config

TINY = Path(__file__).parents[1] / "apis/tiny_config.py"


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def tiny() -> Callable:
    """The tiny config with options: ``tiny({"train.max_iters": 4})``."""
    return lambda options=None: load_config(TINY, options)
