"""NMS with fixed shapes keeps what the ragged one keeps."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.exported_nms import (
    exported_dense_nms,
    exported_multiclass_nms,
    keep_best,
    keep_best_of_groups,
)
from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.postprocess import dense_nms, multiclass_nms, nms_mask

NUM_CLASSES = 3


def random_boxes(*shape: int) -> torch.Tensor:
    corner, size = torch.rand(*shape, 2) * 60, torch.rand(*shape, 2) * 30 + 5
    return torch.cat([corner, corner + size], dim=-1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def assert_equal(found, expected):
    assert expected.valid.any() and not expected.valid.all()
    for name in ("boxes", "scores", "labels", "valid"):
        assert torch.equal(getattr(found, name), getattr(expected, name)), name


def test_a_group_keeps_its_best_of_overlapping_boxes():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]]])
    scores = torch.tensor([[[0.5, 0.9, 0.1], [0.5, -1, -1]]])
    keep = keep_best(boxes, scores, 0.5)
    assert keep.tolist() == [[[False, True, True], [True, False, False]]]


def test_nothing_is_kept_where_there_is_no_candidate():
    keep = keep_best(torch.zeros(2, 4, 4), torch.full((2, 3, 4), -1.0), 0.5)
    assert keep.shape == (2, 3, 4) and not keep.any()


def test_proposals_are_those_of_the_ragged_nms():
    boxes, scores, sizes = random_boxes(2, 60), torch.rand(2, 60), [30, 20, 10]
    groups = torch.repeat_interleave(torch.arange(3), torch.tensor(sizes))
    keep = keep_best_of_groups(boxes, scores, groups, 3, 0.5)
    assert torch.equal(keep, nms_mask(boxes, scores, sizes, None, 0.5))
    assert not keep.all()


@pytest.mark.parametrize("class_agnostic", [False, True])
def test_dense_detections_are_those_of_the_ragged_nms(class_agnostic):
    boxes, scores = random_boxes(2, 80), torch.rand(2, 80)
    labels, nms = torch.randint(NUM_CLASSES, (2, 80)), NMS(0.3, class_agnostic)
    expected = dense_nms(boxes, scores, labels, scores > 0.4, nms, 70)
    candidates = scores.where(scores > 0.4, -1)
    found = exported_dense_nms(boxes, candidates, labels, NUM_CLASSES, nms, 70)
    assert_equal(found, expected)


@pytest.mark.parametrize("class_agnostic", [False, True])
@pytest.mark.parametrize("boxes_of", [1, NUM_CLASSES])
def test_detections_of_all_classes_are_those_of_the_ragged_nms(boxes_of, class_agnostic):
    boxes, scores = random_boxes(2, 40, boxes_of), torch.rand(2, 40, NUM_CLASSES)
    valid, nms = torch.rand(2, 40) > 0.2, NMS(0.3, class_agnostic)
    expected = multiclass_nms(boxes, scores, valid, 0.4, nms, 90)
    candidates = scores.where((scores > 0.4) & valid[..., None], -1)
    assert_equal(exported_multiclass_nms(boxes, candidates, nms, 90), expected)


def test_fewer_candidates_than_detections_are_filled_up_with_zeros():
    boxes, labels = torch.tensor([[[1.0, 2, 3, 4]]]), torch.tensor([[2]])
    found = exported_dense_nms(boxes, torch.tensor([[0.5]]), labels, NUM_CLASSES, NMS(), 3)
    assert found.boxes.tolist() == [[[1, 2, 3, 4], [0] * 4, [0] * 4]]
    assert (found.labels.tolist(), found.valid.tolist()) == ([[2, 0, 0]], [[True, False, False]])


def test_soft_nms_is_refused():
    with pytest.raises(ValueError, match="SoftNMS cannot be exported.*--nms outside"):
        exported_dense_nms(random_boxes(1, 2), torch.rand(1, 2), torch.zeros(1, 2), 1, SoftNMS(), 3)
