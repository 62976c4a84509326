"""Box arithmetic on boxes written out by hand."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import box_iou, generalized_box_iou

from mmdet_lite.structures.boxes import (
    aligned_giou,
    aligned_iof,
    aligned_iou,
    box_area,
    clip_boxes,
    pairwise_giou,
    pairwise_iof,
    pairwise_iou,
)

SQUARE = [0.0, 0, 10, 10]
HALF = [0.0, 0, 10, 5]
SHIFTED = [5.0, 5, 15, 15]
FAR = [20.0, 0, 30, 10]
EMPTY = [3.0, 3, 3, 8]


def _random_boxes(*shape: int, seed: int = 0) -> torch.Tensor:
    points = torch.rand(*shape, 4, generator=torch.Generator().manual_seed(seed)) * 50
    return torch.cat([points[..., :2], points[..., :2] + points[..., 2:] + 1], dim=-1)


def test_area_has_no_plus_one():
    assert box_area(torch.tensor([SQUARE, HALF, EMPTY])).tolist() == [100, 50, 0]


def test_iou_of_known_pairs():
    boxes = torch.tensor([SQUARE, HALF, SHIFTED, FAR, EMPTY])
    expected = torch.tensor([1, 0.5, 25 / 175, 0, 0])
    torch.testing.assert_close(pairwise_iou(boxes[:1], boxes)[0], expected)
    torch.testing.assert_close(aligned_iou(boxes[0], boxes), expected)


def test_iof_divides_by_the_area_of_the_first_boxes():
    square, half = torch.tensor([SQUARE]), torch.tensor([HALF])
    assert pairwise_iof(half, square).tolist() == [[1.0]]
    assert pairwise_iof(square, half).tolist() == [[0.5]]
    assert aligned_iof(torch.tensor(EMPTY), square).tolist() == [0.0]


def test_giou_of_known_pairs():
    boxes = torch.tensor([SQUARE, SHIFTED, FAR])
    # enclosing boxes: itself, 15 x 15 around a union of 175, 30 x 10 around a union of 200
    expected = torch.tensor([1, 25 / 175 - 50 / 225, 0 - 100 / 300])
    torch.testing.assert_close(aligned_giou(boxes[0], boxes), expected)


def test_overlaps_of_empty_boxes_are_finite():
    empty = torch.tensor([EMPTY, EMPTY, [0.0] * 4])
    for overlap in (pairwise_iou, pairwise_iof, pairwise_giou):
        assert bool(torch.isfinite(overlap(empty, empty)).all())
    assert pairwise_iou(empty, empty).tolist() == [[0.0] * 3] * 3


def test_overlaps_equal_torchvision():
    boxes1, boxes2 = _random_boxes(20), _random_boxes(30, seed=1)
    torch.testing.assert_close(pairwise_iou(boxes1, boxes2), box_iou(boxes1, boxes2))
    torch.testing.assert_close(pairwise_giou(boxes1, boxes2), generalized_box_iou(boxes1, boxes2))


@pytest.mark.parametrize("overlap", [pairwise_iou, pairwise_iof, pairwise_giou])
def test_batch_of_overlaps_equals_its_single_images(overlap):
    boxes1, boxes2 = _random_boxes(3, 5), _random_boxes(3, 7, seed=1)
    batched = overlap(boxes1, boxes2)
    assert batched.shape == (3, 5, 7)
    for i in range(3):
        assert torch.equal(batched[i], overlap(boxes1[i], boxes2[i]))


def test_pairs_are_the_diagonal_of_all_pairs():
    boxes1, boxes2 = _random_boxes(6), _random_boxes(6, seed=1)
    assert torch.equal(aligned_iou(boxes1, boxes2), pairwise_iou(boxes1, boxes2).diagonal())
    assert torch.equal(aligned_giou(boxes1, boxes2), pairwise_giou(boxes1, boxes2).diagonal())


def test_no_boxes_have_no_overlaps():
    assert pairwise_iou(torch.zeros(2, 0, 4), _random_boxes(2, 3)).shape == (2, 0, 3)


def test_overlaps_stay_float32_under_autocast():
    boxes1, boxes2 = _random_boxes(5), _random_boxes(5, seed=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        iou = pairwise_iou(boxes1, boxes2)
    assert iou.dtype == torch.float32
    assert torch.equal(iou, pairwise_iou(boxes1, boxes2))


def test_each_image_clips_to_its_own_shape():
    boxes = torch.tensor([[-5.0, -5, 100, 100], [2.0, 3, 4, 5]]).expand(2, 2, 4)
    shapes = torch.tensor([[20, 30], [60, 50]])  # height, width
    assert clip_boxes(boxes, shapes).tolist() == [
        [[0, 0, 30, 20], [2, 3, 4, 5]],
        [[0, 0, 50, 60], [2, 3, 4, 5]],
    ]


def test_clipping_keeps_leading_dimensions():
    boxes = _random_boxes(2, 3, 5)
    clipped = clip_boxes(boxes, torch.tensor([[10, 10], [20, 20]]))
    assert clipped.shape == (2, 3, 5, 4)
    assert torch.equal(clipped[1, 2], clip_boxes(boxes[1:, 2], torch.tensor([[20, 20]]))[0])
