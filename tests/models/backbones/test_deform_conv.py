"""Deformable convolutions where what they sample can be told."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.backbones import ResNet
from mmdet_lite.models.backbones.deform_conv import DeformConv2d, build_deform_conv


def _conv(**settings) -> DeformConv2d:
    torch.manual_seed(0)
    return DeformConv2d(4, 6, 3, padding=1, **settings)


def _image() -> torch.Tensor:
    return torch.randn(2, 4, 9, 9, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("groups", [1, 2])
def test_it_begins_as_a_convolution_of_half_the_weight(groups):
    conv = _conv(groups=groups)
    plain = torch.nn.functional.conv2d(_image(), conv.weight, padding=1, groups=groups)
    torch.testing.assert_close(conv(_image()), plain / 2)  # the weight of a point is sigmoid(0)
    version1 = _conv(groups=groups, modulated=False)
    torch.testing.assert_close(version1(_image()), plain)


def test_offsets_move_the_sampling_points_vertical_first():
    conv = _conv(modulated=False)
    with torch.no_grad():
        conv.conv_offset.bias[0::2] = 1  # one row down
    down = torch.nn.functional.conv2d(_image(), conv.weight, padding=1)
    torch.testing.assert_close(conv(_image())[..., 1:7, :], down[..., 2:8, :])


def test_parameters_have_mmcvs_names_and_sizes():
    shapes = {name: tuple(p.shape) for name, p in _conv(deform_groups=2).named_parameters()}
    assert shapes == {
        "weight": (6, 4, 3, 3),
        "conv_offset.weight": (54, 4, 3, 3),
        "conv_offset.bias": (54,),
    }
    assert len(_conv(modulated=False).conv_offset.bias) == 18


def test_it_learns_its_offsets():
    conv = _conv()
    conv(_image()).square().sum().backward()
    assert conv.conv_offset.weight.grad.abs().sum() > 0


def test_an_unknown_kind_is_told():
    with pytest.raises(ValueError, match="type must be 'DCN' or 'DCNv2', got 'DCNv3'"):
        build_deform_conv({"type": "DCNv3"}, 4, 4, 3)


def test_a_backbone_has_them_where_it_should():
    with torch.device("meta"):
        model = ResNet(50, base_channels=8, dcn_cfg={"type": "DCNv2"}, dcn_stages=(1, 3))
    stages = {
        name.split(".")[0] for name, m in model.named_modules() if isinstance(m, DeformConv2d)
    }
    assert stages == {"layer2", "layer4"}
