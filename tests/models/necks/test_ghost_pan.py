"""GhostPAN: shapes, also where a map's side is odd."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.necks import GhostPAN


def _maps(height: int, width: int) -> list[torch.Tensor]:
    sizes = [(-(-height // s), -(-width // s)) for s in (8, 16, 32)]
    return [torch.rand(2, c, *size) for c, size in zip((4, 6, 8), sizes, strict=True)]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 128), [(8, 16), (4, 8), (2, 4), (1, 2)]),
        ((96, 136), [(12, 17), (6, 9), (3, 5), (2, 3)]),  # 17, 9, 5 and 3 are odd
    ],
)
def test_one_map_more_all_of_equal_width(size, expected):
    outs = GhostPAN([4, 6, 8], 8)(_maps(*size))
    assert [tuple(out.shape) for out in outs] == [(2, 8, *side) for side in expected]


def test_every_output_sees_every_input():
    neck = GhostPAN([4, 6, 8], 8).eval()
    maps = [m.requires_grad_() for m in _maps(64, 64)]
    for out in neck(maps):
        grads = torch.autograd.grad(out.sum(), maps, retain_graph=True)
        assert all(grad.abs().sum() > 0 for grad in grads)


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="GhostPAN: out_channels must be even, got 7"):
        GhostPAN([4, 6, 8], 7)
    with pytest.raises(ValueError, match="GhostPAN has 3 in_channels, got 2 maps"):
        GhostPAN([4, 6, 8], 8)(_maps(64, 64)[:2])
