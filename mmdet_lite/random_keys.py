"""Randomness as a function of its place: stateless integer hashes instead of generators.

What a sampler draws depends on the seed, the iteration, the image's place in the global batch and
the box's own identity. It does not depend on padding, on how many processes share the batch, or on
what was drawn before. The same code runs on Python integers (in the data loader) and on int64
tensors (on the device, inside compiled regions).
"""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

Integer = TypeVar("Integer", int, Tensor)

_MASK32 = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: separates a value from its neighbours


def hash32(x: Integer) -> Integer:
    """Mix the low 32 bits of ``x``; the multipliers are those of Wellons' "lowbias32"."""
    x = x & _MASK32
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK32  # int64 wraps around; the low 32 bits stay right
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _MASK32
    return x ^ (x >> 16)


def combine(key: Integer, value: Integer) -> Integer:
    """Derive a new 32-bit key from a key and an integer of up to 64 bits."""
    key = hash32(key * _GOLDEN + (value & _MASK32))
    return hash32(key ^ ((value >> 32) & _MASK32))


def image_key(seed: int, iteration: int, slot: int) -> int:
    """The key of one image in one training step.

    Args:
        seed: the run's seed.
        iteration: index of the training step, from 0.
        slot: the image's place in the global batch of that step.
    """
    return combine(combine(combine(0, seed), iteration), slot)


def box_keys(image_keys: Tensor, box_ids: Tensor, stream: int) -> Tensor:
    """Keys by which a sampler orders the boxes of a batch; ties do not occur in practice.

    Args:
        image_keys: (B,) int64 from :func:`image_key`.
        box_ids: (A,) or (B, A) int64, each box's identity (see ``Priors.ids``).
        stream: tells apart what is drawn for different purposes in one step.

    Returns:
        (B, A) int64 in [0, 2**62).
    """
    ids = box_ids if box_ids.dim() == 2 else box_ids[None]
    high = combine(combine(image_keys, image_keys * 0 + stream)[:, None], ids)
    low = combine(high ^ _GOLDEN, ids)
    return ((high >> 1) << 31) | (low >> 1)
