"""Who learns which ground truth, on boxes written out by hand."""

from __future__ import annotations

import pytest
import torch
from reference import make_gt

from mmdet_lite.models.assigners import IGNORE, NEGATIVE, MaxIoUAssigner
from mmdet_lite.structures.samples import GroundTruth

RPN = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3)
GT_A, GT_B = [0.0, 0, 10, 10], [20.0, 20, 30, 30]
PRIORS = torch.tensor(
    [
        [0.0, 0, 10, 10],  # IoU 1 with A
        [0, 0, 10, 5],  # .5 with A
        [0, 0, 10, 2],  # .2 with A
        [90, 90, 99, 99],  # no overlap
        [20, 20, 30, 24],  # .4 with B, B's best
        [20, 20, 30, 23],  # .3 with B
    ]
)


def _gt(*boxes: list[float], ignore: list[list[float]] | None = None) -> GroundTruth:
    ignore_boxes = torch.tensor(ignore or []).reshape(-1, 4)
    return make_gt([torch.tensor(boxes).reshape(-1, 4)], ignore=[ignore_boxes])


def _assign(gt: GroundTruth, priors: torch.Tensor = PRIORS, **settings) -> list[int]:
    return MaxIoUAssigner(**(RPN | settings)).assign(priors, gt)[0].tolist()


def _random_case(num_images: int = 3) -> tuple[torch.Tensor, GroundTruth]:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(400, 4, generator=generator)
    priors = torch.cat([points[:, :2] * 50, points[:, :2] * 50 + points[:, 2:] * 30 + 4], dim=1)
    boxes = [priors[i : i + 20 : 3][: i + 1] + 0.37 for i in range(num_images)]
    ignore = [priors[100 + i : 120 : 9] for i in range(num_images)]
    return priors, make_gt(boxes, ignore=ignore)


def test_thresholds_and_low_quality_matches():
    expected = [0, IGNORE, NEGATIVE, NEGATIVE, 1, IGNORE]
    assert _assign(_gt(GT_A, GT_B)) == expected


def test_without_low_quality_matches_only_the_threshold_counts():
    expected = [0, IGNORE, NEGATIVE, NEGATIVE, IGNORE, IGNORE]
    assert _assign(_gt(GT_A, GT_B), match_low_quality=False) == expected


def test_low_quality_match_needs_the_least_iou():
    assert _assign(_gt(GT_A, GT_B), min_pos_iou=0.45)[4] == IGNORE
    assert _assign(_gt(GT_B), priors=PRIORS[1:3]) == [NEGATIVE, NEGATIVE]


def test_positive_threshold_is_inclusive_and_negative_one_exclusive():
    assigned = _assign(_gt(GT_A), pos_iou_thr=0.5, neg_iou_thr=0.2, match_low_quality=False)
    assert assigned[:3] == [0, 0, IGNORE]


def test_negative_range_ignores_what_lies_below_it():
    assigned = _assign(_gt(GT_A, GT_B), neg_iou_thr=(0.1, 0.3))
    assert assigned[2:4] == [NEGATIVE, IGNORE]


def test_low_quality_match_overwrites_a_better_one():
    better, worse = [0.0, 0, 10, 8], [0.0, 0, 10, 5]
    prior = torch.tensor([[0.0, 0, 10, 10]])
    assert _assign(_gt(better, worse), prior) == [1]
    assert _assign(_gt(worse, better), prior) == [1]
    assert _assign(_gt(better, worse), prior, match_low_quality=False) == [0]


def test_of_equal_ground_truths_the_first_matches_and_the_last_takes_low_quality():
    assert _assign(_gt(GT_A, GT_A), match_low_quality=False)[0] == 0
    assert _assign(_gt(GT_A, GT_A))[0] == 1


def test_tied_best_priors_are_all_matched_or_only_the_first():
    twice = torch.tensor([[0.0, 0, 10, 4], [50, 50, 60, 60], [0, 0, 10, 4]])
    assert _assign(_gt(GT_A), twice) == [0, NEGATIVE, 0]
    assert _assign(_gt(GT_A), twice, gt_max_assign_all=False) == [0, NEGATIVE, IGNORE]


def test_prior_inside_an_ignore_box_is_ignored_even_if_it_matches():
    gt = _gt(GT_A, GT_B, ignore=[[0, 0, 12, 12]])
    assert _assign(gt, ignore_iof_thr=0.5) == [IGNORE, IGNORE, IGNORE, NEGATIVE, 1, IGNORE]
    assert _assign(gt) == _assign(_gt(GT_A, GT_B))


def test_ignored_share_must_exceed_its_threshold():
    gt = _gt(GT_B, ignore=[[0, 0, 10, 1]])  # half of the prior [0, 0, 10, 2]
    assert _assign(gt, ignore_iof_thr=0.5)[2] == NEGATIVE
    assert _assign(gt, ignore_iof_thr=0.49)[2] == IGNORE


def test_ignored_share_may_be_that_of_the_ignore_box():
    gt = _gt(GT_B, ignore=[[0, 0, 4, 4]])  # 16 of the first prior's 100 pixels
    settings = dict(ignore_iof_thr=0.5)
    assert _assign(gt, **settings)[0] == NEGATIVE
    assert _assign(gt, ignore_wrt_candidates=False, **settings)[0] == IGNORE


def test_without_ground_truth_all_are_negative_also_in_ignore_boxes():
    assert _assign(_gt(ignore=[[0, 0, 99, 99]]), ignore_iof_thr=0.5) == [NEGATIVE] * 6


def test_where_all_is_ignored_nothing_is_matched():
    gt = _gt(GT_A, GT_B, ignore=[[0, 0, 99, 99]])
    assert _assign(gt, ignore_iof_thr=0.5, min_pos_iou=0) == [IGNORE] * 6


def test_priors_that_may_not_be_used_are_ignored_and_are_nobodys_best():
    valid = torch.tensor([[False, True, True, True, False, True]])
    assigned = MaxIoUAssigner(**RPN).assign(PRIORS, _gt(GT_A, GT_B), valid)[0]
    # A and B fall back on their second best
    assert assigned.tolist() == [IGNORE, 0, NEGATIVE, NEGATIVE, IGNORE, 1]
    no_gt = MaxIoUAssigner(**RPN).assign(PRIORS, _gt(), valid)[0]
    assert torch.equal(no_gt == IGNORE, ~valid[0])


def test_padded_ground_truth_and_ignore_rows_change_nothing():
    settings = RPN | dict(ignore_iof_thr=0.5, min_pos_iou=0)
    gt = _gt(GT_A, GT_B, ignore=[[90, 90, 95, 95]])
    padded = make_gt(
        [gt.boxes[0], PRIORS[:5], PRIORS[:0]],
        ignore=[gt.ignore_boxes[0], PRIORS[:3], PRIORS[:0]],
    )
    alone = MaxIoUAssigner(**settings).assign(PRIORS, gt)[0]
    together = MaxIoUAssigner(**settings).assign(PRIORS, padded)
    assert torch.equal(together[0], alone)
    assert together[2].tolist() == [NEGATIVE] * 6


def test_what_padded_rows_contain_does_not_matter():
    gt = make_gt([torch.tensor([GT_A]), torch.tensor([GT_A, GT_B])])
    expected = MaxIoUAssigner(**RPN).assign(PRIORS, gt)
    gt.boxes[0, 1] = PRIORS[3]
    assert torch.equal(MaxIoUAssigner(**RPN).assign(PRIORS, gt), expected)


def test_order_of_ground_truths_does_not_matter_without_ties():
    priors, gt = _random_case()
    boxes = gt.boxes[2][gt.valid[2]]
    order = torch.tensor([2, 0, 1])
    assigner = MaxIoUAssigner(**RPN)
    assigned = assigner.assign(priors, make_gt([boxes]))[0]
    permuted = assigner.assign(priors, make_gt([boxes[order]]))[0]
    assert int((assigned >= 0).sum()) >= 3
    back = torch.where(permuted >= 0, order[permuted.clamp(min=0)], permuted)
    assert torch.equal(back, assigned)


@pytest.mark.parametrize("settings", [{}, dict(ignore_iof_thr=0.3), dict(gt_max_assign_all=False)])
def test_batch_equals_its_single_images_and_its_parts(settings):
    priors, gt = _random_case()
    batched = MaxIoUAssigner(**RPN, **settings).assign(priors, gt)
    parts = MaxIoUAssigner(**RPN, **settings, max_overlap_elements=1).assign(priors, gt)
    assert torch.equal(parts, batched)
    for i in range(3):
        boxes = gt.boxes[i][gt.valid[i]]
        single = make_gt([boxes], ignore=[gt.ignore_boxes[i][gt.ignore_valid[i]]])
        assigned = MaxIoUAssigner(**RPN, **settings).assign(priors, single)[0]
        assert torch.equal(assigned, batched[i])


def test_each_image_may_have_its_own_priors():
    priors, gt = _random_case()
    own = torch.stack([priors, priors + 5, priors * 0.5])
    valid = torch.rand(3, 400, generator=torch.Generator().manual_seed(1)) > 0.3
    assigned = MaxIoUAssigner(**RPN, max_overlap_elements=1).assign(own, gt, valid)
    assert torch.equal(assigned, MaxIoUAssigner(**RPN).assign(own, gt, valid))
    assert torch.equal(
        MaxIoUAssigner(**RPN).assign(priors.expand(3, -1, 4), gt),
        MaxIoUAssigner(**RPN).assign(priors, gt),
    )


def test_no_priors_are_an_empty_assignment():
    assert MaxIoUAssigner(**RPN).assign(torch.zeros(0, 4), _gt(GT_A)).shape == (1, 0)


def test_overlaps_are_float32_under_autocast_and_for_half_priors():
    priors, gt = _random_case()
    assigner = MaxIoUAssigner(**RPN)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = assigner.assign(priors, gt)
    assert torch.equal(under_autocast, assigner.assign(priors, gt))
    half = priors.half()
    assert torch.equal(assigner.assign(half, gt), assigner.assign(half.float(), gt))


def test_boxes_without_four_coordinates_are_refused():
    with pytest.raises(ValueError, match=r"must end in 4 coordinates, got priors \(6, 3\)"):
        MaxIoUAssigner(**RPN).assign(PRIORS[:, :3], _gt(GT_A))
