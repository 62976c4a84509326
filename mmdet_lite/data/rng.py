"""Randomness on the host: every generator is made from its place, never from what came before."""

from __future__ import annotations

import numpy as np

AUGMENTATION, ORDER, PICTURE = range(3)  # streams: draws for different purposes are independent


def generator(stream: int, *place: int) -> np.random.Generator:
    """The generator of one sample, epoch or picture; the same on every machine and process.

    Args:
        stream: what is drawn: AUGMENTATION, ORDER or PICTURE.
        *place: non-negative integers, as many for every use of a stream: the seed and what
            it is about, ``(seed, epoch, index)`` for example.
    """
    sequence = np.random.SeedSequence(place, spawn_key=(stream,))
    return np.random.Generator(np.random.Philox(sequence))
