"""Keys are functions of their arguments alone, the same on the host and on the device."""

from __future__ import annotations

import numpy as np
import torch

from mmdet_lite.random_keys import box_keys, combine, hash32, image_key

VALUES = [0, 1, 2, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1]


def _lowbias32(values: list[int]) -> list[int]:
    """The published hash on numpy's unsigned integers, which wrap around by themselves."""
    x = np.array(values, dtype=np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x.tolist()


def test_hash_equals_unsigned_arithmetic_on_integers_and_tensors():
    expected = _lowbias32(VALUES)
    assert [hash32(value) for value in VALUES] == expected
    assert hash32(torch.tensor(VALUES)).tolist() == expected


def test_hash_has_no_collisions():
    assert hash32(torch.arange(1 << 17)).unique().numel() == 1 << 17


def test_combine_is_the_same_on_integers_and_tensors():
    values = [*VALUES, 2**40 + 3, 2**62, -1, -(2**40)]
    keys = [hash32(value) for value in range(len(values))]
    on_tensors = combine(torch.tensor(keys), torch.tensor(values)).tolist()
    assert on_tensors == [combine(k, v) for k, v in zip(keys, values, strict=True)]
    assert all(0 <= key < 2**32 for key in on_tensors)


def test_combine_uses_all_64_bits_of_the_value():
    assert combine(7, 5) != combine(7, 5 + (1 << 32))
    assert combine(7, 5) != combine(7, 5 + (1 << 55))


def test_image_key_depends_on_each_argument_and_its_place():
    keys = {image_key(s, i, slot) for s in range(8) for i in range(8) for slot in range(8)}
    assert len(keys) == 8**3


def test_box_keys_are_positive_and_without_ties():
    ids = torch.arange(200_000)
    keys = box_keys(torch.tensor([image_key(0, 0, slot) for slot in range(2)]), ids, stream=1)
    assert keys.shape == (2, 200_000)
    assert int(keys.min()) >= 0
    assert int(keys.max()) < 2**62
    assert keys.unique().numel() == 400_000


def test_box_key_depends_on_image_and_box_only():
    images = torch.tensor([image_key(3, 8, slot) for slot in range(3)])
    ids = torch.tensor([5, 1 << 40, 9, 77])
    keys = box_keys(images, ids, stream=1)
    assert torch.equal(box_keys(images[[2, 0]], ids[[3, 1]], 1), keys[[2, 0]][:, [3, 1]])
    assert torch.equal(box_keys(images, ids.expand(3, -1), 1), keys)
    assert not torch.eq(box_keys(images, ids, stream=2), keys).any()


def test_box_keys_are_uniform_and_uncorrelated_between_iterations():
    ids = torch.arange(20_000)
    images = torch.tensor([image_key(0, iteration, 0) for iteration in range(4)])
    share = box_keys(images, ids, stream=1).double() / 2**62
    for row in share:
        counts = torch.histc(row, bins=10, min=0, max=1)
        assert float((counts - 2000).abs().max()) < 5 * 2000**0.5
    correlation = torch.corrcoef(share) - torch.eye(4)
    assert float(correlation.abs().max()) < 5 / 20_000**0.5
