"""Gives the tests configs in MMDetection's form."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from foreign_configs import Foreign, foreign_config


@pytest.fixture
def foreign() -> Callable[..., Foreign]:
    """``foreign('cascade')``: a whole config."""
    return foreign_config
