"""Colours are distinct and stable."""

from __future__ import annotations

import numpy as np

from mmdet_lite.visualization.palette import class_color, text_color


def test_colors_of_eighty_classes_are_distinct():
    colors = np.array([class_color(label) for label in range(80)])
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=2) + 999 * np.eye(80)
    assert distances.min() > 20


def test_first_colors_are_far_apart():
    colors = np.array([class_color(label) for label in range(8)])
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=2) + 999 * np.eye(8)
    assert distances.min() > 80


def test_any_number_of_classes_has_colors():
    assert class_color(1202) == class_color(np.int64(1202))


def test_text_contrasts_with_its_ground():
    assert text_color((255, 220, 90)) == (0, 0, 0)
    assert text_color((20, 40, 150)) == (255, 255, 255)
