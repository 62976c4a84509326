"""CSPPAN, the neck of YOLOv5 and YOLOv8."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.necks.csp_pan import CSPPAN

STYLES = {"v8": {}, "v5": {"block": "C3", "reduce": True}}


@pytest.mark.parametrize("style", STYLES)
def test_shapes_stay_and_every_parameter_is_used(style):
    neck = CSPPAN([16, 32, 64], 0.33, **STYLES[style])
    feats = [
        torch.randn(2, c, *size)
        for c, size in zip((16, 32, 64), [(8, 12), (4, 6), (2, 3)], strict=True)
    ]
    outs = neck(feats)
    assert [out.shape for out in outs] == [feat.shape for feat in feats]
    sum(out.square().sum() for out in outs).backward()
    assert all(p.grad is not None for p in neck.parameters())


def test_odd_maps_are_upsampled_to_the_finer_ones_size():
    with torch.device("meta"):
        feats = [torch.zeros(1, 8, 9, 7), torch.zeros(1, 16, 5, 4)]
        outs = CSPPAN([8, 16], 0.33)(feats)
    assert [out.shape for out in outs] == [feat.shape for feat in feats]


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="CSPPAN: block must be 'C2f' or 'C3', got 'C'"):
        CSPPAN([8, 16], 0.33, block="C")
    with pytest.raises(ValueError, match="CSPPAN has 2 in_channels, got 1 maps"):
        CSPPAN([8, 16], 0.33)([torch.zeros(1, 8, 4, 4)])
