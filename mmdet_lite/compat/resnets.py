"""ImageNet weights of ResNets, by torchvision's, detectron2's or Caffe2's names.

torchvision's names are ours. Caffe2's (``R-50.pkl`` of Detectron and detectron2) are

    conv1_w, res_conv1_bn_s, res_conv1_bn_b           conv1.weight, bn1.weight, bn1.bias
    res2_0_branch2a_w, res2_0_branch2a_bn_s           layer1.0.conv1.weight, layer1.0.bn1.weight
    res2_0_branch1_w, res2_0_branch1_bn_s             layer1.0.downsample.0.weight, ....1.weight
    fc1000_w, pred_w, conv1_b                         left out: the classifier, an unused bias

with the statistics of the batch norms already part of scale (s) and shift (b).
"""

from __future__ import annotations

import re
from collections.abc import Collection

from torch import Tensor

from mmdet_lite.compat.converted import Converted, add_batch_counts, require_tensors, unknown_names
from mmdet_lite.compat.detectron2 import convert_detectron2_resnet, is_detectron2_resnet

_CLASSIFIER = ("fc.", "head.")
_PARTS = {"w": "weight", "bn_s": "norm.weight", "bn_b": "norm.bias"}
_BRANCHES = {"branch1": "shortcut", "branch2a": "conv1", "branch2b": "conv2", "branch2c": "conv3"}
_CAFFE_IMAGES = (
    "Images are BGR with mean 103.53, 116.28, 123.675 and standard deviation 1: "
    "model.normalizer as in configs/detectron2/, and model.backbone.style='caffe', for weights of "
    "MSRA and Detectron"
)


def is_resnet(names: Collection[str]) -> bool:
    """Whether parameters are those of a ResNet without a detector."""
    return (
        _is_caffe2(names)
        or is_detectron2_resnet(names)
        or ("conv1.weight" in names and any(n.startswith("layer1.0.") for n in names))
    )


def _is_caffe2(names: Collection[str]) -> bool:
    return "conv1_w" in names and "res2_0_branch2a_w" in names


def convert_resnet(content: dict) -> Converted:
    """The weights of a backbone, for ``model.backbone.pretrained``.

    Args:
        content: a state dict, or a checkpoint with one as ``model``, ``state_dict`` or ``blobs``.

    Raises:
        ValueError: a parameter is not a ResNet's.
    """
    found = next((content[k] for k in ("model", "state_dict", "blobs") if k in content), content)
    if _is_caffe2(found):
        # blobs of a Detectron file also hold what is no tensor, and momenta of its training
        named = {_caffe2_name(name): v for name, v in found.items() if _belongs(name)}
        weights, source = convert_detectron2_resnet(require_tensors(named, "it")), "Caffe2's ResNet"
    else:
        state = require_tensors(found, "the checkpoint")
        state = {name.removeprefix("module."): value for name, value in state.items()}
        if is_detectron2_resnet(state):
            weights, source = convert_detectron2_resnet(state), "detectron2's ResNet"
        else:
            return _own_names(state)
    return Converted(
        weights=weights,
        source=source,
        notes=["Name the file in model.backbone.pretrained", _CAFFE_IMAGES],
    )


def _own_names(state: dict[str, Tensor]) -> Converted:
    state = {name: v for name, v in state.items() if not name.startswith(_CLASSIFIER)}
    lost = [n for n in state if not re.match(r"(conv1|bn1|layer[1-4]\.\d+)\.", n)]
    if lost:
        raise unknown_names(lost, "torchvision's ResNet")
    notes = [
        "Name the file in model.backbone.pretrained",
        "torchvision's weights belong to the normaliser of configs/_base_/ and style='pytorch'",
    ]
    return Converted(add_batch_counts(state), "a ResNet by torchvision's names", notes=notes)


def _belongs(name: str) -> bool:
    # conv1_b is in R-50.pkl without a use: the batch norm that follows has a shift of its own
    unused = ("fc", "pred", "conv1_b")
    return isinstance(name, str) and not name.startswith(unused) and "momentum" not in name


def _caffe2_name(name: str) -> str:
    """detectron2's name for Caffe2's."""
    if found := re.fullmatch(r"(?:res_)?conv1_(w|bn_s|bn_b)", name):
        return f"stem.conv1.{_PARTS[found[1]]}"
    if found := re.fullmatch(r"res(\d)_(\d+)_(branch\w+?)_(w|bn_s|bn_b)", name):
        stage, block, branch, part = found.groups()
        if branch in _BRANCHES:
            return f"res{stage}.{block}.{_BRANCHES[branch]}.{_PARTS[part]}"
    return name
