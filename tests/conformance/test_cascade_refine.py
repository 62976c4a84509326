"""Boxes between the stages of a cascade."""

from __future__ import annotations

import pytest
import torch
from reference import Arrays, close_boxes
from torch import nn

from mmdet_lite.models.coders import DeltaXYWHBBoxCoder
from mmdet_lite.models.losses import CrossEntropyLoss, L1Loss
from mmdet_lite.models.roi_heads import ConvFCBBoxHead

REF = Arrays("cascade_refine")
COUNT = 36  # samples an image


def _head(is_agnostic: bool) -> nn.Module:
    return ConvFCBBoxHead(
        num_classes=int(REF["num_classes"]),
        in_channels=1,
        fc_out_channels=1,
        bbox_coder=DeltaXYWHBBoxCoder(target_stds=[0.1, 0.1, 0.2, 0.2]),
        loss_cls=CrossEntropyLoss(),
        loss_bbox=L1Loss(),
        reg_class_agnostic=is_agnostic,
    )


@pytest.mark.parametrize("kind", ["agnostic", "class"])
def test_refined_boxes_equal_the_reference(kind):
    shapes = torch.tensor([REF.size(f"img{i}_img_shape") for i in range(2)])
    boxes = REF["rois"][:, 1:].reshape(2, COUNT, 4)
    deltas = REF[f"{kind}_bbox_pred"].unflatten(1, (-1, 4))
    labels = REF["labels"].reshape(2, COUNT)
    head = _head(kind == "agnostic")
    refined = head.refine(boxes, REF["cls_score"], deltas, labels, shapes)
    for i in range(2):
        is_gt = torch.zeros(COUNT, dtype=torch.bool)
        is_gt[: len(REF[f"img{i}_pos_is_gt"])] = REF[f"img{i}_pos_is_gt"].bool()
        close_boxes(refined[i][~is_gt], REF[f"{kind}_img{i}_refined"])
