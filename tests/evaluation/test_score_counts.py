"""Counts from each score on, by class and by image, and which images they put first."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_scenes import Scene, random_scene

from mmdet_lite.evaluation.image_ranking import best_images, compare_images, worst_images
from mmdet_lite.evaluation.matching import match
from mmdet_lite.evaluation.score_counts import ImageCounts, class_histograms, image_counts

A, B = (0, 0, 50, 50), (100, 0, 50, 50)


def counts(*columns):
    return ImageCounts(*map(np.array, columns))


def test_histograms_by_hand():
    overlaps = Scene([(1, 0, A)], [(1, 0, 0.3, A), (1, 0, 1.0, B), (1, 1, 0.299, A)]).overlaps()
    true, false = class_histograms(overlaps, match(overlaps, 0.5))
    assert np.argwhere(true).tolist() == [[0, 30]]
    assert np.argwhere(false).tolist() == [[0, 99], [1, 29]]


def test_images_by_hand():
    scene = Scene(
        [(1, 0, A), (1, 1, B), (2, 0, A), (2, 0, B, True)],
        [(1, 0, 0.9, A), (1, 2, 0.8, B), (2, 0, 0.2, A), (2, 0, 0.7, B)],
        num_images=3,
    )
    overlaps = scene.overlaps()
    found = image_counts(overlaps, match(overlaps, 0.5), 0.3)
    assert found.true.tolist() == [1, 0, 0]
    assert found.false.tolist() == [1, 0, 0]
    assert found.missed.tolist() == [1, 1, 0]
    assert found.f1.tolist() == [0.5, 0, 1]
    assert image_counts(overlaps, match(overlaps, 0.5), 0.1).f1.tolist() == [0.5, 1, 1]


@pytest.mark.parametrize("score", [0.0, 0.3, 0.9])
def test_images_and_classes_add_up_to_the_same(score):
    overlaps = random_scene(4).overlaps()
    matches = match(overlaps, 0.5)
    found = image_counts(overlaps, matches, score)
    true, false = (h[:, round(100 * score) :].sum() for h in class_histograms(overlaps, matches))
    assert (found.true.sum(), found.false.sum()) == (true, false)
    assert found.missed.sum() == overlaps.num_objects.sum() - true


def test_the_worst_have_the_lowest_f1_and_most_errors_the_best_the_most_objects():
    images = counts([0, 0, 2, 1, 0, 3], [1, 3, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0])
    assert worst_images(images, 9).tolist() == [1, 0, 5]
    assert worst_images(images, 1).tolist() == [1]
    assert best_images(images, 3).tolist() == [2, 3, 5]


def test_wins_and_losses_are_ordered_by_the_difference():
    this = counts([1, 0, 1, 0, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0])
    other = counts([0, 1, 1, 0, 1], [0, 0, 0, 2, 1], [1, 0, 0, 0, 0])
    comparison = compare_images(this, other)
    assert comparison.wins.tolist() == [3, 0, 4]
    assert comparison.losses.tolist() == [1, 2]
    assert comparison.ties == 0
    assert compare_images(this, this).ties == 5
