"""ShuffleNetV2: torchvision's layers, with another activation where that is wanted."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torchvision.models import shufflenet_v2_x0_5

from mmdet_lite.models.backbones import ShuffleNetV2

LEAKY = {"type": "LeakyReLU", "negative_slope": 0.1}


@pytest.mark.parametrize(
    ("width", "channels"),
    [(0.5, (48, 96, 192)), (1.0, (116, 232, 464)), (1.5, (176, 352, 704)), (2.0, (244, 488, 976))],
)
def test_maps_have_the_strides_and_channels_of_the_paper(width, channels):
    maps = ShuffleNetV2(width)(torch.rand(1, 3, 64, 96))
    sizes = [(8, 12), (4, 6), (2, 3)]
    assert [tuple(m.shape[2:]) for m in maps] == sizes
    assert tuple(m.shape[1] for m in maps) == channels


def test_only_the_chosen_maps_are_made():
    model = ShuffleNetV2(0.5, out_indices=[0, 1])
    assert [m.shape[1] for m in model(torch.rand(1, 3, 64, 64))] == [48, 96]
    assert not any(name.startswith("stage4.") for name in model.state_dict())


def test_weights_of_torchvision_give_its_features(tmp_path, caplog):
    theirs = shufflenet_v2_x0_5(weights=None).eval()
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    model = ShuffleNetV2(0.5, pretrained=str(tmp_path / "weights.pth")).eval()
    with caplog.at_level(logging.WARNING, logger="mmdet_lite"):
        model.init_weights()
    assert not caplog.records  # the classifier and the layer before it are left out silently
    x = torch.rand(1, 3, 64, 64)
    c5 = theirs.stage4(theirs.stage3(theirs.stage2(theirs.maxpool(theirs.conv1(x)))))
    assert torch.equal(model(x)[-1], c5)


def test_activation_is_replaced_everywhere():
    modules = list(ShuffleNetV2(0.5, act_cfg=LEAKY).modules())
    assert not any(isinstance(module, nn.ReLU) for module in modules)
    assert {m.negative_slope for m in modules if isinstance(m, nn.LeakyReLU)} == {0.1}


def test_unknown_width_is_told():
    with pytest.raises(ValueError, match="ShuffleNetV2: width must be 0.5, 1.0, .* got 0.75"):
        ShuffleNetV2(0.75)
