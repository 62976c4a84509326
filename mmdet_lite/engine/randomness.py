"""The global random generators.

mmdet_lite itself draws from (seed, place) and needs no generator (see ``random_keys``); these
serve the initialisation of weights and what users add, such as dropout.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and torch (all devices).

    Args:
        seed: 0 or larger, below 2**64.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def use_deterministic_algorithms() -> None:
    """Let torch raise an error, naming the operation, instead of computing it unrepeatably."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for this
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


def seed_step(seed: int, iteration: int, rank: int = 0) -> None:
    """Seed the generators for one step, so that what is drawn in it is a function of its place.

    A resumed run therefore needs no generator's state, and processes draw different numbers.

    Args:
        seed: the run's seed.
        iteration: of the step, from 0.
        rank: this process.
    """
    sequence = np.random.SeedSequence((seed, iteration, rank))
    seed_everything(int(sequence.generate_state(1, np.uint64)[0]))


@contextmanager
def unchanged_generators() -> Iterator[None]:
    """Leave the generators of Python, NumPy and torch (all devices) as they were before."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        yield
    random.setstate(python)
    np.random.set_state(numpy)
