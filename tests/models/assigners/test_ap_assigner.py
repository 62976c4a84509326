"""Who learns which ground truth in AP-loss's RetinaNet, on boxes written out by hand."""

from __future__ import annotations

import pytest
import torch
from reference import make_gt

from mmdet_lite.models.assigners import IGNORE, NEGATIVE, APAssigner

BOX = [0.0, 0, 9, 9]  # 10 x 10 pixels
PRIORS = torch.tensor(
    [[0.0, 0, 9, 9], [0, 0, 9, 4], [0, 0, 9, 3], [0, 0, 9, 2], [50, 50, 59, 59]]
)  # overlaps 1, .5, .4, .3 and 0


def _gt(*images: list[list[float]]):
    return make_gt([torch.tensor(boxes).reshape(-1, 4) for boxes in images])


def _assign(*boxes: list[float], priors: torch.Tensor = PRIORS, **settings) -> list[int]:
    return APAssigner(**settings).assign(priors, _gt(list(boxes)))[0].tolist()


def test_sides_are_inclusive_and_so_are_both_thresholds_for_the_better():
    assert _assign(BOX) == [0, 0, IGNORE, NEGATIVE, NEGATIVE]


def test_all_priors_on_a_tie_for_the_best_are_positive():
    inside = [2.0, 2, 3, 2]  # within the first four, of which the fourth is the smallest
    priors = torch.cat([PRIORS, PRIORS[3:4]])
    assert _assign(inside, priors=priors) == [NEGATIVE] * 3 + [0, NEGATIVE, 0]


def test_a_forced_positive_learns_what_it_overlaps_most_itself():
    small = [0.0, 0, 0, 0]  # forces the smallest prior, which overlaps BOX more
    assert _assign(small, BOX)[3] == 1


def test_the_first_of_equal_ground_truths_is_learnt():
    assert _assign(BOX, BOX)[:2] == [0, 0]


def test_a_box_that_overlaps_nothing_makes_all_others_positive_that_overlap_no_more():
    far = [200.0, 200, 220, 220]
    assert _assign(BOX, far) == [0] * 5
    assert _assign(far) == [0] * 5


def test_without_objects_all_are_negative():
    assert _assign() == [NEGATIVE] * 5


def test_priors_that_are_not_valid_are_ignored_and_win_nothing():
    valid = torch.tensor([[False, True, True, True, True]])
    assigned = APAssigner(pos_iou_thr=0.9).assign(PRIORS, _gt([BOX]), valid)
    assert assigned.tolist() == [[IGNORE, 0, IGNORE, NEGATIVE, NEGATIVE]]
    assigned = APAssigner().assign(PRIORS, _gt([BOX]), torch.zeros_like(valid))
    assert assigned.tolist() == [[IGNORE] * 5]


@pytest.mark.parametrize("limit", [0, 10**9])
def test_images_do_not_see_each_other(limit):
    images = [[BOX], [], [[50.0, 50, 59, 54], BOX]]
    together = APAssigner(max_overlap_elements=limit).assign(PRIORS, _gt(*images))
    assert together.tolist() == [_assign(*boxes) for boxes in images]
