"""Boxes whose corners are both pixels inside, to deltas and back."""

from __future__ import annotations

import math

import torch

from mmdet_lite.models.coders import InclusiveDeltaXYWHCoder

PRIOR = torch.tensor([[[0.0, 0, 9, 19]]])  # 10 x 20 pixels


def test_sizes_count_both_corners():
    boxes = torch.tensor([[[0.0, 0, 9, 19], [5, 0, 14, 19], [-5, -10, 14, 29]]])
    expected = torch.tensor([[[0, 0, 0, 0], [0.5, 0, 0, 0], [0, 0, math.log(2), math.log(2)]]])
    torch.testing.assert_close(InclusiveDeltaXYWHCoder().encode(PRIOR, boxes), expected)


def test_boxes_have_at_least_one_pixel():
    encoded = InclusiveDeltaXYWHCoder().encode(PRIOR, torch.tensor([[[4.0, 4, 1, 4]]]))
    torch.testing.assert_close(encoded[0, 0, 2:], torch.tensor([0.1, 0.05]).log())


def test_decode_inverts_encode():
    corners = torch.rand(1, 50, 4, generator=torch.Generator().manual_seed(0)) * 90
    boxes = torch.cat([corners[..., :2], corners[..., :2] + corners[..., 2:]], dim=-1)
    coder = InclusiveDeltaXYWHCoder(target_stds=(0.1, 0.1, 0.2, 0.2))
    decoded = coder.decode(PRIOR, coder.encode(PRIOR.double(), boxes))
    torch.testing.assert_close(decoded, boxes, rtol=0, atol=1e-3)


def test_what_is_smaller_than_a_pixel_becomes_its_centre():
    decoded = InclusiveDeltaXYWHCoder().decode(PRIOR, torch.tensor([[[0.0, 0, -3, 0]]]))
    torch.testing.assert_close(decoded, torch.tensor([[[4.5, 0, 4.5, 19]]]))


def test_it_clips_to_the_last_pixel():
    decoded = InclusiveDeltaXYWHCoder().decode(
        PRIOR, torch.tensor([[[0.5, 0.5, 1, 1]]]), torch.tensor([[12, 8]])
    )
    assert decoded.tolist() == [[[0, 0, 7, 11]]]
