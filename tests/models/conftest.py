"""A small Mask R-CNN from the base config, and batches to train it on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from reference import make_batch, make_gt

from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.samples import Batch

CONFIGS = Path(__file__).parents[2] / "configs/_base_/models"
SIZE = 64


@pytest.fixture
def tiny_config() -> Callable[..., ConfigDict]:
    """``tiny_config(masks=True)``: a detector of 3 classes, small enough for tests."""

    def make(masks: bool = True) -> ConfigDict:
        name = "mask-rcnn_r50_fpn.py" if masks else "faster-rcnn_r50_fpn.py"
        cfg = Config.fromfile(CONFIGS / name).model
        cfg.backbone.update(depth=18, base_channels=8, pretrained=None)
        cfg.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
        cfg.rpn_head.update(in_channels=8, feat_channels=8)
        cfg.rpn_head.train_selector.update(nms_pre=100, max_per_img=50)
        cfg.rpn_head.test_selector.update(nms_pre=100, max_per_img=50)
        cfg.roi_head.sampler.num = 16
        cfg.roi_head.bbox_head.update(in_channels=8, fc_out_channels=16, num_classes=3)
        if masks:
            cfg.roi_head.mask_head.update(in_channels=8, conv_out_channels=8, num_classes=3)
        return cfg

    return make


@pytest.fixture
def tiny_batch() -> Callable[..., Batch]:
    """``tiny_batch(boxes_per_image)``: noise images of 64 x 64 whose masks are the boxes."""

    def make(boxes_per_image: list[list[list[float]]]) -> Batch:
        boxes = [torch.tensor(rows).reshape(-1, 4) for rows in boxes_per_image]
        labels = [torch.arange(len(rows)) % 3 for rows in boxes]
        gt = make_gt(boxes, labels)
        masks = torch.zeros(*gt.valid.shape, SIZE, SIZE, dtype=torch.uint8)
        for i, rows in enumerate(boxes):
            for j, (x1, y1, x2, y2) in enumerate(rows.long().tolist()):
                masks[i, j, y1:y2, x1:x2] = 1
        gt.masks = PackedBitmaps.pack(masks)
        count = len(boxes)
        images = torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 255
        return make_batch(images, [(SIZE, SIZE)] * count, [(SIZE, SIZE)] * count, gt)

    return make
