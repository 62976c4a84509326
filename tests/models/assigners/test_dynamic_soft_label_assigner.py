"""Who learns which ground truth by predictions, on a map of 4 x 4 points 8 pixels apart."""

from __future__ import annotations

import pytest
import torch
from reference import make_gt
from torch import Tensor

from mmdet_lite.models.assigners import IGNORE, NEGATIVE, DynamicSoftLabelAssigner
from mmdet_lite.models.priors import AnchorGenerator, Priors
from mmdet_lite.structures.boxes import aligned_iou
from mmdet_lite.structures.samples import GroundTruth

# Around the points (8, 16) x (8, 16): 5, 6, 9 and 10 of the map.
BOX = [6.0, 6, 22, 22]


def _priors() -> Priors:
    generator = AnchorGenerator([8], [1.0], scales=[1.0])
    return generator([(4, 4)], torch.device("cpu"))


def _gt(*boxes: list[float], labels: list[int] | None = None) -> GroundTruth:
    rows = torch.tensor(boxes).reshape(-1, 4)
    return make_gt([rows], [torch.tensor(labels or [0] * len(boxes), dtype=torch.long)])


def _predict(*boxes: list[float], fallback: list[float] | None = None) -> Tensor:
    """(1, 16, 4): the given boxes at points 5, 6, ..., the fallback elsewhere."""
    pred = torch.tensor(fallback or [90.0, 90, 99, 99]).repeat(1, 16, 1)
    pred[0, 5 : 5 + len(boxes)] = torch.tensor(boxes).reshape(-1, 4)
    return pred


def _assign(
    gt: GroundTruth, boxes: Tensor, logits: Tensor | None = None, **settings
) -> tuple[list[int], Tensor]:
    logits = torch.zeros(1, 16, 2) if logits is None else logits
    assigned, scores = DynamicSoftLabelAssigner(**settings).assign(
        _priors(), gt, None, logits, boxes
    )
    return assigned[0].tolist(), scores[0]


def _positives(assigned: list[int]) -> dict[int, int]:
    return {prior: box for prior, box in enumerate(assigned) if box >= 0}


def test_as_many_priors_as_the_ious_sum_up_to():
    # IoUs of the four points inside: 1, 1, 0.5 and 0.
    boxes = _predict(BOX, BOX)
    boxes[0, 9] = torch.tensor([6.0, 6, 22, 14])
    assigned, scores = _assign(_gt(BOX), boxes)
    assert _positives(assigned) == {5: 0, 6: 0}  # the sum is 2.5
    assert scores.tolist() == [1.0 if prior in (5, 6) else 0.0 for prior in range(16)]
    assert set(assigned) == {0, NEGATIVE}


def test_no_more_than_topk_ious_count():
    boxes = _predict(fallback=BOX)
    assert sorted(_positives(_assign(_gt(BOX), boxes)[0])) == [5, 6, 9, 10]
    assert len(_positives(_assign(_gt(BOX), boxes, topk=2)[0])) == 2


def test_a_positive_has_to_score_its_iou():
    half = [6.0, 6, 22, 14]
    assigned, scores = _assign(_gt(BOX), _predict(half))
    assert _positives(assigned) == {5: 0}
    assert scores[5] == aligned_iou(torch.tensor(half), torch.tensor(BOX)) == 0.5


def test_the_better_class_score_wins_among_equal_boxes():
    logits = torch.zeros(1, 16, 2)
    logits[0, 10, 1] = 3.0  # nearest to the score 0.25 as class 1 is the logit -1.1
    logits[0, 6, 1] = -1.1
    boxes = _predict(fallback=[6.0, 6, 14, 14])  # IoU 0.25
    logits[0, :, 0] = -9
    assert _positives(_assign(_gt(BOX, labels=[1]), boxes, logits)[0]) == {6: 0}


def test_a_shared_prior_goes_to_the_cheaper_box():
    near, far = [4.0, 4, 20, 20], [6.0, 6, 24, 24]
    # Only point 5 predicts anything; both boxes take it.
    assigned, _ = _assign(_gt(far, near), _predict(near))
    assert assigned[5] == 1
    assigned, _ = _assign(_gt(near, far), _predict(near))
    assert assigned[5] == 0


def test_duplicate_boxes_tie_and_the_first_wins():
    assigned, _ = _assign(_gt(BOX, BOX), _predict(BOX, BOX))
    assert _positives(assigned) == {5: 0, 6: 0}


def test_a_box_without_a_prior_inside_gets_one_of_another():
    small = [1.0, 1, 5, 5]  # between the points
    boxes = _predict(BOX, BOX)
    boxes[0, 10] = torch.tensor(small)
    assert _positives(_assign(_gt(BOX, small), boxes)[0]) == {5: 0, 6: 0, 10: 1}


def test_no_prior_inside_any_box_is_all_background():
    assigned, scores = _assign(_gt([1.0, 1, 5, 5]), _predict(fallback=[1.0, 1, 5, 5]))
    assert set(assigned) == {NEGATIVE} and not scores.any()


def test_no_box_is_all_background():
    assigned, scores = _assign(_gt(), _predict(fallback=BOX))
    assert set(assigned) == {NEGATIVE} and not scores.any()


def test_a_box_larger_than_the_image_may_have_all_priors():
    large = [-50.0, -50, 90, 90]
    assigned, scores = _assign(_gt(large), _predict(fallback=large), topk=16)
    assert set(assigned) == {0} and (scores == 1).all()


def test_priors_on_the_edge_of_a_box_are_outside():
    assigned, _ = _assign(_gt([8.0, 8, 16, 16]), _predict(fallback=[8.0, 8, 16, 16]))
    assert set(assigned) == {NEGATIVE}


def test_priors_that_may_not_be_used_are_ignored():
    valid = torch.ones(1, 16, dtype=torch.bool)
    valid[0, 5] = False
    assigned, scores = DynamicSoftLabelAssigner().assign(
        _priors(), _gt(BOX), valid, torch.zeros(1, 16, 2), _predict(BOX, BOX)
    )
    assert assigned[0, 5] == IGNORE and scores[0, 5] == 0
    assert _positives(assigned[0].tolist()) == {6: 0}


def _random_case() -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
    """Three images with 3, 0 and 1 boxes."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(3, 3, 2, generator=generator) * 12
    boxes = torch.cat([corners, corners + 10 + torch.rand(3, 3, 2, generator=generator) * 9], -1)
    labels = [torch.tensor([1, 0, 1]), torch.zeros(0, dtype=torch.long), torch.tensor([0])]
    pred = boxes[:, torch.arange(16) % 3] + torch.randn(3, 16, 4, generator=generator)
    logits = torch.randn(3, 16, 2, generator=generator)
    return [rows[: len(of)] for rows, of in zip(boxes, labels, strict=True)], labels, logits, pred


def test_a_batch_is_its_images_one_by_one_whatever_the_padding():
    boxes, labels, logits, pred = _random_case()
    assigner, priors = DynamicSoftLabelAssigner(), _priors()
    both = assigner.assign(priors, make_gt(boxes, labels), None, logits, pred)
    assert (both[0] >= 0).any()
    for i in range(3):
        part = slice(i, i + 1)
        alone = make_gt(boxes[part], labels[part])
        single = assigner.assign(priors, alone, None, logits[part], pred[part])
        assert torch.equal(both[0][i], single[0][0]) and torch.equal(both[1][i], single[1][0])


def test_the_order_of_the_boxes_does_not_matter():
    boxes, labels, logits, pred = (part[:1] for part in _random_case())
    assigner, priors = DynamicSoftLabelAssigner(), _priors()
    first, scores = assigner.assign(priors, make_gt(boxes, labels), None, logits, pred)
    turned = make_gt([boxes[0].flip(0)], [labels[0].flip(0)])
    second, turned_scores = assigner.assign(priors, turned, None, logits, pred)
    assert torch.equal(first, torch.where(second >= 0, 2 - second, second))
    assert torch.equal(scores, turned_scores)


@pytest.mark.parametrize("setting", ["topk", "iou_factor"])
def test_a_wrong_setting_is_named(setting):
    with pytest.raises(ValueError, match=f"Assigner: {setting} must be above 0, got 0"):
        DynamicSoftLabelAssigner(**{setting: 0})
