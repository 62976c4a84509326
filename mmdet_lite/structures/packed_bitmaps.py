"""Bitmaps of a batch, eight pixels a byte.

500 objects at 800 x 1344 are 538 MB a byte a pixel. Letters: B images, G padded ground truths,
H, W padded size of the images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmdet_lite.structures.masks import InstanceMasks


@dataclass
class PackedBitmaps:
    """Masks as bits, which are unpacked a few at a time.

    Attributes:
        bits: (..., H, ceil(W / 8)) uint8; the first pixel of eight is the highest bit, as in
            ``numpy.packbits``. Bits beyond the width are 0.
        width: W, pixels.
    """

    bits: Tensor
    width: int

    @classmethod
    def pack(cls, bitmaps: Tensor) -> PackedBitmaps:
        """Of bitmaps (..., H, W) in {0, 1}, on their device."""
        width = bitmaps.shape[-1]
        padded = torch.nn.functional.pad(bitmaps.to(torch.uint8), (0, -width % 8))
        shifted = padded.unflatten(-1, (-1, 8)) << _shifts(padded)
        return cls(shifted.sum(-1, dtype=torch.uint8), width)

    def __getitem__(self, index: int | slice) -> PackedBitmaps:
        """Of some images of the batch, or of some objects of an image."""
        return PackedBitmaps(self.bits[index], self.width)

    def __len__(self) -> int:
        return len(self.bits)

    @property
    def shape(self) -> torch.Size:
        """Of the bitmaps: (..., H, W)."""
        return torch.Size((*self.bits.shape[:-1], self.width))

    def unpack(self) -> Tensor:
        """The bitmaps, (..., H, W) uint8 in {0, 1}."""
        pixels = (self.bits[..., None] >> _shifts(self.bits)) & 1
        return pixels.flatten(-2)[..., : self.width]


def _shifts(like: Tensor) -> Tensor:
    return torch.arange(7, -1, -1, dtype=torch.uint8, device=like.device)


# What the loader makes of the masks of a batch: bits; or, for target rules that run on the host, an
# :class:`InstanceMasks` an image, in the order of the valid rows.
BatchMasks = PackedBitmaps | list[InstanceMasks]
