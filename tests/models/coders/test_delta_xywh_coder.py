"""Boxes to deltas and back."""

from __future__ import annotations

import math

import pytest
import torch

from mmdet_lite.models.coders import DeltaXYWHBBoxCoder

PRIOR = torch.tensor([[0.0, 0, 10, 20]])


def _random_boxes(count: int, seed: int) -> torch.Tensor:
    points = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed)) * 100
    return torch.cat([points[:, :2], points[:, :2] + points[:, 2:] + 2], dim=1)


def test_deltas_of_known_boxes():
    boxes = torch.tensor([[0.0, 0, 10, 20], [5, 0, 15, 20], [0, -10, 20, 30]])
    expected = torch.tensor([[0, 0, 0, 0], [0.5, 0, 0, 0], [0.5, 0, math.log(2), math.log(2)]])
    torch.testing.assert_close(DeltaXYWHBBoxCoder().encode(PRIOR, boxes), expected)


def test_means_are_subtracted_and_then_stds_divide():
    coder = DeltaXYWHBBoxCoder([0.1, 0, 0, 0], [0.1, 0.1, 0.2, 0.2])
    encoded = coder.encode(PRIOR, torch.tensor([[5.0, 2, 15, 22]]))
    torch.testing.assert_close(encoded, torch.tensor([[4.0, 1, 0, 0]]))


@pytest.mark.parametrize("stds", [(1, 1, 1, 1), (0.1, 0.1, 0.2, 0.2)])
@pytest.mark.parametrize("means", [(0, 0, 0, 0), (0.05, -0.1, 0.2, 0.3)])
def test_decode_inverts_encode(means, stds):
    coder = DeltaXYWHBBoxCoder(means, stds)
    priors, boxes = _random_boxes(50, seed=0), _random_boxes(50, seed=1)
    decoded = coder.decode(priors, coder.encode(priors, boxes))
    torch.testing.assert_close(decoded, boxes, rtol=0, atol=1e-3)


def test_sides_grow_and_shrink_by_at_most_the_ratio():
    deltas = torch.tensor([[0.0, 0, 99, -99]])
    decoded = DeltaXYWHBBoxCoder(max_ratio=4).decode(PRIOR, deltas)
    torch.testing.assert_close(decoded, torch.tensor([[-15, 7.5, 25, 12.5]]))
    free = DeltaXYWHBBoxCoder(max_ratio=4, clip_shrinking=False).decode(PRIOR, deltas)
    torch.testing.assert_close(free, torch.tensor([[-15.0, 10, 25, 10]]))


def test_decoded_boxes_are_clipped_to_each_image():
    priors = torch.tensor([[[-5.0, -5, 50, 50]]]).expand(2, 1, 4)
    decoded = DeltaXYWHBBoxCoder().decode(
        priors, torch.zeros(2, 1, 4), torch.tensor([[8, 9], [60, 40]])
    )
    assert decoded.tolist() == [[[0, 0, 9, 8]], [[0, 0, 40, 50]]]


def test_one_prior_serves_the_deltas_of_every_class():
    coder = DeltaXYWHBBoxCoder(target_stds=[0.1, 0.1, 0.2, 0.2])
    priors = _random_boxes(6, seed=0).reshape(2, 3, 4)
    deltas = torch.randn(2, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    shapes = torch.tensor([[80, 90], [70, 60]])
    decoded = coder.decode(priors[:, :, None], deltas, shapes)
    assert decoded.shape == (2, 3, 5, 4)
    for k in range(5):
        assert torch.equal(decoded[:, :, k], coder.decode(priors, deltas[:, :, k], shapes))


def test_arithmetic_is_float32_for_half_input_and_under_autocast():
    coder = DeltaXYWHBBoxCoder(target_stds=[0.1, 0.1, 0.2, 0.2])
    priors, boxes = _random_boxes(9, seed=0), _random_boxes(9, seed=1)
    expected = coder.encode(priors.half().float(), boxes.half().float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        encoded = coder.encode(priors.half(), boxes.half())
        decoded = coder.decode(priors.half(), encoded.bfloat16())
    assert (encoded.dtype, decoded.dtype) == (torch.float32, torch.float32)
    assert torch.equal(encoded, expected)
    assert torch.equal(decoded, coder.decode(priors.half().float(), encoded.bfloat16().float()))


def test_gradient_reaches_the_deltas_also_where_they_are_clamped():
    deltas = torch.tensor([[0.5, 0.5, 0.1, 99]], requires_grad=True)
    DeltaXYWHBBoxCoder().decode(PRIOR, deltas).square().sum().backward()
    assert bool(torch.isfinite(deltas.grad).all())
    assert deltas.grad[0, 2] != 0
    assert deltas.grad[0, 3] == 0


def test_settings_are_not_part_of_a_checkpoint():
    assert DeltaXYWHBBoxCoder().state_dict() == {}
