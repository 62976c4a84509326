"""Anchors of given sizes."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.priors import YOLOAnchorGenerator


def test_anchors_are_around_the_middle_of_their_cells():
    generator = YOLOAnchorGenerator([8, 16], [[(4, 6), (10, 2)], [(20, 30), (7.5, 9)]])
    priors = generator([(2, 2), (1, 1)], torch.device("cpu"))
    assert generator.num_base_priors == 2
    assert priors.level_sizes == (8, 2)
    assert priors.boxes[:4].tolist() == [
        [2, 1, 6, 7],
        [-1, 3, 9, 5],
        [10, 1, 14, 7],  # the next column
        [7, 3, 17, 5],
    ]
    assert priors.boxes[8:].tolist() == [[-2, -7, 18, 23], [4.25, 3.5, 11.75, 12.5]]


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ([[(4, 6)]], "2 lists, one a stride, got "),
        ([(4, 6), 3], "2 lists, one a stride, got "),
        ([[(4, 6)], [(4, 6), (8, 8)]], r"as many anchors on every level, got \[1, 2\]"),
        ([[], []], r"as many anchors on every level, got \[0, 0\]"),
        ([[(4, 6)], [(4,)]], r"pairs \(width, height\) above 0, in pixels, got \(4,\)"),
        ([[(4, 6)], [(4, 0)]], r"pairs \(width, height\) above 0, in pixels, got \(4, 0\)"),
        ([[(4, 6)], [(4, "6")]], r"pairs \(width, height\) above 0, in pixels, got \(4, '6'\)"),
        ([[4, 6], [8, 8]], r"pairs \(width, height\) above 0, in pixels, got 4"),
    ],
)
def test_the_rule_that_is_broken_is_named(sizes, words):
    with pytest.raises(ValueError, match=f"YOLOAnchorGenerator: base_sizes must (be|have) {words}"):
        YOLOAnchorGenerator([8, 16], sizes)
