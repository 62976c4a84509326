"""Masks pasted into images, and encoded without being pasted."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pycocotools import mask as coco_mask
from torchvision.models.detection.roi_heads import paste_masks_in_image

from mmdet_lite.structures.pasting import paste_and_encode, paste_masks

SIZE = (12, 16)  # height, width


def test_full_mask_fills_its_box():
    pasted = paste_masks(torch.ones(1, 28, 28), torch.tensor([[3.0, 2, 11, 9]]), SIZE)
    assert pasted.dtype == torch.bool
    expected = torch.zeros(SIZE, dtype=torch.bool)
    expected[2:9, 3:11] = True
    assert torch.equal(pasted[0], expected)


def test_sample_rule_equals_grid_sample():
    generator = torch.Generator().manual_seed(0)
    masks, size = torch.rand(60, 28, 28, generator=generator), (50, 70)
    corners = torch.rand(60, 2, generator=generator) * 80 - 20
    boxes = torch.cat([corners, corners + 1 + torch.rand(60, 2, generator=generator) * 60], dim=1)
    y, x = torch.meshgrid(*(torch.arange(side) + 0.5 for side in size), indexing="ij")
    x1, y1, x2, y2 = (edge[:, None, None] for edge in boxes.unbind(1))
    grid = torch.stack([(x - x1) / (x2 - x1), (y - y1) / (y2 - y1)], dim=-1) * 2 - 1
    values = F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0]
    differs = paste_masks(masks, boxes, size) != (values >= 0.5)
    assert not (differs & ((values - 0.5).abs() > 1e-5)).any()  # else only how sums are rounded


def test_resize_rule_equals_torchvision():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(6, 28, 28, generator=generator)
    boxes = torch.tensor(
        [
            [3.0, 2, 11, 9],
            [1.5, 2.2, 9.9, 7],
            [-4, -3, 20, 30],
            [5, 5, 5, 5],
            [12, 8, 40, 8.5],
            [0, 0, 16, 12],
        ]
    )
    theirs = paste_masks_in_image(masks[:, None], boxes, SIZE, padding=1)[:, 0] >= 0.5
    assert torch.equal(paste_masks(masks, boxes, SIZE, rule="resize"), theirs)


@pytest.mark.parametrize("rule", ["sample", "resize"])
def test_halves_of_a_mask_land_on_their_side(rule):
    mask = torch.zeros(28, 28)
    mask[:, 14:] = 1
    pasted = paste_masks(mask[None], torch.tensor([[0.0, 0, 16, 12]]), SIZE, rule=rule)[0]
    assert int(pasted[:, :7].sum()) == 0
    assert bool(pasted[1:-1, 9:-1].all())


@pytest.mark.parametrize("rule", ["sample", "resize"])
@pytest.mark.parametrize("box", [[-30, -30, -10, -10], [40, 2, 50, 9], [2, 90, 9, 99]])
def test_box_outside_the_image_pastes_nothing(rule, box):
    pasted = paste_masks(torch.ones(1, 28, 28), torch.tensor([box]).float(), SIZE, rule=rule)
    assert int(pasted.sum()) == 0


@pytest.mark.parametrize("rule", ["sample", "resize"])
@pytest.mark.parametrize("box", [[5, 5, 5, 5], [0, 0, 0, 0], [4, 2, 4, 9], [16, 12, 16, 12]])
def test_empty_box_pastes_at_most_its_border(rule, box):
    pasted = paste_masks(torch.ones(1, 28, 28), torch.tensor([box]).float(), SIZE, rule=rule)
    height, width = box[3] - box[1] + 2, box[2] - box[0] + 2
    assert int(pasted.sum()) <= height * width


@pytest.mark.parametrize("rule", ["sample", "resize"])
def test_box_larger_than_the_image_is_cut_at_its_border(rule):
    box = torch.tensor([[-16.0, -12, 32, 24]])
    assert bool(paste_masks(torch.ones(1, 28, 28), box, SIZE, rule=rule).all())


@pytest.mark.parametrize("rule", ["sample", "resize"])
def test_masks_are_pasted_independently(rule):
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(3, 28, 28, generator=generator)
    boxes = torch.tensor([[1.5, 2.2, 9, 7], [0, 0, 16, 12], [5, 5, 8.5, 11.1]])
    together = paste_masks(masks, boxes, SIZE, rule=rule)
    for i in range(3):
        assert torch.equal(
            paste_masks(masks[i : i + 1], boxes[i : i + 1], SIZE, rule=rule)[0], together[i]
        )


def test_threshold_itself_belongs_to_the_mask():
    mask, box = torch.full((1, 28, 28), 0.5), torch.tensor([[4.0, 4, 8, 8]])
    inner = paste_masks(mask, box, SIZE, threshold=0.5)[0, 5:7, 5:7]
    assert bool(inner.all())
    assert int(paste_masks(mask, box, SIZE, threshold=0.51).sum()) == 0


def test_half_precision_masks_are_pasted():
    masks, box = torch.ones(1, 28, 28, dtype=torch.float16), torch.tensor([[3, 2, 11, 9]]).half()
    assert int(paste_masks(masks, box, SIZE).sum()) == 8 * 7


def test_no_masks_are_pasted_to_none():
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), SIZE).shape == (0, *SIZE)


EDGES = [
    [0, 0, 70, 50],  # the whole image
    [-9, -9, 90, 80],
    [-5, 7, 30, 20],
    [3.2, -4, 20.7, 60],  # from top to bottom
    [-3, 4, 80, 30],
    [50, 30, 75, 55],  # the last corner
    [0, 0, 8, 8],
    [10.4, 10.4, 10.5, 10.6],
    [5, 5, 5, 5],
    [80, 10, 90, 20],  # outside
    [10, -30, 20, -10],
]


@pytest.mark.parametrize("rule", ["sample", "resize"])
@pytest.mark.parametrize("size", [(50, 70), (1, 70), (50, 1), (1, 1)])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 2.0])  # everything, noise, nothing
def test_encoding_equals_pycocotools_of_the_pasted_masks(rule, size, threshold):
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(20, 2, generator=generator) * torch.tensor([60.0, 40])
    sides = 1 + torch.rand(20, 2, generator=generator) * 40
    boxes = torch.cat([torch.tensor(EDGES).float(), torch.cat([corners, corners + sides], dim=1)])
    masks = torch.rand(len(boxes), 28, 28, generator=generator)
    pasted = paste_masks(masks, boxes, size, threshold, rule).numpy().astype(np.uint8)
    expected = coco_mask.encode(np.asfortranarray(pasted.transpose(1, 2, 0)))
    encoded = paste_and_encode(masks, boxes, size, threshold, rule)
    assert encoded == [rle["counts"] for rle in expected]


def test_no_masks_are_encoded_to_none():
    assert paste_and_encode(torch.zeros(0, 28, 28), torch.zeros(0, 4), SIZE) == []


def test_encoding_takes_memory_for_one_window_at_a_time():
    size = (2000, 3000)
    masks, boxes = torch.ones(50, 28, 28), torch.tensor([[700.0, 800, 900, 1000]]).repeat(50, 1)
    tracemalloc.start()
    paste_and_encode(masks, boxes, size)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20  # one mask at full size takes six times as much
