"""Pictures of assignments."""

from __future__ import annotations

import runpy
from pathlib import Path

import cv2
import numpy as np

from mmdet_lite.visualization.palette import class_color
from mmdet_lite.visualization.targets import draw_assignment, spread_apart

IMAGES = Path(__file__).parents[2] / "docs/images"
POINTS = np.array([[20.0, 20], [60, 60], [90, 20]])
BOXES = np.array([[5.0, 5, 40, 40], [50, 50, 95, 95]])


def _draw(assigned: list[int], scores: list[float]) -> np.ndarray:
    image = np.full((100, 100, 3), 255, np.uint8)
    strides = np.array([8, 16, 8])
    return draw_assignment(image, POINTS, strides, BOXES, np.array(assigned), np.array(scores))


def test_points_have_the_colour_of_their_box():
    picture = _draw([0, 1, -1], [1, 1, 0])
    assert picture.shape == (400, 400, 3)
    colors = [tuple(picture[y * 4, x * 4]) for x, y in POINTS.astype(int)]
    assert colors == [class_color(0), class_color(1), (150, 150, 150)]


def test_more_of_a_ring_is_filled_where_the_score_is_higher():
    low, high = (
        (_draw([-1, 1, -1], [0, score, 0])[200:280, 200:280] == class_color(1)).all(-1).sum()
        for score in (0.1, 0.9)
    )
    assert 0 < low < high


def test_what_is_ignored_is_a_cross():
    ignored, negative = (
        (_draw([-1, assigned, -1], [0, 0, 0])[220:260, 220:260] == 150).all(-1)
        for assigned in (-2, -1)
    )
    assert ignored.any() and negative.any() and (ignored != negative).any()


def test_marks_of_one_centre_stand_side_by_side():
    shifts = spread_apart(np.array([[5.0, 5], [9, 9], [5, 5], [5, 5.01]]))
    assert shifts[1].tolist() == [0, 0]
    together = shifts[[0, 2, 3]]
    apart = np.linalg.norm(together[:, None] - together, axis=2)
    np.testing.assert_allclose(apart + 1.8 * np.eye(3), 1.8)
    np.testing.assert_allclose(together.sum(axis=0), 0, atol=1e-9)
    assert spread_apart(np.zeros((0, 2))).shape == (0, 2)


def test_without_objects_only_dots_are_drawn():
    image = np.full((100, 100, 3), 255, np.uint8)
    none = np.zeros((0, 4))
    args = POINTS, np.array([8, 16, 8]), none, np.full(3, -2), np.zeros(3)
    assert set(np.unique(draw_assignment(image, *args))) >= {150, 255}


def test_the_picture_of_the_documentation_is_what_its_script_draws():
    made = runpy.run_path(str(IMAGES / "draw_yolov8_assignment.py"))["make_picture"]()
    saved = cv2.imread(str(IMAGES / "yolov8_assignment.png"))[..., ::-1]
    assert made.shape == saved.shape
    # Edges of letters and circles may differ between versions of OpenCV.
    assert np.abs(made.astype(int) - saved).mean() < 2
