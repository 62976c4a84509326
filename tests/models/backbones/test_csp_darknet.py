"""CSPDarknet, the backbone of YOLOv5 and YOLOv8."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.backbones.csp_blocks import C3, SPPF, C2f
from mmdet_lite.models.backbones.csp_darknet import CSPDarknet

YOLOV5 = {"block": "C3", "base_repeats": (3, 6, 9, 3), "stem_kernel": 6}


@pytest.mark.parametrize(
    ("arguments", "widths"),
    [
        ({"depth_multiple": 0.33, "width_multiple": 0.25}, [64, 128, 256]),
        ({"depth_multiple": 0.67, "width_multiple": 0.75, "max_channels": 768}, [192, 384, 576]),
        ({"depth_multiple": 0.33, "width_multiple": 0.5, **YOLOV5}, [128, 256, 512]),
    ],
    ids=["v8n", "v8m", "v5s"],
)
def test_maps_of_strides_8_16_32(arguments, widths):
    with torch.device("meta"):
        maps = CSPDarknet(**arguments)(torch.zeros(2, 3, 64, 96))
    sizes = [(8, 12), (4, 6), (2, 3)]
    assert [feat.shape for feat in maps] == [
        (2, c, *size) for c, size in zip(widths, sizes, strict=True)
    ]


def test_depth_scales_the_repeats():
    with torch.device("meta"):
        backbone = CSPDarknet(0.67, 0.75, **YOLOV5)
    assert [len(stage.blocks) for stage in backbone.stages] == [2, 4, 6, 2]


def test_out_indices_choose_the_maps():
    with torch.device("meta"):
        maps = CSPDarknet(0.33, 0.25, out_indices=(0, 3))(torch.zeros(1, 3, 64, 64))
    assert [feat.shape[1:] for feat in maps] == [(32, 16, 16), (256, 2, 2)]


@pytest.mark.parametrize("block", [C2f, C3])
def test_blocks_use_every_parameter(block):
    module = block(16, 24, 2, shortcut=True)
    module(torch.randn(2, 16, 5, 5)).square().sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_pooling_in_a_row_sees_13_cells():
    sppf = SPPF(2).eval()
    torch.nn.init.ones_(sppf.conv1.conv.weight)
    plain, poked = torch.zeros(1, 2, 1, 21), torch.zeros(1, 2, 1, 21)
    poked[..., 10] = 1
    changed = (sppf(poked) - sppf(plain)).abs().sum((0, 1, 2)).nonzero()
    assert changed.flatten().tolist() == list(range(4, 17))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block": "C4"}, "CSPDarknet: block must be 'C2f' or 'C3', got 'C4'"),
        ({"stem_kernel": 7}, "CSPDarknet: stem_kernel must be 3 or 6, got 7"),
        ({"base_repeats": (3, 6)}, "CSPDarknet: base_repeats must be four numbers, got"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        CSPDarknet(0.33, 0.25, **arguments)
