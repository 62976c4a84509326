"""Classes that are chosen, beside the categories of a file."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_lite.data.coco_columns import Categories
from mmdet_lite.data.coco_table import choose_categories
from mmdet_lite.data.problems import Problems

NAMES = ["traffic light", "car", "cat", "dining_table"]
CATEGORIES = Categories([], np.arange(4), NAMES, np.arange(4))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("Traffic_Light", "traffic light"),
        ("trafficlight", "traffic light"),
        ("dining-table", "dining_table"),
        ("cats", "cat"),
        ("dining tabel", "dining_table"),
        ("cap", None),
        ("dog", None),
        ("", None),
    ],
)
def test_a_class_that_the_file_writes_in_another_way_is_named(name, near):
    problems = Problems("a.json")
    assert choose_categories(CATEGORIES, ["car", name], problems) == {1: "car"}
    (found,) = problems.found
    hint = "" if near is None else f"; did you mean {near!r}?"
    assert found.message == f"class {name!r} of metainfo{hint}"
    assert found.fix == "The file's categories are: 'traffic light', 'car', 'cat', 'dining_table'."
