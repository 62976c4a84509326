"""Randomness as a function of its place: stateless integer hashes instead of generators.

What a sampler draws depends on the seed, the iteration, the image's place in the global batch and
the box's own identity. It does not depend on padding, on how many processes share the batch, or on
what was drawn before. An image's key is made on the host, by the data loader; those of its boxes on
the device, inside compiled regions.
"""

from __future__ import annotations

from torch import Tensor

_MASK32 = 0xFFFFFFFF
_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: separates a value from its neighbours
_KEY_BITS = 61

# Multipliers with good spectra for arithmetic modulo 2**64 (L'Ecuyer 1999).
_M1, _M2, _M3 = 2862933555777941757, 3202034522624059733, 3935559000370003845


def hash32(x: int) -> int:
    """Mix the low 32 bits of ``x``; the multipliers are those of Wellons' "lowbias32"."""
    x = x & _MASK32
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & _MASK32
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & _MASK32
    return x ^ (x >> 16)


def combine(key: int, value: int) -> int:
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

    Two rounds of folding the upper half of 64 bits onto the lower and multiplying: each bit of the
    image's key and of the box's identity changes each of the upper bits, which decide the order,
    half of the time.

    Args:
        image_keys: (B,) int64 from :func:`image_key`.
        box_ids: (A,) or (B, A) int64 >= 0, each box's identity (see ``Priors.ids``).
        stream: tells apart what is drawn for different purposes in one step.

    Returns:
        (B, A) int64 in [0, 2**61).
    """
    x = box_ids ^ (image_keys * (_M1 + 2 * stream))[:, None]  # int64 wraps around
    x ^= x >> 32
    x *= _M2
    x ^= x >> 32
    x *= _M3
    return x & ((1 << _KEY_BITS) - 1)
