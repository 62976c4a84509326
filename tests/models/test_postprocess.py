"""From scores to boxes: how many, which, in what order, and independent of the batch."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.coders import DeltaXYWHBBoxCoder
from mmdet_lite.models.nms import NMS
from mmdet_lite.models.postprocess import (
    ProposalSelector,
    _kept_at_once,
    _kept_by_group,
    multiclass_nms,
    nms_mask,
)
from mmdet_lite.models.priors import Priors
from mmdet_lite.structures.samples import Detections, Proposals

LEVELS = (4, 2)
BOXES = torch.tensor(
    [
        [0.0, 0, 10, 10],
        [0, 0, 10, 9],  # IoU .9 with the first
        [0, 0, 10, 5],  # IoU .5 with the first
        [20, 20, 30, 30],
        [0, 0, 10, 10],  # the first again, on the second level
        [40, 40, 60, 60],
    ]
)
SCORES = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5, 0.4]])


def _priors(boxes: torch.Tensor = BOXES, levels: tuple[int, ...] = LEVELS) -> Priors:
    cells = torch.zeros(len(boxes), 2, dtype=torch.long)
    return Priors(boxes, cells, cells + 1, torch.arange(len(boxes)) + 100, levels)


def _select(scores: torch.Tensor = SCORES, priors: Priors | None = None, **settings) -> Proposals:
    selector = ProposalSelector(**(dict(nms_pre=10, max_per_img=10, nms_iou_thr=0.7) | settings))
    shapes = torch.tensor([[50, 50]] * len(scores))
    deltas = torch.zeros(*scores.shape, 4)
    return selector.select(scores, deltas, priors or _priors(), DeltaXYWHBBoxCoder(), shapes)


def _kept(proposals: Proposals) -> list[int]:
    return (proposals.ids[proposals.valid] - 100).tolist()


def test_duplicates_are_dropped_within_their_level():
    proposals = _select()
    assert _kept(proposals) == [0, 2, 3, 4, 5]
    assert proposals.boxes[0, 4].tolist() == [40, 40, 50, 50]  # clipped to the image
    torch.testing.assert_close(proposals.scores, torch.tensor([[0.9, 0.7, 0.6, 0.5, 0.4, 0]]))
    assert proposals.valid.tolist() == [[True] * 5 + [False]]
    assert not proposals.boxes[0, 5].any()


def test_each_level_gives_its_best_and_the_best_of_all_stay():
    assert _kept(_select(nms_pre=1)) == [0, 4]
    assert _kept(_select(max_per_img=2)) == [0, 2]
    assert _select(nms_pre=1).valid.shape == (1, 2)


def test_threshold_decides_what_is_a_duplicate():
    assert _kept(_select(nms_iou_thr=0.95)) == [0, 1, 2, 3, 4, 5]
    assert _kept(_select(nms_iou_thr=0.4)) == [0, 3, 4, 5]


def test_proposals_are_sorted_over_all_levels():
    proposals = _select(torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.9, 0.8]]))
    assert _kept(proposals) == [4, 5, 3, 2, 1]


def test_small_boxes_are_dropped_and_suppress_nothing():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 5, 10], [60, 0, 70, 10], [0, 20, 10, 30]])
    priors, scores = _priors(boxes, (4,)), torch.tensor([[0.5, 0.9, 0.8, 0.7]])
    assert _kept(_select(scores, priors)) == [1, 3, 0]  # the third is empty after clipping
    assert _kept(_select(scores, priors, min_bbox_size=5)) == [3, 0]
    assert _kept(_select(scores, priors, min_bbox_size=-1)) == [1, 2, 3, 0]


def test_no_box_is_large_enough():
    proposals = _select(min_bbox_size=1000)
    assert not proposals.valid.any()
    assert not proposals.boxes.any()
    assert not proposals.scores.any()


def test_boxes_of_equal_score_are_all_kept():
    boxes = torch.arange(6.0)[:, None] * 8 + torch.tensor([0.0, 0, 6, 6])
    proposals = _select(torch.full((1, 6), 0.5), _priors(boxes, (6,)))
    assert sorted(_kept(proposals)) == [0, 1, 2, 3, 4, 5]


def test_score_of_zero_is_a_proposal_too():
    assert sorted(_kept(_select(torch.zeros(1, 6), nms_iou_thr=1.0))) == [0, 1, 2, 3, 4, 5]


def _clusters(num_images: int, count: int = 100, extent: float = 1200) -> torch.Tensor:
    """Small boxes around a dozen places: many overlaps close to any threshold."""
    generator = torch.Generator().manual_seed(0)
    places = torch.rand(num_images, 12, 2, generator=generator) * extent
    corner = places[:, torch.arange(count) % 12]
    corner = corner + torch.rand(num_images, count, 2, generator=generator) * 5
    return torch.cat(
        [corner, corner + torch.rand(num_images, count, 2, generator=generator) * 10 + 6], -1
    )


def test_proposals_of_a_batch_equal_those_of_its_single_images():
    boxes = _clusters(1, count=300)[0]
    scores = torch.rand(8, 300, generator=torch.Generator().manual_seed(1))
    selector = ProposalSelector(nms_pre=200, max_per_img=100, nms_iou_thr=0.5)
    priors, coder = _priors(boxes, (200, 60, 40)), DeltaXYWHBBoxCoder()
    deltas = torch.randn(8, 300, 4, generator=torch.Generator().manual_seed(2)) * 0.1
    shapes = torch.tensor([[1200, 1200]] * 8)
    together = selector.select(scores, deltas, priors, coder, shapes)
    for i in range(8):
        one = slice(i, i + 1)
        alone = selector.select(scores[one], deltas[one], priors, coder, shapes[one])
        for name, value in vars(alone).items():
            assert torch.equal(value[0], getattr(together, name)[i]), name


def test_nms_mask_drops_invalid_boxes_and_they_suppress_nothing():
    boxes = BOXES[:3].expand(2, 3, 4)
    scores = torch.tensor([[0.9, 0.8, 0.7]] * 2)
    valid = torch.tensor([[True, True, True], [False, True, True]])
    keep = nms_mask(boxes, scores, [3], valid, 0.7)
    assert keep.tolist() == [[True, False, True], [False, True, True]]
    apart = nms_mask(boxes, scores, [1, 1, 1], valid, 0.1)
    assert torch.equal(apart, valid)


@pytest.mark.parametrize("sizes", [[300], [200, 70, 30], [100, 0, 200]])
def test_groups_with_a_call_each_and_all_in_one_keep_the_same(sizes):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(300, 2, generator=generator) * 90 - 20
    boxes = torch.cat([corner, corner + torch.rand(300, 2, generator=generator) * 40], dim=1)
    scores = torch.rand(300, generator=generator)
    by_group = _kept_by_group(boxes, scores, sizes, 0.4)
    at_once = _kept_at_once(boxes, scores, sizes, 0.4)
    assert sorted(by_group.tolist()) == sorted(at_once.tolist())
    assert 20 < len(by_group) < 250


def _detect(scores: list, boxes: torch.Tensor | None = None, **settings):
    scores = torch.tensor(scores)
    boxes = BOXES[: scores.shape[1]].expand(len(scores), -1, 4) if boxes is None else boxes
    boxes = boxes[:, :, None] if boxes.dim() == 3 else boxes
    valid = settings.pop("valid", torch.ones(scores.shape[:2], dtype=torch.bool))
    settings = dict(score_thr=0.05, max_per_img=4) | settings
    settings["nms"] = NMS(settings.pop("iou_thr", 0.5))
    return multiclass_nms(boxes, scores, valid, **settings)


def _sources(detections: Detections) -> list[list[int]]:
    """Which of ``BOXES`` the valid detections of each image are."""
    rows = BOXES.tolist()
    return [
        [rows.index(box) for box in boxes[valid].tolist()]
        for boxes, valid in zip(detections.boxes, detections.valid, strict=True)
    ]


def test_classes_do_not_suppress_each_other():
    detections = _detect([[[0.9, 0.1], [0.8, 0.3], [0.04, 0.05]]])
    assert detections.labels[0, :2].tolist() == [0, 1]
    assert _sources(detections) == [[0, 1]]
    torch.testing.assert_close(detections.scores, torch.tensor([[0.9, 0.3, 0, 0]]))
    assert detections.valid.tolist() == [[True, True, False, False]]
    assert detections.masks is None


def test_score_must_exceed_the_threshold():
    detections = _detect([[[0.5], [0.1], [0.2], [0.5]]], score_thr=0.5)
    assert not detections.valid.any()


def test_no_candidate_gives_padding_only():
    detections = _detect([[[0.0, 0.0]] * 3] * 2)
    assert detections.boxes.shape == (2, 4, 4)
    assert not detections.valid.any()
    assert not detections.boxes.any()


def test_no_boxes_at_all_give_padding_only():
    valid = torch.zeros(2, 0, dtype=torch.bool)
    detections = multiclass_nms(
        torch.zeros(2, 0, 1, 4), torch.zeros(2, 0, 3), valid, 0.05, NMS(), 4
    )
    assert detections.valid.tolist() == [[False] * 4] * 2


def test_invalid_boxes_are_no_candidates():
    valid = torch.tensor([[False, True, True]])
    detections = _detect([[[0.9], [0.8], [0.7]]], valid=valid, iou_thr=0.6)
    assert _sources(detections) == [[1, 2]]


def test_only_the_best_are_kept_over_all_classes():
    scores = [[[0.9, 0.2], [0.1, 0.1], [0.3, 0.8], [0.7, 0.6]]]
    detections = _detect(scores, max_per_img=3, iou_thr=0.99)
    torch.testing.assert_close(detections.scores, torch.tensor([[0.9, 0.8, 0.7]]))
    assert detections.labels.tolist() == [[0, 1, 0]]


def test_images_are_filled_independently():
    scores = [[[0.0]] * 4, [[0.9], [0.0], [0.0], [0.8]], [[0.1], [0.0], [0.3], [0.2]]]
    detections = _detect(scores, max_per_img=2)
    assert detections.valid.sum(dim=1).tolist() == [0, 2, 2]
    assert _sources(detections) == [[], [0, 3], [2, 3]]


def test_tied_scores_keep_one_box_of_a_pair_and_all_separate_boxes():
    detections = _detect([[[0.5], [0.5], [0.0], [0.5]]])
    assert int(detections.valid.sum()) == 2
    assert 3 in _sources(detections)[0]


def test_each_class_may_have_its_own_box():
    boxes = torch.stack([BOXES[:2], BOXES[2:4]], dim=1)[None]  # (1, 2, K = 2, 4)
    detections = _detect([[[0.9, 0.1], [0.2, 0.8]]], boxes=boxes, iou_thr=0.99)
    assert detections.labels.tolist() == [[0, 1, 0, 1]]
    assert _sources(detections) == [[0, 3, 1, 2]]


@pytest.mark.parametrize("num_classes", [1, 80])
def test_detections_of_a_batch_equal_those_of_its_single_images(num_classes):
    boxes = _clusters(8)[:, :, None]
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(num_classes, (8, 12), generator=generator)[:, torch.arange(100) % 12]
    scores = torch.zeros(8, 100, num_classes)
    scores.scatter_(2, label[..., None], torch.rand(8, 100, 1, generator=generator) * 0.9 + 0.1)
    valid = torch.rand(8, 100, generator=generator) > 0.1
    together = multiclass_nms(boxes, scores, valid, 0.05, NMS(), 50)
    assert int(together.valid.sum()) < 8 * 50
    for i in range(8):
        one = slice(i, i + 1)
        alone = multiclass_nms(boxes[one], scores[one], valid[one], 0.05, NMS(), 50)
        assert torch.equal(alone.scores[0], together.scores[i])
        assert torch.equal(alone.boxes[0], together.boxes[i])


def test_padding_rows_change_nothing():
    boxes, scores = _clusters(1), torch.rand(1, 100, 3, generator=torch.Generator().manual_seed(1))
    valid = torch.ones(1, 100, dtype=torch.bool)
    padded_valid = torch.cat([valid, torch.zeros(1, 20, dtype=torch.bool)], dim=1)
    settings = (0.05, NMS(), 300)
    expected = multiclass_nms(boxes[:, :, None], scores, valid, *settings)
    padded_boxes = torch.cat([boxes, boxes[:, :20]], dim=1)[:, :, None]
    padded_scores = torch.cat([scores, torch.ones(1, 20, 3)], dim=1)
    padded = multiclass_nms(padded_boxes, padded_scores, padded_valid, *settings)
    assert torch.equal(padded.boxes, expected.boxes)
    assert torch.equal(padded.scores, expected.scores)
