"""Keys are functions of their arguments alone, and as good as random."""

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


def _box_key(image: int, box: int, stream: int) -> int:
    """The hash of a box on Python's integers, which do not wrap around by themselves."""

    def signed(x: int) -> int:
        return (x + 2**63) % 2**64 - 2**63

    x = box ^ signed(image * (2862933555777941757 + 2 * stream))
    x = signed((x ^ (x >> 32)) * 3202034522624059733)
    x = signed((x ^ (x >> 32)) * 3935559000370003845)
    return x % 2**61


def test_hash_equals_unsigned_arithmetic():
    assert [hash32(value) for value in VALUES] == _lowbias32(VALUES)


def test_hash_has_no_collisions():
    assert len({hash32(value) for value in range(1 << 17)}) == 1 << 17


def test_combined_keys_have_32_bits():
    values = [*VALUES, 2**40 + 3, 2**62, -1, -(2**40)]
    assert all(0 <= combine(hash32(value), value) < 2**32 for value in values)


def test_combine_uses_all_64_bits_of_the_value():
    assert combine(7, 5) != combine(7, 5 + (1 << 32))
    assert combine(7, 5) != combine(7, 5 + (1 << 55))


def test_image_key_depends_on_each_argument_and_its_place():
    keys = {image_key(s, i, slot) for s in range(8) for i in range(8) for slot in range(8)}
    assert len(keys) == 8**3


def test_box_keys_are_those_of_their_definition():
    """What a run draws after an update of this framework is what it drew before."""
    images = [image_key(0, 7, slot) for slot in range(3)]
    boxes = [0, 1, 3 << 48 | 5 << 8, 2**56 - 1]
    keys = box_keys(torch.tensor(images), torch.tensor(boxes), stream=2).tolist()
    assert keys == [[_box_key(image, box, 2) for box in boxes] for image in images]


def test_box_keys_are_positive_and_without_ties():
    ids = torch.arange(200_000)
    keys = box_keys(torch.tensor([image_key(0, 0, slot) for slot in range(2)]), ids, stream=1)
    assert keys.shape == (2, 200_000)
    assert int(keys.min()) >= 0
    assert int(keys.max()) < 2**61
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
    share = box_keys(images, ids, stream=1).double() / 2**61
    for row in share:
        counts = torch.histc(row, bins=10, min=0, max=1)
        assert float((counts - 2000).abs().max()) < 5 * 2000**0.5
    correlation = torch.corrcoef(share) - torch.eye(4)
    assert float(correlation.abs().max()) < 5 / 20_000**0.5


def test_each_bit_of_image_and_box_changes_the_upper_bits_half_of_the_time():
    generator = torch.Generator().manual_seed(0)
    images, ids = (torch.randint(1 << n, (4000,), generator=generator) for n in (32, 51))
    flips = [(images[:1], images[:1], ids, ids ^ (1 << bit)) for bit in range(51)]
    flips += [(images, images ^ (1 << bit), ids[:1], ids[:1]) for bit in range(32)]
    for image, other_image, box, other_box in flips:
        changed = box_keys(image, box, 1) ^ box_keys(other_image, other_box, 1)
        upper = changed.flatten()[:, None] >> torch.arange(41, 61) & 1
        assert float((upper.double().mean(dim=0) - 0.5).abs().max()) < 5 * 0.5 / 4000**0.5


def test_neighbours_are_chosen_independently():
    """Of a grid's rows, columns and anchors those with the largest keys are a random subset."""
    row, column, anchor = torch.meshgrid(
        torch.arange(60), torch.arange(80), torch.arange(3), indexing="ij"
    )
    ids = ((1 << 20) + row) * (1 << 20) + column
    ids = (ids * (1 << 8) + anchor).flatten()
    images = torch.tensor([image_key(0, iteration, 0) for iteration in range(200)])
    chosen = box_keys(images, ids, stream=1).topk(256).indices
    for coordinate, count in ((row, 60), (column, 80), (anchor, 3)):
        found = torch.bincount(coordinate.flatten()[chosen].flatten(), minlength=count).double()
        expected = found.sum() / count
        spread = float(((found - expected) ** 2 / expected).sum() - count + 1)
        assert abs(spread) < 5 * (2 * count) ** 0.5
    gaps = chosen.sort().values.diff()
    nearby = 1 - (1 - 256 / len(ids)) ** 3
    assert abs(float((gaps <= 3).double().mean()) - nearby) < 5 * (nearby / gaps.numel()) ** 0.5
