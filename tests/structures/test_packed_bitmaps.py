"""Bits are the bitmaps that they were made of."""

import numpy as np
import pytest
import torch

from mmdet_lite.structures.packed_bitmaps import PackedBitmaps


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, 101])
def test_bitmaps_come_back_and_lie_as_numpy_packs_them(width):
    bitmaps = torch.rand(2, 3, 5, width, generator=torch.Generator().manual_seed(0)) > 0.5
    packed = PackedBitmaps.pack(bitmaps)
    np.testing.assert_array_equal(packed.bits.numpy(), np.packbits(bitmaps.numpy(), axis=-1))
    assert packed.bits.numel() == 2 * 3 * 5 * -(-width // 8)
    assert packed.shape == bitmaps.shape
    assert torch.equal(packed.unpack(), bitmaps.to(torch.uint8))


def test_parts_are_unpacked_alone():
    bitmaps = torch.rand(2, 5, 4, 20, generator=torch.Generator().manual_seed(1)) > 0.5
    of_image = PackedBitmaps.pack(bitmaps)[1]
    assert len(of_image) == 5 and of_image.shape == (5, 4, 20)
    assert torch.equal(of_image[3:9].unpack(), bitmaps[1, 3:].to(torch.uint8))
