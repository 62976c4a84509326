"""Where pixels change, and where they must not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmdet_lite.visualization.draw import draw_instances, save_image, side_by_side
from mmdet_lite.visualization.palette import class_color

NAMES = ["cat", "dog"]
GREY = 90


def grey_image(height=500, width=600):
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def changed(drawn):
    return (drawn != GREY).any(axis=2)


def test_box_edges_have_the_class_color_and_the_input_stays():
    image = grey_image()
    drawn = draw_instances(image, np.array([[100.0, 200, 300, 400]]), np.array([1]), NAMES)
    assert drawn.shape == image.shape and (image == GREY).all()
    for y, x in [(300, 100), (300, 300), (400, 200)]:
        assert tuple(drawn[y, x]) == class_color(1)
    assert tuple(drawn[300, 200]) == (GREY, GREY, GREY)


def test_small_images_are_enlarged_until_labels_can_be_read():
    drawn = draw_instances(grey_image(100, 160), np.array([[40.0, 40, 80, 80]]), [0], NAMES)
    assert drawn.shape == (400, 640, 3)
    assert tuple(drawn[240, 160]) == class_color(0)


def test_names_grow_with_large_photographs():
    heights = []
    for factor in (1, 5):
        drawn = draw_instances(
            grey_image(600 * factor, 800 * factor),
            factor * np.array([[100.0, 200, 700, 500]]),
            [0],
            NAMES,
        )
        column = changed(drawn)[: 190 * factor, 110 * factor]
        heights.append(column.sum() / factor)
    assert heights[1] == pytest.approx(heights[0], rel=0.2)


def test_an_image_without_objects_stays_as_it_is():
    nothing = np.zeros((0, 4)), np.zeros(0, int), NAMES, np.zeros(0), np.zeros((0, 500, 600), bool)
    assert not changed(draw_instances(grey_image(), *nothing)).any()


def test_mask_tints_inside_and_leaves_holes():
    mask = np.zeros((1, 500, 600), dtype=bool)
    mask[0, 100:300, 100:300] = True
    mask[0, 150:250, 150:250] = False
    boxes = np.array([[100.0, 100, 300, 300]])
    drawn = draw_instances(grey_image(), boxes, np.array([0]), NAMES, masks=mask)
    tint = np.round(0.55 * GREY + 0.45 * np.array(class_color(0)))
    np.testing.assert_array_equal(drawn[125, 250], tint)
    np.testing.assert_array_equal(drawn[200, 200], [GREY] * 3)


def test_masks_of_enlarged_images_grow_with_them():
    mask = np.zeros((1, 100, 100), dtype=bool)
    mask[0, 20:60, 20:60] = True
    boxes = np.array([[10.0, 10, 90, 90]])
    drawn = draw_instances(grey_image(100, 100), boxes, [0], NAMES, masks=mask)
    assert changed(drawn)[90:230, 90:230].all()
    assert not changed(drawn)[260:350, 260:350].any()


@pytest.mark.parametrize("scores", [[0.9, 0.4], [0.4, 0.9]])
def test_the_higher_score_is_drawn_on_top(scores):
    boxes = np.array([[100.0, 100, 300, 300], [100, 100, 300, 300]])
    drawn = draw_instances(grey_image(), boxes, np.array([0, 1]), NAMES, np.array(scores))
    assert tuple(drawn[200, 100]) == class_color(int(np.argmax(scores)))


def test_without_scores_the_smaller_object_is_drawn_on_top():
    boxes = np.array([[200.0, 200, 300, 300], [200, 100, 400, 400]])
    drawn = draw_instances(grey_image(), boxes, np.array([0, 1]), NAMES)
    assert tuple(drawn[290, 200]) == class_color(0)


@pytest.mark.parametrize("box", [(0, 0, 40, 30), (560, 0, 600, 30), (0, 470, 40, 500)])
def test_labels_stay_inside_the_picture(box):
    names = ["a rather long name of a class", *NAMES]
    drawn = draw_instances(grey_image(), np.array([box]), np.array([0]), names)
    chip = (drawn == class_color(0)).all(axis=2)
    rows, columns = np.nonzero(chip)
    elsewhere = draw_instances(grey_image(), np.array([[200, 200, 240, 230]]), np.array([0]), names)
    whole = (elsewhere == class_color(0)).all(axis=2)
    chip_area, whole_area = chip.sum(), whole.sum()
    assert chip_area == pytest.approx(whole_area, rel=0.1)  # nothing is cut off
    assert columns.min() >= 0 and rows.max() < 500


def test_labels_of_neighbours_do_not_cover_each_other():
    boxes = np.array([[200.0, 200, 300, 300], [203, 202, 303, 302]])
    drawn = draw_instances(grey_image(), boxes, np.array([0, 1]), NAMES)
    single = [
        draw_instances(grey_image(), boxes[[i]], np.array([i]), NAMES)[180:200, 190:400]
        for i in (0, 1)
    ]
    chip_pixels = [(s == class_color(i)).all(axis=2).sum() for i, s in enumerate(single)]
    for label in (0, 1):
        assert (drawn == class_color(label)).all(axis=2).sum() > chip_pixels[label]


def test_ignored_regions_are_dashed():
    boxes = np.zeros((0, 4))
    region = np.array([[100.0, 100, 400, 400]])
    drawn = draw_instances(grey_image(), boxes, [], NAMES, ignore_boxes=region)
    edge = drawn[100, 100:400, 0]
    assert {0, 255} <= set(edge.tolist())
    assert not changed(drawn)[150:350, 150:350].any()


def test_side_by_side_keeps_both_pictures_under_titles():
    left, right = grey_image(100, 200), np.full((150, 100, 3), 200, dtype=np.uint8)
    joined = side_by_side(left, right, ("one", "two"))
    top = len(joined) - 150
    assert top > 10 and (joined[:top] < 100).any()
    assert (joined[top : top + 100, :200] == GREY).all()
    assert (joined[top:, -100:] == 200).all()


def test_save_image_writes_rgb_and_makes_the_folder(tmp_path):
    image = grey_image(4, 5)
    image[0, 0] = (255, 0, 0)
    save_image(tmp_path / "new" / "a.png", image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "new" / "a.png"))[..., ::-1], image)


def test_save_image_refuses_unknown_formats(tmp_path):
    with pytest.raises(ValueError, match=r"a\.xyz: can't write images as '\.xyz'; use '\.png'"):
        save_image(tmp_path / "a.xyz", grey_image(4, 5))
