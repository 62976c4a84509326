"""Scores against the share of true detections."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_scenes import Scene, random_scene

from mmdet_lite.evaluation.calibration import calibrate
from mmdet_lite.evaluation.matching import match

A, B = (0, 0, 50, 50), (100, 0, 50, 50)


def of(scene):
    overlaps = scene.overlaps()
    return calibrate(overlaps, match(overlaps, 0.5))


def test_bins_and_error_by_hand():
    found = [(1, 0, 0.75, A), (1, 0, 0.79, B), (1, 1, 0.25, B), (1, 1, 1.0, A)]
    calibration = of(Scene([(1, 0, A), (1, 1, B)], found))
    assert calibration.counts[0].tolist() == [0] * 7 + [2, 0, 0]
    assert calibration.shares[0, 7] == 0.5
    assert calibration.scores[0, 7] == pytest.approx(0.77)
    assert calibration.shares[1, [2, 9]].tolist() == [1.0, 0.0]
    assert calibration.counts[3].tolist() == [0, 0, 1, 0, 0, 0, 0, 2, 0, 1]  # all classes
    expected = [0.27, (0.75 + 1.0) / 2, np.nan, (2 * 0.27 + 0.75 + 1.0) / 4]
    np.testing.assert_allclose(calibration.errors, expected, rtol=1e-6)


def test_scores_that_are_right_have_no_error():
    objects = [(1, 0, (60 * i, 0, 50, 50)) for i in range(3)]
    found = [(1, 0, 0.75, box) for _, _, box in objects] + [(1, 0, 0.75, (0, 200, 9, 9))]
    assert of(Scene(objects, found)).errors[-1] == pytest.approx(0, abs=1e-12)


def test_detections_on_crowds_do_not_count():
    calibration = of(Scene([(1, 0, (0, 0, 200, 200), True)], [(1, 0, 0.9, A)]))
    assert not calibration.counts.any()
    assert np.isnan(calibration.errors).all()


def test_rows_add_up():
    calibration = of(random_scene(2))
    assert calibration.counts[:-1].sum(axis=0).tolist() == calibration.counts[-1].tolist()
    assert calibration.counts[-1].sum() > 50
