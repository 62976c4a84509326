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
    "sizes",
    [
        [[(4, 6)]],
        [[(4, 6)], [(4, 6), (8, 8)]],
        [[(4, 6)], [(4,)]],
        [[(4, 6)], [(4, 0)]],
        [[], []],
        [[4, 6], [8, 8]],
    ],
)
def test_wrong_sizes_are_named(sizes):
    with pytest.raises(ValueError, match="YOLOAnchorGenerator: base_sizes must be 2 lists"):
        YOLOAnchorGenerator([8, 16], sizes)
