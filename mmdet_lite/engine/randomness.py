"""The global random generators: seeding them, and taking their states into a checkpoint.

mmdet_lite itself draws from (seed, place) and needs no generator (see ``random_keys``); these
serve the initialisation of weights and whatever users add.
"""

from __future__ import annotations

import os
import random

import numpy as np
import torch


def seed_everything(seed: int, deterministic: bool = False) -> None:
    """Seed the generators of Python, NumPy and torch (all devices).

    Args:
        seed: any non-negative integer.
        deterministic: also restrict torch to deterministic algorithms.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    if deterministic:
        use_deterministic_algorithms()


def use_deterministic_algorithms() -> None:
    """Let torch raise an error, naming the operation, instead of computing it unrepeatably."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for this
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True)


def random_state() -> dict:
    """The states of the global generators, CUDA's current device included, as plain values."""
    version, words, gauss = random.getstate()
    _, keys, position, has_gauss, cached_gauss = np.random.get_state()
    return {
        "python": [version, list(words), gauss],
        "numpy": [torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached_gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_initialized() else None,
    }


def load_random_state(state: dict) -> None:
    """Set the generators to what :func:`random_state` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    keys, position, has_gauss, cached_gauss = state["numpy"]
    np.random.set_state(
        ("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, cached_gauss)
    )
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
