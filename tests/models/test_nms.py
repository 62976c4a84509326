"""Suppression of duplicates, hard and soft, on boxes whose overlaps can be read off."""

from __future__ import annotations

import math

import pytest
import torch

from mmdet_lite.models.nms import NMS, SoftNMS

# IoU with the first: 1, .6, .5, 0.
BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 6], [0, 0, 10, 5], [50, 50, 60, 60]])
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.6])
ONE_CLASS = torch.zeros(4, dtype=torch.long)


def _scores(nms: NMS | SoftNMS, labels: torch.Tensor = ONE_CLASS, limit: int = 4) -> dict:
    """Scores of the boxes that stay, by index, in their order."""
    kept, scores = nms.select(BOXES, SCORES, labels, limit)
    return dict(zip(kept.tolist(), scores.tolist(), strict=True))


def test_boxes_that_overlap_a_better_one_are_dropped():
    assert list(_scores(NMS(0.55))) == [0, 2, 3]
    assert list(_scores(NMS(0.45))) == [0, 3]
    assert list(_scores(NMS(0.55), limit=2)) == [0, 2]


def test_other_classes_compete_only_if_asked_to():
    labels = torch.tensor([0, 1, 0, 1])
    assert list(_scores(NMS(0.55), labels)) == [0, 1, 2, 3]
    assert list(_scores(NMS(0.55, class_agnostic=True), labels)) == [0, 2, 3]


def test_linear_lowers_by_the_overlap_with_each_better_box():
    kept = _scores(SoftNMS(iou_thr=0.45, min_score=0.01))
    # The third is lowered by the first (.5) only: by then the last and the second are better,
    # and the second, in whose turn it overlaps by 5 / 6, is next.
    second = 0.8 * (1 - 0.6)
    third = 0.7 * 0.5
    assert list(kept) == [0, 3, 2, 1]
    assert kept[2] == pytest.approx(third)
    assert kept[1] == pytest.approx(second * (1 - 5 / 6))


def test_gaussian_lowers_at_any_overlap():
    kept = _scores(SoftNMS(sigma=0.5, min_score=1e-4, method="gaussian"))
    third, second = 0.7 * math.exp(-(0.5**2) / 0.5), 0.8 * math.exp(-(0.6**2) / 0.5)
    assert list(kept) == [0, 3, 2, 1]
    assert kept[2] == pytest.approx(third)
    assert kept[1] == pytest.approx(second * math.exp(-((5 / 6) ** 2) / 0.5))


def test_naive_is_hard_suppression():
    assert _scores(SoftNMS(0.55, method="naive")).keys() == _scores(NMS(0.55)).keys()


def test_boxes_that_fall_below_the_least_score_are_dropped():
    assert list(_scores(SoftNMS(iou_thr=0.45, min_score=0.1))) == [0, 3, 2]


def test_classes_in_step_equal_classes_one_by_one():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(200, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 5 + torch.rand(200, 2, generator=generator) * 30], dim=1)
    scores = torch.rand(200, generator=generator)
    labels = torch.randint(5, (200,), generator=generator)
    nms = SoftNMS(iou_thr=0.3, min_score=0.05)
    kept, together = nms.select(boxes, scores, labels, 60)
    alone = []
    for label in range(5):
        own = labels == label
        alone.append(nms.select(boxes[own], scores[own], labels[own], 60)[1])
    assert torch.equal(together, torch.cat(alone).sort(descending=True).values[:60])
    assert len(set(kept.tolist())) == 60


@pytest.mark.parametrize("nms", [NMS(), SoftNMS()])
def test_nothing_gives_nothing(nms):
    kept, scores = nms.select(BOXES[:0], SCORES[:0], ONE_CLASS[:0], 5)
    assert len(kept) == len(scores) == 0


def test_an_unknown_method_is_told():
    with pytest.raises(ValueError, match="'linear', 'gaussian' or 'naive', got 'soft'"):
        SoftNMS(method="soft")
