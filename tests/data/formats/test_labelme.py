"""LabelMe: what is read, what is wrong, what is written."""

from __future__ import annotations

import base64
import json
import math

import cv2
import numpy as np
import pytest
from coco_views import names, objects, sizes
from pycocotools import mask as coco_mask

from mmdet_lite.data.formats import ReadOptions, read_dataset, write_dataset
from mmdet_lite.data.shapes_dataset import ShapesDataset

SQUARE = [[10, 5], [30, 5], [30, 25], [10, 25]]


def shape(kind, points, label="rose", **more):
    return {"label": label, "shape_type": kind, "points": points, "group_id": None} | more


@pytest.fixture
def labelme(write, draw, tmp_path):
    """Write a file of shapes for an image of 40 x 60; gives the folder."""

    def run(*shapes, name="a", **more):
        draw(f"set/{name}.png")
        record = {"imagePath": f"{name}.png", "imageHeight": 40, "imageWidth": 60}
        record |= {"imageData": "embedded", "shapes": shapes}
        write(f"set/{name}.json", json.dumps({"version": "5.4.1", **record, **more}))
        return tmp_path / "set"

    return run


def test_polygons_are_masks_and_rectangles_are_boxes_alone(labelme):
    folder = labelme(
        shape("polygon", SQUARE),
        shape("rectangle", [[50, 30], [40, 20]], "tulip"),  # drawn from below
    )
    source = read_dataset(folder)
    assert objects(source.content, "segmentation", "area") == {
        "a.png": [
            ("rose", [10, 5, 20, 20], [[10, 5, 30, 5, 30, 25, 10, 25]], 400),
            ("tulip", [40, 20, 10, 10], None, 100),
        ]
    }
    assert sizes(source.content) == {"a.png": (40, 60)}
    assert source.format == "labelme"


def test_a_circle_is_a_polygon_around_it(labelme):
    content = read_dataset(labelme(shape("circle", [[30, 20], [33, 24]]))).content
    (circle,) = content["annotations"]
    assert circle["bbox"] == [25, 15, 10, 10]
    assert circle["area"] == pytest.approx(math.pi * 25, rel=2e-3)


def test_a_mask_is_a_png_of_its_extent(labelme):
    part = np.array([[1, 1, 0], [0, 1, 1]], np.uint8) * 255
    png = base64.b64encode(cv2.imencode(".png", part)[1].tobytes()).decode()
    content = read_dataset(labelme(shape("mask", [[10, 5], [12, 6]], mask=png))).content
    (mask,) = content["annotations"]
    bitmap = coco_mask.decode(mask["segmentation"])
    assert mask["bbox"] == [10, 5, 3, 2] and mask["area"] == 4
    assert bitmap[5:7, 10:13].tolist() == [[1, 1, 0], [0, 1, 1]] and bitmap.sum() == 4


def test_a_group_of_one_label_is_one_object(labelme):
    other = [[40, 30], [50, 30], [50, 36]]
    folder = labelme(
        shape("polygon", SQUARE, group_id=1),
        shape("polygon", SQUARE, group_id=2),
        shape("polygon", other, group_id=1),
        shape("polygon", other, "tulip", group_id=1),
    )
    found = objects(read_dataset(folder).content)["a.png"]
    assert [one[:2] for one in found] == [
        ("rose", [10, 5, 40, 31]),
        ("rose", [10, 5, 20, 20]),
        ("tulip", [40, 30, 10, 6]),
    ]


def test_points_and_lines_are_left_out_with_a_note(labelme):
    folder = labelme(shape("point", [[1, 2]]), shape("line", SQUARE[:2]), shape("point", [[3, 4]]))
    source = read_dataset(folder)
    assert objects(source.content) == {"a.png": []}
    expected = "shapes without area are left out: 2 of type 'point', 1 of type 'line'"
    assert source.notes == [expected]


def test_classes_can_be_given_as_a_folder_does_not_list_them(labelme):
    source = read_dataset(
        labelme(shape("polygon", SQUARE)), options=ReadOptions(classes=["tulip", "rose"])
    )
    assert names(source.content) == ["tulip", "rose"]


def test_images_elsewhere(labelme, tmp_path):
    folder = labelme(shape("polygon", SQUARE), imagePath="..\\set\\a.png", imageHeight=None)
    source = read_dataset(folder)  # the size is the image's
    assert (source.image_dir / source.content["images"][0]["file_name"]).is_file()
    assert sizes(source.content) == {"a.png": (40, 60)}


def test_everything_wrong_is_listed(labelme, write):
    folder = labelme(
        shape("polygon", SQUARE[:2]),
        shape("ellipse", SQUARE),
        shape("polygon", [[1, 2, 3]]),
        {"points": SQUARE},
        shape("mask", [[10, 5], [12, 6]], mask="?"),
        shape("circle", SQUARE),
        shape("rectangle", [[70, 5], [80, 9]]),
    )
    write("set/b.json", '{"shapes": [],\n oops')
    write("set/c.json", '{"shapes": []}')
    with pytest.raises(ValueError) as error:
        read_dataset(folder)
    message = str(error.value)
    for line in (
        "a.json, shape 1: a polygon of 2 points, expected 3",
        "a.json, shape 2: shape_type 'ellipse'; known are polygon, rectangle, circle, mask, point",
        "a.json, shape 3: 'rose': 'points' must be [[x, y], ...]",
        "a.json, shape 4: no 'label'",
        "a.json, shape 5: a mask whose 'mask' is not a PNG in base64",
        "a.json, shape 6: a circle of 4 points, expected 2",
        "a.json, shape 7: 'rose' from x1, y1, x2, y2 = 70, 5, 80, 9 of an image 60 wide",
        "b.json:2: Expecting property name",
        "c.json: no 'imagePath' (str)",
    ):
        assert f"    {folder}/{line}" in message


def test_what_is_written_is_read_again(round_trip, content):
    lost, back = round_trip(content, "labelme")
    assert lost == []
    keys = ("segmentation", "area", "iscrowd")
    expected = objects(content, *keys)
    expected["a_nine.png"] = expected.pop("nine.png")
    assert objects(back.content, *keys) == expected
    assert names(back.content) == ["rose", "tulip"]


def test_masks_of_shapes_come_back_to_the_pixel(tmp_path):
    ShapesDataset(2, (64, 64)).write(tmp_path)
    images = ReadOptions(image_dir=tmp_path / "images")
    source = read_dataset(tmp_path / "annotations.json", options=images)
    write_dataset(source, tmp_path / "out", "labelme")
    back = read_dataset(tmp_path / "out")
    keys = ("segmentation", "area")
    assert objects(back.content, *keys) == objects(source.content, *keys)
    with pytest.raises(FileExistsError, match="out is there already"):
        write_dataset(source, tmp_path / "out", "labelme")
    with pytest.raises(ValueError, match="LabelMe has no splits, got split='val'"):
        write_dataset(source, tmp_path / "new", "labelme", "val")
