"""Moving batches: every tensor is changed, everything else stays."""

from __future__ import annotations

import torch

from mmdet_lite.structures.masks import InstanceMasks
from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.samples import (
    Batch,
    Detections,
    GroundTruth,
    ImageMeta,
    map_tensors,
    to_device,
)


def _batch(masks) -> Batch:
    zeros = torch.zeros(1, 1, 4)
    valid = torch.ones(1, 1, dtype=torch.bool)
    gt = GroundTruth(zeros, torch.zeros(1, 1).long(), valid, zeros, valid, masks)
    shapes = torch.tensor([[8, 8]])
    meta = ImageMeta(5, "five.jpg", 0, 0, (8, 8), (8, 8))
    return Batch(torch.zeros(1, 3, 8, 8), shapes, shapes, torch.tensor([1]), gt, [meta])


def test_every_tensor_of_a_batch_is_mapped():
    seen = []
    batch = _batch(PackedBitmaps(torch.zeros(1, 1, 8, 8), 64))
    mapped = map_tensors(batch, lambda tensor: seen.append(tensor) or tensor + 1)
    assert len(seen) == 4 + 6
    assert mapped.images.sum() == mapped.images.numel()
    assert mapped.gt.masks.bits.sum() == 64 and mapped.gt.masks.width == 64
    assert batch.images.sum() == 0


def test_metas_and_masks_of_the_host_are_kept():
    masks = [InstanceMasks([], (8, 8))]
    batch = _batch(masks)
    moved = to_device(batch, "cpu")
    assert moved.metas[0] is batch.metas[0]
    assert moved.gt.masks[0] is masks[0]


def test_batch_without_ground_truth_is_mapped():
    batch = _batch(None)
    batch.gt = None
    assert to_device(batch, "cpu").gt is None


def test_dicts_and_lists_are_mapped_and_settings_kept():
    row = torch.zeros(1, 2)
    detections = Detections(row, row, row, row, mask_thr=0.4, paste_rule="resize")
    doubled = map_tensors({"a": [row + 1], "b": detections, "c": "text"}, lambda t: t * 2)
    assert doubled["a"][0].tolist() == [[2, 2]]
    assert doubled["c"] == "text"
    assert (doubled["b"].mask_thr, doubled["b"].paste_rule) == (0.4, "resize")
    assert doubled["b"].masks is None
