"""ImageNet weights of ResNets by other programs' names.

Run with: pytest tests/compat/test_resnets.py
"""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.apis.convert import convert_content
from mmdet_lite.models.backbones import ResNet

PARTS = {"1": "branch2a", "2": "branch2b", "3": "branch2c"}


def resnet(seed: int = 0) -> ResNet:
    torch.manual_seed(seed)
    model = ResNet(depth=50, base_channels=4, style="caffe").eval()
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.fill_(1 - 1e-5)  # with the norms' epsilon 1: scale and shift are all they do
    return model


def as_caffe2(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """R-50.pkl's names; statistics are part of scale and shift there."""
    blobs = {"fc1000_w": torch.zeros(2), "fc1000_b": torch.zeros(2), "conv1_b": torch.zeros(4)}
    for name, value in state.items():
        stem, _, kind = name.rpartition(".")
        suffix = {"weight": "s", "bias": "b"}.get(kind)
        if stem == "conv1":
            blobs["conv1_w"] = value
        elif stem == "bn1" and suffix:
            blobs[f"res_conv1_bn_{suffix}"] = value
        elif suffix and "downsample" in stem:
            layer, block, _, place = stem.split(".")
            end = "w" if place == "0" else f"bn_{suffix}"
            blobs[f"res{int(layer[-1]) + 1}_{block}_branch1_{end}"] = value
        elif suffix:
            layer, block, part = stem.split(".")
            end = "w" if part.startswith("conv") else f"bn_{suffix}"
            blobs[f"res{int(layer[-1]) + 1}_{block}_{PARTS[part[-1]]}_{end}"] = value
    return blobs


def check(content: dict, kind_of_source: str) -> None:
    converted = convert_content(content, "file")
    assert kind_of_source in converted.source
    ours = resnet(seed=1)
    ours.load_state_dict(converted.weights, strict=True)
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for found, expected in zip(ours(x), resnet()(x), strict=True):
            assert torch.equal(found, expected)


def test_names_of_caffe2():
    check(as_caffe2(resnet().state_dict()), "Caffe2")
    assert "res2_0_branch2a_bn_s" in as_caffe2(resnet().state_dict())


def test_blobs_of_a_detectron_file():
    blobs = as_caffe2(resnet().state_dict()) | {"conv1_w_momentum": torch.zeros(1)}
    check({"blobs": blobs, "cfg": "text"}, "Caffe2")


@pytest.mark.parametrize("wrapped", [True, False])
def test_names_of_torchvision(wrapped):
    state = resnet().state_dict() | {"fc.weight": torch.zeros(2), "fc.bias": torch.zeros(2)}
    state = {n: v for n, v in state.items() if "num_batches" not in n}
    check({"state_dict": state} if wrapped else state, "torchvision's names")


def test_another_network_is_named():
    state = resnet().state_dict() | {"layer1.0.se.weight": torch.zeros(1), "stem.x": torch.zeros(1)}
    with pytest.raises(
        ValueError, match="1 parameters are not those of torchvision's ResNet: stem"
    ):
        convert_content(state, "file")
