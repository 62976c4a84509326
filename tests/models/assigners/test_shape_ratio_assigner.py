"""YOLOv5's matching on maps of 4 x 4 and 2 x 2 cells of 8 and 16 pixels."""

from __future__ import annotations

import pytest
import torch
from reference import make_gt

from mmdet_lite.models.assigners import ShapeRatioAssigner
from mmdet_lite.models.priors import YOLOAnchorGenerator
from mmdet_lite.structures.boxes import xyxy_from_cxcywh

GENERATOR = YOLOAnchorGenerator([8, 16], [[(8, 8), (2, 2)], [(16, 16), (40, 40)]])
PRIORS = GENERATOR([(4, 4), (2, 2)], torch.device("cpu"))


def _box(x: float, y: float, width: float = 8.0, height: float = 8.0) -> torch.Tensor:
    return xyxy_from_cxcywh(torch.tensor([[x, y, width, height]]))


def _matches(*boxes: torch.Tensor, ratio_thr: float = 1.9) -> list[list[tuple]]:
    """For each image its matches: (ground truth, level, row, column, anchor), as listed."""
    gt = make_gt(list(boxes))
    inds, valid = ShapeRatioAssigner(ratio_thr).assign(PRIORS, GENERATOR.sizes, gt)
    found = []
    for image in range(len(boxes)):
        level, entry = valid[image].nonzero(as_tuple=True)
        ind = inds[image, level, entry]
        row, column = PRIORS.cells[ind].T
        columns = (entry % gt.valid.shape[1], level, row, column, PRIORS.ids[ind] % 2)
        found.append(list(zip(*(c.tolist() for c in columns), strict=True)))
    return found


def test_a_box_goes_to_its_cell_and_to_the_nearer_neighbours():
    # Its centre is in cell (1, 1), nearer to the left and to the lower neighbour.
    assert _matches(_box(10, 14))[0] == [(0, 0, 1, 1, 0), (0, 0, 1, 0, 0), (0, 0, 2, 1, 0)]


def test_the_middle_of_a_cell_has_no_neighbour():
    assert _matches(_box(12, 12))[0] == [(0, 0, 1, 1, 0)]


def test_on_a_border_the_right_and_lower_cell_comes_twice():
    cells = [match[2:4] for match in _matches(_box(16, 12))[0]]
    assert cells == [(1, 2), (1, 1), (1, 2)]


def test_there_are_no_neighbours_outside_the_map():
    assert _matches(_box(1, 31))[0] == [(0, 0, 3, 0, 0)]
    assert {match[2:4] for match in _matches(_box(32, 32))[0]} == {(3, 3)}


def test_a_centre_outside_the_image_goes_to_the_nearest_cell():
    assert {match[2:4] for match in _matches(_box(-5, 40))[0]} == {(3, 0)}


def test_both_sides_must_be_of_the_anchors_size():
    assert _matches(_box(12, 12, 8 * 1.8, 8 / 1.8))[0]
    assert not _matches(_box(12, 12, 8 * 1.8, 3))[0]
    # exactly ratio_thr is too much
    assert not _matches(_box(12, 12, 16, 8), ratio_thr=2.0)[0]


def test_a_box_may_match_on_several_levels_and_several_anchors():
    matches = _matches(_box(12, 12, 16, 16), ratio_thr=4.0)[0]
    assert {(match[1], match[4]) for match in matches} == {(0, 0), (1, 0), (1, 1)}


def test_a_box_larger_than_the_image_is_matched_by_its_shape():
    assert {match[1:] for match in _matches(_box(16, 16, 50, 60))[0]} >= {(1, 1, 1, 1)}
    assert not _matches(_box(16, 16, 500, 500))[0]


def test_duplicates_are_both_listed_in_their_order():
    matches = _matches(torch.cat([_box(12, 12)] * 2))[0]
    assert matches == [(0, 0, 1, 1, 0), (1, 0, 1, 1, 0)]


def test_images_do_not_depend_on_one_another_or_on_padding():
    boxes = [torch.cat([_box(10, 14), _box(20, 20, 17, 12)]), _box(20, 9), _box(0, 0)[:0]]
    together = _matches(*boxes, ratio_thr=4.0)
    assert together == [_matches(alone, ratio_thr=4.0)[0] for alone in boxes]
    assert together[2] == []


def test_a_limit_that_nothing_can_meet_is_an_error():
    with pytest.raises(ValueError, match="ShapeRatioAssigner: ratio_thr must be above 1, got 1"):
        ShapeRatioAssigner(1)
