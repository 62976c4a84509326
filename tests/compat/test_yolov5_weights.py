"""YOLOv5's weights by the original's names: renamed, fused or not, they compute the same."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.convert import convert_content

# Parameters of each layer of YOLOv5 n, as its summary prints them.
PUBLISHED = {
    **{0: 1760, 1: 4672, 2: 4800, 3: 18560, 4: 29184, 5: 73984, 6: 156928, 7: 295424, 8: 296448},
    **{9: 164608, 10: 33024, 13: 90880, 14: 8320, 17: 22912, 18: 36992, 20: 74496, 21: 147712},
    **{23: 296448, 24: 115005},
}
PLACES = {
    "backbone.stem": 0,
    **{f"backbone.downsamples.{i}": 2 * i + 1 for i in range(4)},
    **{f"backbone.stages.{i}": 2 * i + 2 for i in range(4)},
    "backbone.sppf": 9,
    **{"neck.reduce_convs.1": 10, "neck.top_down_blocks.1": 13},
    **{"neck.reduce_convs.0": 14, "neck.top_down_blocks.0": 17},
    **{"neck.downsamples.0": 18, "neck.bottom_up_blocks.0": 20},
    **{"neck.downsamples.1": 21, "neck.bottom_up_blocks.1": 23},
    "bbox_head": 24,
}
INSIDE = [
    (r"blocks\.(\d)\.conv(\d)\.", r"m.\1.cv\2."),
    (r"^conv(\d)\.", r"cv\1."),
    (r"^convs\.", "m."),
]
STRIDES = torch.tensor([8.0, 16, 32])[:, None, None]


def yolov5n(num_classes: int = 80) -> nn.Module:
    torch.manual_seed(0)
    options = {"model.bbox_head.num_classes": num_classes}
    model = build_model(load_config("yolov5/yolov5_n_640_coco.py", options)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model


def place_of(name: str) -> str:
    return next(module for module in PLACES if name.startswith(f"{module}."))


def as_original(model: nn.Module, prefix: str = "model.") -> dict[str, torch.Tensor]:
    state = {f"{prefix}24.anchors": model.bbox_head.sizes / STRIDES}
    for name, value in model.state_dict().items():
        if name == "bbox_head.obj_balance":
            continue  # which is no weight there
        module = place_of(name)
        rest = name.removeprefix(f"{module}.")
        for ours, theirs in INSIDE:
            rest = re.sub(ours, theirs, rest)
        state[f"{prefix}{PLACES[module]}.{rest}"] = value
    return state


def fuse(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every convolution takes its norm in."""
    fused = dict(state)
    for name in [name for name in state if name.endswith(".conv.weight")]:
        stem, weight = name.removesuffix("conv.weight"), state[name]
        conv = nn.Conv2d(weight.shape[1], len(weight), weight.shape[2:], bias=False)
        norm = nn.BatchNorm2d(len(weight), eps=1e-3)
        conv.weight.data = weight
        norm.load_state_dict({k: fused.pop(f"{stem}bn.{k}") for k in norm.state_dict()})
        both = fuse_conv_bn_eval(conv.eval(), norm.eval())
        fused |= {name: both.weight.data, f"{stem}conv.bias": both.bias.data}
    return fused


def outputs(model: nn.Module) -> torch.Tensor:
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return model.bbox_head(model.neck(model.backbone(image))).raw


@pytest.mark.parametrize("prefix", ["model.", "model.model."])
def test_every_parameter_is_renamed(prefix):
    model = yolov5n()
    converted = convert_content(as_original(model, prefix), "file")
    own = model.state_dict()
    assert converted.weights.keys() == own.keys()
    assert all(torch.equal(value, own[name]) for name, value in converted.weights.items())
    assert converted.config == "configs/yolov5/yolov5_n_640_coco.py"
    assert converted.options == {} and len(converted.classes) == 80


def test_layers_are_as_large_as_the_original_says():
    sizes = dict.fromkeys(PUBLISHED, 0)
    for name, value in yolov5n().named_parameters():
        sizes[PLACES[place_of(name)]] += value.numel()
    assert sizes == PUBLISHED


@pytest.mark.parametrize(
    ("size", "published"), [("n", 1_867_405), ("s", 7_225_885), ("m", 21_172_173)]
)
def test_models_are_as_large_as_published(size, published):
    """The numbers are of fused convolutions: a bias in the place of a norm's two vectors."""
    with torch.device("meta"):
        model = build_model(load_config(f"yolov5/yolov5_{size}_640_coco.py"))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    count = sum(p.numel() for p in model.parameters()) - sum(n.num_features for n in norms)
    assert count == published


def test_fused_convolutions_compute_the_same():
    model = yolov5n(num_classes=3)
    converted = convert_content({"model": fuse(as_original(model))}, "file")
    assert converted.options == {"model.bbox_head.num_classes": 3} and converted.classes is None
    other = yolov5n(num_classes=3)
    other.load_state_dict(converted.weights)
    torch.testing.assert_close(outputs(other), outputs(model), rtol=1e-4, atol=1e-4)


def test_other_anchors_become_an_option():
    model = yolov5n()
    state = as_original(model)
    state["model.24.anchors"] = state["model.24.anchors"] + 1 / STRIDES
    state["model.24.anchor_grid"] = torch.zeros(3, 1, 3, 1, 1, 2)
    converted = convert_content(state, "file")
    load_config(converted.config, converted.options)
    sizes = converted.options["model.bbox_head.prior_generator.base_sizes"]
    assert sizes[0] == [(11, 14), (17, 31), (34, 24)] and sizes[2][2] == (374, 327)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.25.conv.weight": torch.zeros(1)}, "'model.25.conv.weight' is not a parameter of"),
        ({"model.0.conv.weight": torch.zeros(64, 3, 6, 6)}, "has 64 channels; there are configs"),
        ({"model.24.anchors": torch.zeros(4, 3, 2)}, "its anchors are"),
    ],
)
def test_other_networks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        convert_content(as_original(yolov5n(num_classes=1)) | change, "file")
