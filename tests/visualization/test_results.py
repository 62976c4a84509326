"""Ground truth beside prediction."""

from __future__ import annotations

import numpy as np

from mmdet_lite.visualization.palette import class_color
from mmdet_lite.visualization.results import Instances, draw_comparison

NAMES = ["cat", "dog"]


def test_comparison_shows_truth_left_and_confident_detections_right():
    image = np.full((400, 400, 3), 90, dtype=np.uint8)
    boxes = np.array([[50.0, 50, 150, 150], [200, 200, 350, 350]])
    masks = np.zeros((2, 400, 400), dtype=bool)
    truth = Instances(boxes[:1], np.array([0]), masks=masks[:1], ignore_boxes=boxes[1:])
    prediction = Instances(boxes, np.array([0, 1]), np.array([0.2, 0.9]), masks)
    picture = draw_comparison(image, truth, prediction, NAMES)
    left, right = picture[-400:, :400], picture[-400:, -400:]
    assert tuple(left[100, 50]) == class_color(0)
    assert left[200, 200:350].max() == 255  # dashes of the ignored region
    assert tuple(right[275, 200]) == class_color(1)
    assert tuple(right[100, 50]) == (90, 90, 90)  # score 0.2 is below the threshold


def test_comparison_without_any_detection():
    image = np.zeros((100, 120, 3), dtype=np.uint8)
    nothing = Instances(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    truth = Instances(np.zeros((0, 4)), np.zeros(0, int))
    picture = draw_comparison(image, truth, nothing, NAMES)
    assert (picture[-400:, :480] == 0).all() and (picture[-400:, -480:] == 0).all()
