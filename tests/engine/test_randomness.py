"""Run with: pytest tests/engine/test_randomness.py"""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mmdet_lite.engine.checkpoint import load_checkpoint, save_checkpoint
from mmdet_lite.engine.randomness import load_random_state, random_state, seed_everything


def draw() -> list[float]:
    return [random.gauss(0, 1), float(np.random.randn()), float(torch.randn(()))]


def test_the_same_seed_gives_the_same_numbers():
    seed_everything(2**40 + 3)
    first = draw()
    seed_everything(2**40 + 3)
    assert draw() == first
    seed_everything(4)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_states_survive_a_checkpoint(tmp_path):
    seed_everything(1)
    draw()  # half of a pair of normal numbers is kept back now
    save_checkpoint(random_state(), tmp_path / "a.pth")
    expected = draw()
    load_random_state(load_checkpoint(tmp_path / "a.pth"))
    assert draw() == expected


@pytest.fixture
def restored_determinism():
    yield
    torch.use_deterministic_algorithms(False)


def test_deterministic_mode_refuses_operations_without_such_an_algorithm(restored_determinism):
    seed_everything(1, deterministic=True)
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
