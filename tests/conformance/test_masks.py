"""Mask targets by all rules, mask loss, pasting."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import Arrays, close, close_boxes, make_gt

from mmdet_lite.models.losses import MaskCrossEntropyLoss
from mmdet_lite.models.roi_heads import FCNMaskHead
from mmdet_lite.models.targets import mask_target
from mmdet_lite.structures.masks import InstanceMasks
from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.pasting import paste_masks

TARGET = Arrays("mask_target")
LOSS = Arrays("mask_loss")
PASTE = Arrays("mask_paste")


def _flipped(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours.bool() != theirs.bool()).double().mean())


def _size() -> tuple[int, int]:
    height, width = TARGET["gt_masks_shape"][1:].tolist()
    return height, width


def _polygons() -> InstanceMasks:
    coords = TARGET["poly_coords"].numpy()
    offsets, owner = TARGET["poly_offsets"].tolist(), TARGET["poly_owner"].tolist()
    shapes = [[] for _ in TARGET["gt_boxes"]]
    for part, gt in enumerate(owner):
        shapes[gt].append(coords[offsets[part] : offsets[part + 1]].reshape(-1, 2))
    return InstanceMasks(shapes, _size())


def _target(masks: PackedBitmaps | list[InstanceMasks], size: int, rule: str) -> torch.Tensor:
    rois, inds = TARGET["pos_proposals"], TARGET["pos_assigned_gt_inds"]
    gt = make_gt([TARGET["gt_boxes"]], masks=masks)
    valid = torch.ones(1, len(rois), dtype=torch.bool)
    return mask_target(rois[None], inds[None], valid, gt, size, rule)[0]


@pytest.mark.parametrize(("name", "size"), [("bitmap_target", 28), ("bitmap_target_14", 14)])
def test_roi_align_rule_equals_the_reference(name, size):
    targets = _target(PackedBitmaps.pack(TARGET.masks("gt_masks")[None]), size, "roi_align")
    assert _flipped(targets, TARGET[name]) <= 0.001


def test_polygon_rule_equals_the_reference():
    targets = _target([_polygons()], int(TARGET["mask_size"]), "polygon")
    assert _flipped(targets, TARGET["polygon_target"]) <= 0.001


def test_legacy_rule_equals_the_reference():
    bitmaps = TARGET.masks("gt_masks").numpy()
    masks = InstanceMasks(list(bitmaps), bitmaps.shape[1:])
    targets = _target([masks], int(TARGET["mask_size"]), "legacy")
    assert _flipped(targets, TARGET["legacy_target"]) <= 0.001


def test_rasterised_polygons_equal_the_reference():
    bits = np.unpackbits(TARGET["poly_bitmaps"].numpy(), axis=-1)[..., : _size()[1]]
    bitmaps = _polygons().bitmaps()
    assert _flipped(torch.from_numpy(bitmaps), torch.from_numpy(bits)) <= 0.001


@pytest.mark.parametrize("agnostic", [False, True])
def test_mask_loss_equals_the_reference(agnostic):
    pred = LOSS["mask_pred"][:, :1] if agnostic else LOSS["mask_pred"]
    pred = pred.clone().requires_grad_()
    masks = LOSS.masks("gt_masks")
    gt = make_gt([torch.zeros(len(masks), 4)], masks=PackedBitmaps.pack(masks[None]))
    valid = torch.ones(1, len(pred), dtype=torch.bool)
    rois, inds = LOSS["pos_proposals"][None], LOSS["pos_assigned_gt_inds"][None]
    targets = mask_target(rois, inds, valid, gt, 28)[0]
    assert _flipped(targets, LOSS["mask_targets"]) <= 0.001
    head = FCNMaskHead(
        int(LOSS["num_classes"]), 1, MaskCrossEntropyLoss(), num_convs=0, class_agnostic=agnostic
    )
    loss = head.loss(pred, targets, LOSS["pos_gt_labels"], valid[0])["loss_mask"]
    close(loss, LOSS["loss_mask_agnostic" if agnostic else "loss_mask"])
    if not agnostic:
        loss.backward()
        close(pred.grad.abs().sum(dim=(2, 3)), LOSS["grad_mask_pred_abssum_per_roi_class"])


@pytest.mark.parametrize("tag", ["rescale", "norescale"])
def test_pasted_masks_equal_the_reference(tag):
    logits, labels = PASTE["mask_logits"], PASTE["labels"]
    head = FCNMaskHead(int(PASTE["num_classes"]), 1, MaskCrossEntropyLoss(), num_convs=0)
    theirs = PASTE.masks(f"{tag}_masks")
    boxes = PASTE["bboxes"]
    if tag == "rescale":
        boxes = boxes / PASTE["scale_factor"].float().repeat(2)
        close_boxes(boxes, PASTE["rescale_bboxes_after"])
    ours = paste_masks(
        head.predict(logits, labels),
        boxes,
        tuple(theirs.shape[1:]),
        float(PASTE["mask_thr_binary"]),
    )
    assert _flipped(ours, theirs) <= 0.001
    assert torch.equal(ours.sum(dim=(1, 2)), PASTE[f"{tag}_areas"])
