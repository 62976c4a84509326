"""Text that fits."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_lite.visualization.text import TextStyle


@pytest.mark.parametrize("width", [401, 500, 600])
def test_text_wider_than_its_room_is_shrunk_to_it(width):
    style = TextStyle.for_canvas(np.zeros((500, 600, 3), np.uint8))
    text = "a name that goes on and on " * 4
    assert style.size(text)[0] > width
    assert 0.7 * width < style.fit(text, width).size(text)[0] <= width


def test_text_that_fits_keeps_its_size():
    style = TextStyle.for_canvas(np.zeros((500, 600, 3), np.uint8))
    assert style.fit("cat", 600) == style


def test_text_grows_with_the_picture():
    small, large = (TextStyle.for_canvas(np.zeros((s, s, 3), np.uint8)) for s in (400, 1333))
    assert large.size("cat 0.87")[1] > 2 * small.size("cat 0.87")[1]
