"""Task-aligned assignment on a map of 4 x 4 points 8 pixels apart, where it can be read off."""

from __future__ import annotations

import pytest
import torch
from reference import make_gt

from mmdet_lite.models.assigners import IGNORE, NEGATIVE, TaskAlignedAssigner, task_aligned_assigner
from mmdet_lite.models.priors import AnchorGenerator

PRIORS = AnchorGenerator([8], [1.0], scales=[1.0], center_offset=0.5)([(4, 4)], torch.device("cpu"))
BOX = torch.tensor([[2.0, 2, 30, 14]])  # around the points (4, 12, 20, 28) x (4, 12)


def _predicted(*boxes: torch.Tensor, num_images: int = 1) -> torch.Tensor:
    """Every point predicts the box around it, of ``boxes``, or a square of its cell."""
    predicted = PRIORS.boxes.clone()
    for box in boxes:
        inside = TaskAlignedAssigner()._inside(PRIORS.centers, box[None, None])[0, 0]
        predicted[inside] = box
    return predicted.expand(num_images, 16, 4).clone()


def _assign(
    boxes: list[torch.Tensor], predicted: torch.Tensor, valid=None, logits=None, **settings
):
    gt = make_gt(boxes, [torch.zeros(len(b), dtype=torch.long) for b in boxes])
    logits = torch.zeros(len(boxes), 16, 2) if logits is None else logits
    return TaskAlignedAssigner(**settings).assign(PRIORS, gt, valid, logits, predicted)


def test_the_best_points_inside_are_positive_and_score_by_fit():
    logits = torch.zeros(1, 16, 2)
    logits[0, :8, 0] = torch.arange(8.0)
    assigned, scores = _assign([BOX], _predicted(BOX[0]), logits=logits, topk=3)
    assert assigned[0].tolist() == [NEGATIVE] * 5 + [0] * 3 + [NEGATIVE] * 8
    # All overlap it perfectly: the best scores 1, the others by the root of their probabilities.
    root = logits[0, 5:8, 0].sigmoid().sqrt()
    torch.testing.assert_close(scores[0, 5:8], root / root[-1])
    assert not scores[0, :5].any() and not scores[0, 8:].any()


def test_only_the_score_of_its_own_class_counts():
    logits = torch.zeros(1, 16, 2)
    logits[0, 0, 1] = 9
    logits[0, 3, 0] = 1
    assigned, _ = _assign([BOX], _predicted(BOX[0]), logits=logits, topk=1)
    assert (assigned[0] >= 0).nonzero()[:, 0].tolist() == [3]


def test_a_contested_point_goes_to_the_larger_overlap_whatever_the_order():
    small = torch.tensor([[2.0, 2, 14, 14]])
    both = torch.cat([BOX, small])
    predicted = _predicted(BOX[0], small[0])  # points 0, 1, 4, 5 predict the small one
    expected = torch.tensor([1, 1, 0, 0, 1, 1, 0, 0])
    assert torch.equal(_assign([both], predicted)[0][0, :8], expected)
    assert torch.equal(_assign([both.flip(0)], predicted)[0][0, :8], 1 - expected)


def test_of_equal_boxes_the_first_gets_the_points():
    assigned, scores = _assign([BOX.repeat(2, 1)], _predicted(BOX[0]))
    assert assigned[0, :8].tolist() == [0] * 8
    torch.testing.assert_close(scores[0, :8], torch.ones(8))


def test_a_box_without_points_gets_some_where_it_counts_as_longer():
    tiny = torch.tensor([[5.0, 5, 7, 7]])
    predicted = _predicted().expand(1, 16, 4)
    assert (_assign([tiny], predicted)[0] == NEGATIVE).all()
    assigned, scores = _assign([tiny], predicted, min_side=16)
    assert (assigned[0] >= 0).nonzero()[:, 0].tolist() == [0, 1, 4, 5]
    assert scores.isfinite().all()


def test_points_that_do_not_overlap_at_all_are_taken_in_their_order():
    far = torch.tensor([100.0, 100, 108, 108]).expand(1, 16, 4)
    assigned, scores = _assign([BOX], far, topk=3)
    assert (assigned[0] >= 0).nonzero()[:, 0].tolist() == [0, 1, 2]
    assert not scores.any()


def test_a_box_larger_than_the_image_has_all_points():
    large = torch.tensor([[-50.0, -50, 90, 90]])
    assigned, scores = _assign([large], _predicted(large[0]), topk=100)
    assert (assigned == 0).all()
    torch.testing.assert_close(scores, torch.ones(1, 16))


def test_images_do_not_matter_to_each_other_and_padding_matches_nothing():
    boxes = [BOX, BOX[:0], torch.cat([BOX, BOX + 8])]
    predicted = _predicted(BOX[0], num_images=3)
    logits = torch.randn(3, 16, 2, generator=torch.Generator().manual_seed(0))
    assigned, scores = _assign(boxes, predicted, logits=logits)
    assert (assigned[1] == NEGATIVE).all()
    for i, each in enumerate(boxes):
        alone = _assign([each], predicted[i : i + 1], logits=logits[i : i + 1])
        assert torch.equal(assigned[i], alone[0][0])
        assert torch.equal(scores[i], alone[1][0])


def test_many_pairs_are_handled_image_by_image(monkeypatch):
    boxes, predicted = [BOX, BOX + 8], _predicted(BOX[0], num_images=2)
    expected = _assign(boxes, predicted)
    monkeypatch.setattr(task_aligned_assigner, "_MAX_PAIRS", 1)
    for ours, theirs in zip(_assign(boxes, predicted), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_priors_that_may_not_be_used_are_ignored():
    valid = torch.ones(1, 16, dtype=torch.bool)
    valid[0, [0, 15]] = False
    assigned, _ = _assign([BOX], _predicted(BOX[0]), valid=valid)
    assert assigned[0, [0, 15]].tolist() == [IGNORE] * 2
    assert assigned[0, 1:8].tolist() == [0] * 7


def test_half_precision_is_computed_in_float32():
    predicted = _predicted(BOX[0])
    logits = torch.zeros(1, 16, 2)
    expected = _assign([BOX], predicted, logits=logits)
    half = _assign([BOX], predicted.bfloat16(), logits=logits.bfloat16())
    assert half[1].dtype == torch.float32
    assert torch.equal(half[0], expected[0])


def test_topk_must_be_positive():
    with pytest.raises(ValueError, match="TaskAlignedAssigner: topk must be above 0, got 0"):
        TaskAlignedAssigner(topk=0)
