"""COCO's matching: by hand, and detection by detection as pycocotools has it."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_scenes import Scene, random_scene

from mmdet_lite.evaluation.analysis import IOU_THRESHOLDS
from mmdet_lite.evaluation.average_precision import average_precisions, mean_precision
from mmdet_lite.evaluation.matching import NO_MATCH, match

BOX = (0, 0, 100, 100)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_every_detection_fares_as_in_pycocotools(seed, kind):
    scene = random_scene(seed)
    overlaps = scene.overlaps(with_masks=kind == "segm")
    evaluator = scene.pycocotools(kind)
    for index, threshold in enumerate(IOU_THRESHOLDS):
        matches = match(overlaps, threshold)
        for place in range(len(scene.image_ids)):
            for label, category in enumerate(scene.category_ids):
                ours = (overlaps.images == place) & (overlaps.labels == label)
                theirs = next(
                    (
                        each
                        for each in evaluator.evalImgs
                        if each
                        and each["image_id"] == place + 1
                        and each["category_id"] == category
                        and each["aRng"][1] == 1e10
                    ),
                    None,
                )
                if theirs is None:
                    assert not ours.any()
                    continue
                ignored = theirs["dtIgnore"][index].astype(bool)
                found = theirs["dtMatches"][index] > 0
                assert matches.is_true[ours].tolist() == (found & ~ignored).tolist()
                assert matches.is_false[ours].tolist() == (~found & ~ignored).tolist()


@pytest.mark.parametrize("kind", ["bbox", "segm"])
def test_average_precision_is_that_of_pycocotools(kind):
    scene = random_scene(5, num_images=20)
    overlaps, precision = scene.overlaps(kind == "segm"), scene.pycocotools(kind).eval["precision"]
    for index, threshold in enumerate(IOU_THRESHOLDS):
        matches = match(overlaps, threshold)
        counted = matches.is_true | matches.is_false
        values = average_precisions(
            overlaps.labels[counted], matches.is_true[counted], overlaps.num_objects
        )
        expected = precision[index, :, :, 0, -1].mean(axis=0)
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
        assert threshold > 0.8 or 0 < mean_precision(values) < 1


def test_the_highest_score_takes_the_object():
    overlaps = Scene([(1, 0, BOX)], [(1, 0, 0.5, BOX), (1, 0, 0.9, (0, 0, 100, 60))]).overlaps()
    matches = match(overlaps, 0.5)
    assert matches.is_true.tolist() == [True, False]
    assert matches.found_by.tolist() == [0]
    assert match(overlaps, 0.75).is_true.tolist() == [False, True]


def test_crowds_take_what_is_left_and_stay_free():
    near = (0, 0, 100, 90)
    scene = Scene(
        [(1, 0, (0, 0, 300, 300), True), (1, 0, BOX)],
        [(1, 0, 0.9, BOX), (1, 0, 0.8, near), (1, 0, 0.7, near), (1, 1, 0.6, near)],
    )
    matches = match(scene.overlaps(), 0.5)
    assert matches.is_true.tolist() == [True, False, False, False]
    assert matches.is_false.tolist() == [False, False, False, True]  # a crowd has a class too
    assert matches.found_by[scene.overlaps().truth.crowd].tolist() == [NO_MATCH]


def test_lower_scores_change_no_match():
    scene = random_scene(7)
    full = match(scene.overlaps(), 0.5)
    best = scene.overlaps()
    kept = best.scores >= 0.5
    scene.found = [each for each in scene.found if np.float32(each[2]) >= 0.5]
    assert match(scene.overlaps(), 0.5).object_of.tolist() == full.object_of[kept].tolist()


def test_nothing_to_match():
    matches = match(Scene([(1, 0, BOX)], []).overlaps(), 0.5)
    assert matches.object_of.tolist() == [] and matches.found_by.tolist() == [NO_MATCH]
    matches = match(Scene([], [(1, 0, 0.5, BOX)]).overlaps(), 0.5)
    assert matches.is_false.tolist() == [True]
    assert np.isnan(mean_precision(average_precisions(np.zeros(1, int), np.ones(1), np.zeros(3))))
