import json

import numpy as np
import pytest

from mmdet_lite.doctor.coco_objects import read_objects
from mmdet_lite.doctor.statistics import dataset_statistics
from mmdet_lite.doctor.training_view import AnchorGrid, Scale


def content(boxes: list, **changes) -> dict:
    """Two images of 200 x 100; all boxes are in the first, of class rose."""
    annotations = [
        {"id": i, "image_id": 7, "category_id": 3, "bbox": box} for i, box in enumerate(boxes)
    ]
    images = [{"id": id, "file_name": "a", "width": 200, "height": 100} for id in (7, 9)]
    categories = [{"id": 3, "name": "rose"}, {"id": 5, "name": "tulip"}]
    return {"images": images, "annotations": annotations, "categories": categories} | changes


def test_counts_and_sizes():
    found = dataset_statistics(content([[0, 0, 16, 4], [10, 10, 40, 40], [0, 0, 200, 100]]))
    assert (found.images, found.images_without_objects, found.objects) == (2, 1, 3)
    (sizes,) = found.sizes
    assert (sizes.where, sizes.small, sizes.medium, sizes.large) == ("in the files", 1, 1, 1)
    assert sizes.sizes.quantiles[0] == 8 and sizes.sizes.quantiles[3] == 40
    assert sum(sizes.sizes.counts) == 3
    assert found.aspect_ratios.quantiles[3] == 0.5
    assert found.objects_per_image.quantiles[-1] == 3
    assert found.objects_per_image.counts[0] == 1
    rose, tulip = found.classes
    assert (rose.name, rose.objects, rose.images, rose.median_size) == ("rose", 3, 1, 40)
    assert (tulip.objects, tulip.images, tulip.median_size) == (0, 0, None)
    assert found.unmatched is None


def test_sizes_in_training_are_those_of_the_resized_image():
    boxes = content([[0, 0, 40, 40]])
    found = dataset_statistics(boxes, scales=[Scale((400, 200)), Scale((800, 400))])
    training = found.sizes[1]
    assert training.where == "in training, 400 x 200 to 800 x 400 (2 scales)"
    assert training.sizes.quantiles[3] == pytest.approx((80 + 160) / 2)
    assert (training.medium, training.large) == (0, 1)


def test_boxes_that_no_anchor_matches():
    # Anchors of 32 x 32 at every 32 pixels, centred at multiples of 32.
    grid = AnchorGrid((np.array([[-16.0, -16, 16, 16]]),), (32,))
    exact, between, long = [16, 16, 32, 32], [32, 32, 32, 32], [0, 50, 200, 10]
    found = dataset_statistics(content([exact, between, long]), anchors=grid)
    assert found.unmatched.total == pytest.approx(2 / 3)
    assert found.unmatched.small is None and found.unmatched.large is None
    assert found.classes[0].unmatched == pytest.approx(2 / 3)
    assert "IoU of 0.5 or more" in found.unmatched.rule


def test_share_without_anchor_is_a_mean_over_the_scales():
    grid = AnchorGrid((np.array([[-16.0, -16, 16, 16]]),), (32,))
    scales = [Scale((200, 100)), Scale((2000, 1000))]
    found = dataset_statistics(content([[16, 16, 32, 32]]), scales=scales, anchors=grid)
    assert found.unmatched.total == 0.5


def test_crowds_and_what_is_unusable_are_counted_apart():
    good = {"image_id": 7, "category_id": 3, "bbox": [0, 0, 10, 10]}
    annotations = [
        good,
        good | {"iscrowd": 1, "bbox": None},
        good | {"image_id": 8},
        good | {"category_id": 4},
        good | {"bbox": [0, 0, 0, 10]},
        good | {"bbox": [300, 0, 10, 10]},
        good | {"bbox": [0, 0, float("nan"), 10]},
        good | {"bbox": [0, 0, float("inf"), 10]},
    ]
    found = dataset_statistics(content([], annotations=annotations))
    assert (found.objects, found.crowds, found.left_out) == (1, 1, 6)


@pytest.mark.parametrize(
    "bad",
    [
        {"bbox": None},
        {"bbox": [1, 2, 3]},
        {"bbox": ["a", 2, 3, 4]},
        {"bbox": [[1], 2, 3, 4]},
        {"bbox": "abcd"},
        {"image_id": [7]},
        {"category_id": {}},
    ],
)
def test_records_of_wrong_types_are_left_out(bad):
    good = {"image_id": 7, "category_id": 3, "bbox": [0, 0, 10, 10]}
    found = dataset_statistics(content([], annotations=[good, good | bad, 3, None]))
    assert (found.objects, found.left_out) == (1, 1)


@pytest.mark.parametrize("broken", [{}, {"images": 3, "annotations": None}, [], None])
def test_files_without_anything_have_statistics(broken):
    found = dataset_statistics(broken)
    assert (found.images, found.objects, found.classes) == (0, 0, ())
    assert "0 images" in found.as_text()


def test_images_without_a_size_do_not_take_part():
    images = [{"id": 7, "width": 0, "height": 5}, {"id": 8}, {"id": None}, 4]
    found = dataset_statistics(content([[0, 0, 10, 10]], images=images))
    assert (found.images, found.objects, found.left_out) == (0, 0, 1)


def test_chosen_classes_have_the_order_of_their_labels():
    objects = read_objects(content([[0, 0, 10, 10]]), ["tulip", "rose", "weed"])
    assert objects.classes == ("tulip", "rose", "weed")
    assert objects.labels.tolist() == [1]


def test_text_shows_every_table():
    grid = AnchorGrid((np.array([[-16.0, -16, 16, 16]]),), (32,))
    boxes = content([[16, 16, 32, 32], [0, 50, 200, 10]])
    text = dataset_statistics(boxes, scales=[Scale((200, 100))], anchors=grid).as_text()
    assert "2 images, 1 of them without objects\n2 objects of 1 of 2 classes, 0 crowds" in text
    assert "in training, 200 x 100: small 0, medium 2, large 0" in text
    assert "boxes that no anchor matches" in text and "50.0 %" in text
    assert text.splitlines()[-1].split() == ["tulip", "0", "0", "-", "-"]


def test_text_ends_with_what_it_does_not_show():
    categories = [{"id": i, "name": f"class {i}"} for i in range(25)]
    text = dataset_statistics(content([[0, 0, 10, 10]], categories=categories)).as_text()
    assert text.endswith("... and 5 classes more, with 0 objects")


def test_dict_is_plain_json():
    found = dataset_statistics(content([[0, 0, 10, 10]]), scales=[Scale((200, 100))])
    read = json.loads(json.dumps(found.as_dict()))
    assert read["objects"] == 1 and read["classes"][0]["name"] == "rose"
