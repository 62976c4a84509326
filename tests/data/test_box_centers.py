"""What speaks for boxes that begin with their centre, and what does not."""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_lite.data.box_centers import center_evidence
from mmdet_lite.data.coco_columns import read_columns
from mmdet_lite.data.problems import Problems

SIZE = (100, 200)  # height, width
CORNERS = [[0, 0, 40, 30], [150, 70, 50, 30], [60, 20, 30, 60], [120, 0, 80, 50], [10, 60, 20, 40]]
CENTERS = [[x + w / 2, y + h / 2, w, h] for x, y, w, h in CORNERS]


def evidence(boxes: list, masks: list | None = None) -> str | None:
    """Of boxes in one image; masks are rectangles, each xywh."""
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)
    ]
    for annotation, mask in zip(annotations, masks or (), strict=False):
        if mask is not None:
            x, y, w, h = mask
            annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    image = {"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}
    content = {"images": [image], "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "rose"}]
    columns = read_columns(content, Problems("a.json"))
    return center_evidence(columns.annotations, np.tile(SIZE, (len(boxes), 1)))


def test_masks_around_where_boxes_begin_are_evidence():
    assert evidence(CENTERS, CORNERS) == (
        "5 of 5 masks that were looked at have their centre where the box begins: annotation 0 "
        "(image 1) has [20.0, 15.0, 40, 30], and its mask is [x, y, width, height] = "
        "[0.0, 0.0, 40.0, 30.0]"
    )


def test_some_masks_that_are_elsewhere_do_not_count():
    elsewhere = [[1, 1, 9, 9], None, *CORNERS[2:]]
    assert evidence(CENTERS, elsewhere).startswith("3 of 3 masks")


@pytest.mark.parametrize(
    ("boxes", "masks"),
    [
        (CORNERS, CORNERS),
        (CORNERS, None),
        (CENTERS[:2], CORNERS[:2]),
        ([*CORNERS[:2], *CENTERS[2:]], CORNERS),
        ([], None),
    ],
    ids=["corners", "without masks", "two alone", "some only", "none"],
)
def test_less_is_no_evidence(boxes, masks):
    assert evidence(boxes, masks) is None


def test_boxes_that_reach_out_and_fit_as_centres_are_evidence():
    boxes = [[190, 50, 20, 60], [195, 70, 10, 30], [180, 80, 40, 40], [60, 85, 30, 30]]
    found = evidence([*boxes, [150, 90, 9, 20], [30, 30, 9, 9]])
    assert found == (
        "5 of 6 boxes reach out of their image at the right or the bottom, and 6 fit into it as "
        "[center x, center y, width, height]: annotation 0 (image 1) has [190, 50, 20, 60] in an "
        "image 200 wide and 100 high"
    )


def test_boxes_that_reach_out_on_all_sides_are_no_evidence():
    out = [[190, 50, 20, 60], [195, 70, 10, 30], [180, 80, 40, 40], [60, 85, 30, 30]]
    assert evidence([*out, [150, 90, 9, 20], [-5, 30, 20, 20]]) is None
    assert evidence([*out, [150, 90, 9, 20], [0, 30, 20, 20]]) is None
