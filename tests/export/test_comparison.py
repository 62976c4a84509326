"""What counts as the same detections."""

from __future__ import annotations

import numpy as np

from mmdet_lite.export.comparison import Difference

BOXES = np.array([[[0.0, 0, 10, 10], [20, 20, 30, 40], [50, 50, 60, 60]]], dtype=np.float32)
SCORES = np.array([[0.9, 0.8, 0.7]], dtype=np.float32)
LABELS = np.array([[0, 1, 1]])
VALID = np.array([[True, True, True]])


def difference_to(*given: np.ndarray, expected=(BOXES, SCORES, LABELS, VALID)) -> Difference:
    difference = Difference()
    difference.add_detections(expected, given)
    return difference


def test_the_largest_differences_are_found():
    difference = difference_to(BOXES + np.float32(0.005), SCORES - np.float32(5e-5), LABELS, VALID)
    assert np.isclose(difference.boxes, 0.005, rtol=1e-3)
    assert np.isclose(difference.scores, 5e-5, rtol=1e-2)
    assert (difference.compared, difference.unmatched) == (3, 0)
    assert difference.is_small()


def test_the_order_does_not_matter():
    order = [2, 0, 1]
    difference = difference_to(BOXES[:, order], SCORES[:, order], LABELS[:, order], VALID)
    assert difference == Difference(compared=3)


def test_moved_boxes_and_other_scores_are_not_small():
    assert not difference_to(BOXES + np.float32(0.02), SCORES, LABELS, VALID).is_small()
    assert not difference_to(BOXES, SCORES - np.float32(2e-4), LABELS, VALID).is_small()


def test_a_missing_detection_is_of_one_only():
    difference = difference_to(BOXES, SCORES, LABELS, np.array([[False, True, True]]))
    assert (difference.compared, difference.unmatched) == (2, 1)
    assert not difference.is_small()
    assert "1 detections of one only" in str(difference)


def test_another_label_is_of_one_only_on_both_sides():
    assert difference_to(BOXES, SCORES, np.array([[1, 1, 1]]), VALID).unmatched == 2


def test_the_last_one_may_be_missing_where_a_digit_decides():
    assert difference_to(BOXES, SCORES, LABELS, np.array([[True, True, False]])).is_small()


def test_no_detections_at_all():
    nothing = np.zeros_like(VALID)
    difference = difference_to(BOXES, SCORES, LABELS, nothing)
    assert (difference.compared, difference.unmatched) == (0, 2)
    both = difference_to(BOXES, SCORES, LABELS, nothing, expected=(BOXES, SCORES, LABELS, nothing))
    assert both == Difference() and both.is_small()


def test_masks_are_compared_by_their_overlap():
    masks = np.zeros((1, 3, 4, 4), dtype=np.float32)
    masks[:, :, :2] = 1
    fewer = masks.copy()
    fewer[0, 1, 1, 0] = 0.4
    expected = (BOXES, SCORES, LABELS, VALID, masks)
    difference = difference_to(BOXES, SCORES, LABELS, VALID, fewer, expected=expected)
    assert difference.mask_iou == 7 / 8
    assert not difference.is_small()


def test_raw_outputs_are_compared_row_by_row():
    difference = Difference()
    difference.add_raw([BOXES, SCORES[..., None]], [BOXES + 1, SCORES[..., None]])
    assert (difference.boxes, difference.scores, difference.compared) == (1, 0, 3)
