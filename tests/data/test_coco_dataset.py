import gc
import json
import logging
import os
import pickle
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdet_lite.data.coco_dataset import CocoDataset

CROWD_ROWS = 10  # the crowd of the fixture covers the upper half of image 5


def coco_tiny() -> Path:
    default = Path(__file__).parents[3] / "shared" / "data" / "coco_tiny"
    folder = Path(os.environ.get("MMDET_LITE_COCO_TINY", default))
    if not folder.is_dir():
        pytest.skip(f"coco_tiny is not at {folder}; set MMDET_LITE_COCO_TINY")
    return folder


def test_sample_holds_the_objects_of_its_image(write_coco, coco):
    dataset = CocoDataset(**write_coco(coco), with_masks=True)
    assert len(dataset) == 2 and dataset.image_sizes.tolist() == [[30, 20], [20, 30]]
    assert dataset.classes == ("cat", "dog") and dataset.category_ids == (44, 18)
    sample = dataset[1]
    assert (sample.image_id, sample.index, sample.ori_shape) == (5, 1, (20, 30))
    assert sample.file.endswith("images/five.png")
    assert sample.annotation_ids.tolist() == [101, 104] and sample.labels.tolist() == [1, 0]
    assert sample.boxes.tolist() == [[2, 3, 12, 11], [25, 15, 30, 20]]  # the second is clipped
    assert sample.ignore_boxes.tolist() == [[0, 0, 30, 10]]
    assert sample.masks.bitmaps().sum(axis=(1, 2)).tolist() == [80, 25]
    assert sample.image.shape == (20, 30, 3) and (sample.image == 90).all()


def test_metainfo_chooses_classes_and_their_order(write_coco, coco, caplog):
    caplog.set_level(logging.INFO, "mmdet_lite")
    dataset = CocoDataset(**write_coco(coco), metainfo={"classes": ("dog",), "palette": [1]})
    assert dataset.classes == ("dog",) and dataset.category_ids == (18,)
    assert dataset[1].labels.tolist() == [0] and len(dataset[0].boxes) == 0
    assert len(dataset[1].ignore_boxes) == 1
    assert "2 of 4 annotations are of other classes" in caplog.text
    assert "metainfo: ['palette'] not used" in caplog.text
    both = CocoDataset(**write_coco(coco), metainfo={"classes": ["dog", "cat"]})
    assert both[1].labels.tolist() == [0, 1]


def test_images_without_objects_stay_unless_filtered(write_coco, coco):
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] == 9 or a["iscrowd"]]
    arguments = write_coco(coco)
    everything = CocoDataset(**arguments)
    assert len(everything) == 2 and everything[1].boxes.shape == (0, 4)
    filtered = CocoDataset(**arguments, filter_empty_gt=True)
    assert len(filtered) == 1 and filtered[0].image_id == 9
    assert [image["id"] for image in filtered.coco_dict()["images"]] == [9]


def test_small_images_are_left_out_as_asked(write_coco, coco, caplog):
    caplog.set_level(logging.INFO, "mmdet_lite")
    coco["images"][0]["height"] = 19  # 19 x 20 and 20 x 30
    arguments = write_coco(coco)
    assert len(CocoDataset(**arguments, min_size=19)) == 2
    assert "min_size" not in caplog.text
    dataset = CocoDataset(**arguments, min_size=20)
    assert [sample.image_id for sample in dataset] == [5]
    assert "1 images with a side of fewer than 20 pixels are left out (min_size)" in caplog.text
    assert len(CocoDataset(**arguments, min_size=21)) == 0
    assert CocoDataset(**arguments, min_size=20, filter_empty_gt=True, indices=[0])[0].image_id == 5


def test_indices_choose_images(write_coco, coco):
    arguments = write_coco(coco)
    assert [s.image_id for s in CocoDataset(**arguments, indices=1)] == [9]
    assert [s.image_id for s in CocoDataset(**arguments, indices=[1, 0])] == [5, 9]
    with pytest.raises(
        ValueError, match=r"indices=\[0, 2\] asks for images 2, but there are 2 to use"
    ):
        CocoDataset(**arguments, indices=[0, 2])


def test_coco_dict_is_the_file(write_coco, coco):
    ground_truth = CocoDataset(**write_coco(coco), with_masks=True).coco_dict()
    assert ground_truth["images"] == coco["images"]
    assert ground_truth["categories"] == coco["categories"]
    by_id = {a["id"]: a for a in ground_truth["annotations"]}
    assert by_id.keys() == {101, 102, 103, 104}
    for annotation in coco["annotations"]:
        found = by_id[annotation["id"]]
        if annotation["iscrowd"]:
            assert found["segmentation"]["size"] == annotation.pop("segmentation")["size"]
            found.pop("segmentation")
        assert found == annotation
    json.dumps(ground_truth)


def test_missing_areas_are_the_boxes(write_coco, coco):
    del coco["annotations"][0]["area"]
    areas = {a["id"]: a["area"] for a in CocoDataset(**write_coco(coco)).coco_dict()["annotations"]}
    assert areas[101] == 80


def test_uncompressed_rle_is_a_mask(write_coco, coco):
    coco["annotations"][2]["iscrowd"] = 0
    sample = CocoDataset(**write_coco(coco), with_masks=True)[1]
    mask = sample.masks.bitmaps()[sample.annotation_ids.tolist().index(103)]
    assert mask[:CROWD_ROWS].all() and not mask[CROWD_ROWS:].any()


def test_pickles_for_workers_that_are_spawned(write_coco, coco):
    dataset = pickle.loads(pickle.dumps(CocoDataset(**write_coco(coco), with_masks=True)))
    assert dataset[1].masks.bitmaps().sum() == 105


# What can be wrong with the file


def test_missing_annotation_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="not found: no/such.json") as error:
        CocoDataset("no/such.json", "images")
    assert str(tmp_path / "no" / "such.json") in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"images": [\n  1, ]', r"(?s)not JSON.*json_invalid.*\(line 2, column \d\)"),
        (b'{"images": [\n  1', r"it ends too early, it is cut off: .* \(line 2, column 4\)"),
        (b"\x89PNG\xff\xfe", "(?s)not JSON.*it is binary"),
        (b"", "(?s)not JSON.*it is empty"),
        (b"[1, 2]", "(?s)not in COCO's format.*list, expected dict"),
        (b'{"images": [], "info": 1}', r"(?s)missing_key: .*\(2\).*'categories'.*'annotations'"),
        (b'{"images": {}, "annotations": [], "categories": []}', "'images' is dict, expected list"),
    ],
)
def test_files_that_are_not_coco(tmp_path, content, message):
    (tmp_path / "wrong.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        CocoDataset(str(tmp_path / "wrong.json"), str(tmp_path))


def test_malformed_records_are_all_listed(write_coco, coco):
    arguments = write_coco(coco)
    del coco["images"][0]["height"]
    coco["images"][1]["id"] = "five"
    coco["annotations"][0]["bbox"] = [1, 2, 3]
    coco["annotations"][1] = None
    Path(arguments["ann_file"]).write_text(json.dumps(coco))
    with pytest.raises(ValueError) as error:
        CocoDataset(**arguments)
    message = str(error.value)
    assert "images[0] (id 9): 'height' is missing; there are ['file_name', 'id', 'w" in message
    assert "images[1]: 'id' is 'five', expected int" in message
    assert "annotations[0] (id 101): 'bbox' is [1, 2, 3], expected 4 numbers" in message
    assert "annotations[1]: None, expected a dict" in message


def test_everything_wrong_is_listed_at_once(write_coco, coco):
    arguments = write_coco(coco)
    coco["images"].append(coco["images"][0])
    coco["images"].append({"id": 6, "file_name": "six.png", "height": 4, "width": 5})
    coco["images"].append({"id": 6, "file_name": "six.png", "height": 0, "width": 5})
    coco["categories"].append({"id": 3, "name": "dog"})
    first, second, _, fourth = coco["annotations"]
    first["image_id"], second["category_id"] = 77, 78
    fourth["bbox"], fourth["id"] = [3, float("nan"), 2, 2], 101
    Path(arguments["ann_file"]).write_text(json.dumps(coco))
    with pytest.raises(ValueError) as error:
        CocoDataset(**arguments)
    message = str(error.value)
    assert message.startswith(f"annotation file {arguments['ann_file']} cannot be used:")
    for expected in (
        "- duplicate_id: an id is given twice (1):\n    id 9 of images, 2 times",
        "categories 18 and 3 are both 'dog'",
        "- unknown_image: an annotation of an image that is not listed (1):\n"
        "    annotation 101 (image 77): image_id 77",
        "    annotation 102 (image 9): category_id 78",
        "images[4] (id 6): 'height' is 0, expected an int of 1 to 1000000",
        "    annotations[3] (id 101): bbox [3, nan, 2, 2]",
        "- image_missing: a listed image has no file (1):\n    image 6: ",
    ):
        assert expected in message


@pytest.mark.parametrize("bbox", [[2, 2, 5, -1], [2, 2, -5, 5], [30, 2, 5, 5], [-9, 2, 5, 5]])
def test_boxes_that_are_wrong_are_an_error_or_left_out(write_coco, coco, bbox, caplog):
    coco["annotations"][0]["bbox"] = bbox
    arguments = write_coco(coco)
    with pytest.raises(
        ValueError, match=r"annotation 101 \(image 5\): bbox .* 30 wide and 20 high"
    ):
        CocoDataset(**arguments)
    sample = CocoDataset(**arguments, bad_annotations="skip")[1]
    assert sample.annotation_ids.tolist() == [104]
    assert "annotation 101 (image 5)" in caplog.text and "left out" in caplog.text


@pytest.mark.parametrize("bbox", [[2, 2, 0, 5], [2, 2, 5, 0.0], [2, 2, 1e-9, 5]])
def test_boxes_without_area_are_left_out_with_a_warning(write_coco, coco, bbox, caplog):
    coco["annotations"][0]["bbox"] = bbox
    sample = CocoDataset(**write_coco(coco))[1]
    assert sample.annotation_ids.tolist() == [104]
    assert "annotation 101 (image 5): bbox" in caplog.text and "left out" in caplog.text


def test_boxes_that_reach_out_are_clipped_with_a_warning(write_coco, coco, caplog):
    coco["annotations"][0]["bbox"] = [-3, 3, 10, 18]
    sample = CocoDataset(**write_coco(coco))[1]
    assert sample.boxes[0].tolist() == [0, 3, 7, 20]
    assert "bbox [-3, 3, 10, 18] reaches 3 pixels out of an image 30 wide" in caplog.text
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


def test_boxes_of_another_format_stop_unless_they_are_trusted(write_coco, coco):
    template = coco["annotations"][0]
    corners = [[16, 10, 29, 19], [18, 4, 27, 16], [20, 11, 30, 20], [1, 1, 9, 9]]
    coco["annotations"] = [template | {"id": i, "bbox": b} for i, b in enumerate(corners)]
    arguments = write_coco(coco)
    with pytest.raises(ValueError, match=r"(?s)box_xyxy_suspected.*3 of 4 boxes reach far") as e:
        CocoDataset(**arguments, bad_annotations="skip")
    assert "trust_boxes=True" in str(e.value) and "--fix OUT" in str(e.value)
    assert len(CocoDataset(**arguments, trust_boxes=True)[1].boxes) == 4
    for annotation, box in zip(coco["annotations"], corners, strict=True):
        annotation["bbox"] = [value / 30 for value in box]
    with pytest.raises(ValueError, match="(?s)box_normalized_suspected.*of 4 boxes is above 1.5"):
        CocoDataset(**write_coco(coco))


def test_nan_boxes_are_never_left_out(write_coco, coco):
    coco["annotations"][0]["bbox"][2] = float("inf")
    coco["annotations"][1]["bbox"][0] = float("nan")
    with pytest.raises(ValueError, match=r"\[0\] \(id 101\): bbox \[2, 3, inf, 8\]") as e:
        CocoDataset(**write_coco(coco), bad_annotations="skip", metainfo={"classes": ["dog"]})
    assert "annotations[1] (id 102): bbox [nan, 1, 5, 5]" in str(e.value)  # of another class


def test_many_problems_are_counted_and_the_first_shown(write_coco, coco):
    template = coco["annotations"][0]
    coco["annotations"] = [{**template, "id": i, "bbox": [0, 0, -1, 1]} for i in range(25)]
    with pytest.raises(ValueError) as error:
        CocoDataset(**write_coco(coco))
    message = str(error.value)
    assert "(25):" in message and "... and 15 more" in message
    assert "annotation 9 " in message and "annotation 10 " not in message


@pytest.mark.parametrize("far", [-2e5, 1e30, 1e308])
def test_polygons_that_reach_absurdly_far_are_refused(write_coco, coco, far):
    """pycocotools and the evaluation end the process over them, or take gigabytes."""
    coco["annotations"][0]["segmentation"] = [[2, 3, far, 3, 12, 11]]
    with pytest.raises(ValueError, match="annotation 101 .*: a polygon reaches .* pixels out of"):
        CocoDataset(**write_coco(coco), with_masks=True)


def test_missing_and_unusable_masks(write_coco, coco, caplog):
    del coco["annotations"][0]["segmentation"]
    coco["annotations"][1]["segmentation"] = [[1, 2, 3, 4, 5, 6, 7]]
    arguments = write_coco(coco)
    with pytest.raises(ValueError, match=r"annotation 101 \(image 5\): no 'segmentation'") as e:
        CocoDataset(**arguments, with_masks=True)
    assert "annotation 102 (image 9): a polygon of 7 numbers" in str(e.value)
    assert len(CocoDataset(**arguments)[1].boxes) == 2  # boxes alone can be used
    coco["annotations"].pop(0)
    skipping = CocoDataset(**write_coco(coco), with_masks=True, bad_annotations="skip")
    assert len(skipping[0].boxes) == 0 and "annotation 102" in caplog.text


def test_polygons_of_two_points_are_left_out_with_a_warning(write_coco, coco, caplog):
    coco["annotations"][0]["segmentation"].append([1, 2, 3, 4])
    coco["annotations"][1]["segmentation"] = [[1, 2, 3, 4]]
    dataset = CocoDataset(**write_coco(coco), with_masks=True)
    assert dataset[1].masks.bitmaps().sum(axis=(1, 2)).tolist() == [80, 25]
    assert len(dataset[0].boxes) == 0
    assert "annotation 101 (image 5): a polygon of 2 points: [1, 2, 3, 4]" in caplog.text
    assert "annotation 102 (image 9): a polygon of 2 points" in caplog.text


def test_missing_image_files_are_listed(write_coco, coco):
    arguments = write_coco(coco)
    (Path(arguments["image_dir"]) / "five.png").unlink()
    with pytest.raises(ValueError, match=r"(?s)image_missing: .*\(1\).*image 5: .*images/five.png"):
        CocoDataset(**arguments)


def test_missing_image_folder(write_coco, coco, tmp_path):
    arguments = write_coco(coco) | {"image_dir": str(tmp_path / "nowhere")}
    with pytest.raises(ValueError, match=r"(?s)image folder not found.*nowhere.*Correct image_dir"):
        CocoDataset(**arguments)


def test_images_in_subfolders_are_found(write_coco, coco, tmp_path):
    arguments = write_coco(coco)
    (tmp_path / "images" / "part").mkdir()
    (tmp_path / "images" / "five.png").rename(tmp_path / "images" / "part" / "five.png")
    coco["images"][1]["file_name"] = "part/five.png"
    Path(arguments["ann_file"]).write_text(json.dumps(coco))
    assert CocoDataset(**arguments)[1].image_id == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metainfo": {"classes": ("dog", "bird")}}, r"(?s)'bird'.*categories are: 'cat', 'dog'"),
        ({"metainfo": {"classes": "dog"}}, r"must be a list of names: write \['dog'\]"),
        ({"metainfo": {"classes": ["dog", "dog"]}}, "must be different names"),
        ({"bad_annotations": "ignore"}, "must be 'error' or 'skip', got 'ignore'"),
        ({"seed": -1}, "CocoDataset: seed must be 0 or larger, got -1"),
    ],
)
def test_wrong_arguments_are_named(write_coco, coco, arguments, message):
    with pytest.raises(ValueError, match=message):
        CocoDataset(**write_coco(coco), **arguments)


# What can be wrong with an image


def test_truncated_image_is_named_with_its_id(write_coco, coco):
    arguments = write_coco(coco)
    path = Path(arguments["image_dir"]) / "five.png"
    dataset = CocoDataset(**arguments)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="image id 5: image file .*five.png is truncated"):
        dataset[1]
    path.unlink()
    with pytest.raises(FileNotFoundError, match="image id 5: image file not found: .*five.png"):
        dataset[1]


def test_image_of_another_size_is_named_with_both(write_coco, coco):
    arguments = write_coco(coco)
    cv2.imwrite(f"{arguments['image_dir']}/nine.png", np.zeros((8, 9, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="8 high and 9 wide.* says 30 high and 20 wide"):
        CocoDataset(**arguments)[0]


def test_exif_rotation_is_suspected_when_edges_are_exchanged(write_coco, coco):
    coco["images"][0]["file_name"] = "nine.jpg"
    arguments = write_coco(coco)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (20, 30)).save(f"{arguments['image_dir']}/nine.jpg", exif=exif)
    with pytest.raises(ValueError, match="20 high and 30 wide.*EXIF orientation"):
        CocoDataset(**arguments)[0]


def test_real_data_agrees_with_pycocotools():
    from pycocotools.coco import COCO

    folder = coco_tiny()
    ann_file = folder / "annotations" / "instances_train2017.json"
    dataset = CocoDataset(str(ann_file), str(folder / "train2017"), with_masks=True, indices=12)
    reference = COCO(str(ann_file))
    assert len(dataset.classes) == 80 and dataset.category_ids[-1] == 90
    for sample in dataset:
        assert sample.image.shape[:2] == sample.ori_shape
        rasters = [
            reference.annToMask(reference.anns[key]) for key in sample.annotation_ids.tolist()
        ]
        bitmaps = sample.masks.bitmaps()
        assert len(rasters) == len(bitmaps)
        assert all((a == b).all() for a, b in zip(rasters, bitmaps, strict=True))


def test_python_objects_do_not_grow_with_the_annotations(write_coco, coco):
    """Each one that a worker reads would cost it a copy of the page in which its count lies."""
    numbers = []
    for key in (200, 1200):
        coco["annotations"] += [coco["annotations"][0] | {"id": key + i} for i in range(key)]
        dataset = CocoDataset(**write_coco(coco), with_masks=True)
        numbers.append(_count_objects(dataset))
    assert numbers[0] == numbers[1]


def _count_objects(root):
    """What one comes to from an object by references, classes and modules apart."""
    seen, queue = set(), [root]
    while queue:
        item = queue.pop()
        if id(item) not in seen and not isinstance(
            item, (type, types.ModuleType, types.FunctionType)
        ):
            seen.add(id(item))
            queue += gc.get_referents(item)
    return len(seen)
