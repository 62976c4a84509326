"""Weights by the original's names: renamed, fused or not, they compute the same.

Run with: pytest tests/compat/test_yolo.py
"""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.convert import convert_content

# Parameters of each layer of YOLOv8 n, as its summary prints them; the head's 16 bins are not ours.
PUBLISHED = {
    **{0: 464, 1: 4672, 2: 7360, 3: 18560, 4: 49664, 5: 73984, 6: 197632, 7: 295424, 8: 460288},
    **{9: 164608, 12: 148224, 15: 37248, 16: 36992, 18: 123648, 19: 147712, 21: 493056},
    22: 897664 - 16,
}
PLACES = {
    "backbone.stem": 0,
    **{f"backbone.downsamples.{i}": 2 * i + 1 for i in range(4)},
    **{f"backbone.stages.{i}": 2 * i + 2 for i in range(4)},
    "backbone.sppf": 9,
    **{"neck.top_down_blocks.1": 12, "neck.top_down_blocks.0": 15},
    **{"neck.downsamples.0": 16, "neck.bottom_up_blocks.0": 18},
    **{"neck.downsamples.1": 19, "neck.bottom_up_blocks.1": 21},
    "bbox_head": 22,
}
INSIDE = [
    (r"blocks\.(\d)\.conv(\d)\.", r"m.\1.cv\2."),
    (r"^conv(\d)\.", r"cv\1."),
    (r"reg_branches\.", "cv2."),
    (r"cls_branches\.", "cv3."),
]


def yolov8n(num_classes: int = 80) -> nn.Module:
    torch.manual_seed(0)
    options = {"model.bbox_head.num_classes": num_classes}
    model = build_model(load_config("yolov8/yolov8_n_640_coco.py", options)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return model


def as_original(model: nn.Module, prefix: str = "model.") -> dict[str, torch.Tensor]:
    state = {f"{prefix}22.dfl.conv.weight": torch.arange(16.0).reshape(1, 16, 1, 1)}
    for name, value in model.state_dict().items():
        module = next(m for m in PLACES if name.startswith(f"{m}."))
        rest = name.removeprefix(f"{module}.")
        for ours, theirs in INSIDE:
            rest = re.sub(ours, theirs, rest)
        state[f"{prefix}{PLACES[module]}.{rest}"] = value
    return state


def fuse(model: nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every second convolution takes its norm in."""
    fused = {name: value.clone() for name, value in state.items()}
    convs = [name for name in state if name.endswith(".conv.weight") and ".dfl." not in name]
    for name in convs[::2]:
        stem = name.removesuffix("conv.weight")
        weight = state[name]
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
        out = model.bbox_head(model.neck(model.backbone(image)))
    return torch.cat([out.logits, out.bins], dim=2)


@pytest.mark.parametrize("prefix", ["model.", "model.model."])
def test_every_parameter_is_renamed(prefix):
    model = yolov8n()
    converted = convert_content(as_original(model, prefix), "file")
    own = model.state_dict()
    assert converted.weights.keys() == own.keys()
    assert all(torch.equal(value, own[name]) for name, value in converted.weights.items())
    assert converted.config == "configs/yolov8/yolov8_n_640_coco.py"
    assert converted.classes[0] == "person" and len(converted.classes) == 80


def test_layers_are_as_large_as_the_original_says():
    sizes = dict.fromkeys(PUBLISHED, 0)
    for name, value in yolov8n().named_parameters():
        sizes[PLACES[next(m for m in PLACES if name.startswith(f"{m}."))]] += value.numel()
    assert sizes == PUBLISHED


def test_fused_convolutions_compute_the_same():
    model = yolov8n(num_classes=3)
    fused = fuse(model, as_original(model))
    assert sum(name.endswith("conv.bias") for name in fused) == 29
    converted = convert_content({"model": fused}, "file")
    assert converted.options == {"model.bbox_head.num_classes": 3} and converted.classes is None
    other = yolov8n(num_classes=3)
    other.load_state_dict(converted.weights)
    torch.testing.assert_close(outputs(other), outputs(model), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.22.dfl.conv.weight": torch.zeros(1, 16, 1, 1)}, "must hold 0, 1, 2"),
        ({"model.10.conv.weight": torch.zeros(1)}, "'model.10.conv.weight' is not a parameter of"),
        ({"model.0.conv.weight": torch.zeros(64, 3, 3, 3)}, "has 64 channels; there are configs"),
    ],
)
def test_other_networks_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        convert_content(as_original(yolov8n(num_classes=1)) | change, "file")
