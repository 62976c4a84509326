"""Run with: pytest tests/engine/test_randomness.py"""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mmdet_lite.engine.randomness import (
    seed_everything,
    seed_step,
    use_deterministic_algorithms,
)


def draw() -> list[float]:
    return [random.gauss(0, 1), float(np.random.randn()), float(torch.randn(()))]


def test_the_same_seed_gives_the_same_numbers():
    seed_everything(2**40 + 3)
    first = draw()
    seed_everything(2**40 + 3)
    assert draw() == first
    seed_everything(4)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_what_a_step_draws_is_a_function_of_seed_iteration_and_rank():
    seed_step(7, iteration=5)
    first = draw()
    draw()
    seed_step(7, iteration=5)
    assert draw() == first
    for other in [(8, 5, 0), (7, 6, 0), (7, 5, 1)]:
        seed_step(*other)
        assert all(a != b for a, b in zip(draw(), first, strict=True))


@pytest.fixture
def restored_determinism():
    yield
    torch.use_deterministic_algorithms(False)


def test_deterministic_mode_refuses_operations_without_such_an_algorithm(restored_determinism):
    use_deterministic_algorithms()
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
