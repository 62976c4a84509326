"""The confusion matrix by hand, and that its parts add up."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_scenes import Scene, random_scene

from mmdet_lite.evaluation.confusion import confusion, confusion_changes
from mmdet_lite.evaluation.matching import match
from mmdet_lite.evaluation.score_counts import SCORE_THRESHOLDS, class_histograms

A, B, C = (0, 0, 50, 50), (100, 0, 50, 50), (200, 0, 50, 50)


def count(scene, score=0.0):
    overlaps = scene.overlaps()
    return confusion(overlaps, match(overlaps, 0.5), 0.5, score)


def test_every_cell_by_hand():
    scene = Scene(
        [(1, 0, A), (1, 1, B), (1, 2, C), (2, 0, A)],
        [
            (1, 0, 0.9, A),  # true
            (1, 2, 0.8, B),  # a 1 taken for a 2
            (1, 1, 0.7, (0, 100, 50, 50)),  # background taken for a 1
            (1, 0, 0.6, A),  # a duplicate: background taken for a 0
        ],
    )
    expected = [[1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [1, 1, 0, 0]]
    assert count(scene).tolist() == expected
    without_the_last = [[1, 0, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert count(scene, 0.65).tolist() == without_the_last


def test_the_right_class_goes_before_a_higher_score_of_another():
    scene = Scene([(1, 0, A)], [(1, 1, 0.9, A), (1, 0, 0.5, A)])
    assert count(scene).tolist() == [[1, 0, 0, 0], [0] * 4, [0] * 4, [0, 1, 0, 0]]
    assert count(scene, 0.6).tolist() == [[0, 1, 0, 0], [0] * 4, [0] * 4, [0] * 4]


def test_a_threshold_takes_in_scores_that_equal_it():
    scene = Scene([(1, 0, A)], [(1, 0, 0.5, A)])
    assert count(scene, 0.5)[0, 0] == 1
    assert count(scene, 0.51)[0].tolist() == [0, 0, 0, 1]


def test_crowds_and_what_lies_on_them_do_not_count():
    scene = Scene([(1, 0, (0, 0, 200, 200), True)], [(1, 0, 0.9, A)])
    assert not count(scene).any()


@pytest.mark.parametrize("seed", range(3))
def test_rows_are_objects_columns_are_detections_and_the_diagonal_is_true(seed):
    overlaps = random_scene(seed).overlaps()
    matches = match(overlaps, 0.5)
    true, false = class_histograms(overlaps, matches)
    for place in (0, 30, 70):
        counts = confusion(overlaps, matches, 0.5, SCORE_THRESHOLDS[place])
        assert counts.min() >= 0
        assert counts[:-1].sum(axis=1).tolist() == overlaps.num_objects.tolist()
        assert counts.sum(axis=0)[:-1].tolist() == (true + false)[:, place:].sum(axis=1).tolist()
        assert np.diag(counts)[:-1].tolist() == true[:, place:].sum(axis=1).tolist()


def test_changes_add_up_to_the_matrix_at_every_threshold():
    overlaps = random_scene(3).overlaps()
    matches = match(overlaps, 0.5)
    sums = np.zeros(9, dtype=int)
    changes = confusion_changes(overlaps, matches, 0.5, SCORE_THRESHOLDS)
    for threshold, change in zip(SCORE_THRESHOLDS, changes, strict=True):
        np.add.at(sums, change[::2], change[1::2])
        counts = confusion(overlaps, matches, 0.5, threshold)[:-1, :-1]
        assert sums.reshape(3, 3).tolist() == counts.tolist()
    assert sum(map(len, changes)) > 20


def test_no_detections_and_no_objects():
    assert count(Scene([(1, 1, A)], [])).tolist() == [[0] * 4, [0, 0, 0, 1], [0] * 4, [0] * 4]
    assert not count(Scene([], [])).any()
