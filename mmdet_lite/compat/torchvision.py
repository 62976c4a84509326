"""Weights of torchvision's Faster and Mask R-CNN, under our names and in our class order."""

from __future__ import annotations

import torch
from torch import Tensor

_PREFIXES = {
    "backbone.body.": "backbone.",
    "rpn.head.conv.0.0.": "rpn_head.rpn_conv.",
    "rpn.head.cls_logits.": "rpn_head.rpn_cls.",
    "rpn.head.bbox_pred.": "rpn_head.rpn_reg.",
    "roi_heads.box_head.fc6.": "roi_head.bbox_head.shared_fcs.0.",
    "roi_heads.box_head.fc7.": "roi_head.bbox_head.shared_fcs.1.",
    "roi_heads.box_predictor.cls_score.": "roi_head.bbox_head.fc_cls.",
    "roi_heads.box_predictor.bbox_pred.": "roi_head.bbox_head.fc_reg.",
    "roi_heads.mask_predictor.conv5_mask.": "roi_head.mask_head.upsample.",
    "roi_heads.mask_predictor.mask_fcn_logits.": "roi_head.mask_head.conv_logits.",
}


def convert_torchvision_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename parameters; move the background from the first class to the last.

    Args:
        state: state dict of ``fasterrcnn_resnet50_fpn`` or ``maskrcnn_resnet50_fpn``.

    Returns:
        A state dict for the models of ``configs/torchvision/``.

    Raises:
        KeyError: a parameter is not one of those detectors'.
    """
    converted = {}
    for name, value in state.items():
        ours = _rename(name)
        if ".fc_cls." in ours:
            value = torch.cat([value[1:], value[:1]])
        elif ".fc_reg." in ours:
            value = value[4:]  # boxes of the background are never used
        elif ".conv_logits." in ours:
            value = value[1:]
        converted[ours] = value
    return converted


def _rename(name: str) -> str:
    for theirs, ours in _PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    parts = name.split(".")
    if name.startswith("backbone.fpn.inner_blocks."):
        return f"neck.lateral_convs.{parts[3]}.conv.{parts[-1]}"
    if name.startswith("backbone.fpn.layer_blocks."):
        return f"neck.fpn_convs.{parts[3]}.conv.{parts[-1]}"
    if name.startswith("roi_heads.mask_head."):
        return f"roi_head.mask_head.convs.{parts[2]}.conv.{parts[-1]}"
    raise KeyError(
        f"{name!r} is not a parameter of torchvision's fasterrcnn_resnet50_fpn or "
        "maskrcnn_resnet50_fpn"
    )
