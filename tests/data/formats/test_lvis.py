"""LVIS's json: the names of images, and the fields that its evaluation needs."""

from __future__ import annotations

import json
import pickle

import pytest

from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.formats import ReadOptions, read_dataset


@pytest.fixture
def lvis(write, draw):
    """Two images of which one is from COCO's training set; three categories."""
    url = "http://images.cocodataset.org"
    image = {"height": 40, "width": 60, "neg_category_ids": [], "not_exhaustive_category_ids": []}
    images = [
        image | {"id": 3, "coco_url": f"{url}/val2017/3.jpg", "neg_category_ids": [2, 7]},
        image | {"id": 8, "coco_url": f"{url}/train2017/8.jpg", "not_exhaustive_category_ids": [4]},
    ]
    annotation = {"id": 1, "image_id": 8, "category_id": 4, "bbox": [1, 2, 9, 9], "area": 50}
    categories = [
        {"id": key, "name": name, "frequency": frequency, "synset": f"{name}.n.01"}
        for key, name, frequency in ((2, "aerosol", "c"), (4, "air", "f"), (7, "newt", "r"))
    ]
    tables = {"images": images, "annotations": [annotation], "categories": categories}
    draw("val2017/3.jpg"), draw("train2017/8.jpg")
    return write("lvis.json", json.dumps(tables))


def test_it_is_told_from_coco_and_names_come_from_urls(lvis):
    source = read_dataset(lvis)
    assert source.format == "lvis"
    names = [image["file_name"] for image in source.content["images"]]
    assert names == ["val2017/3.jpg", "train2017/8.jpg"]
    elsewhere = read_dataset(lvis, "lvis", ReadOptions(image_dir=lvis.parent / "x"))
    assert elsewhere.image_dir == lvis.parent / "x"


def test_the_data_set_gives_what_the_evaluation_needs(lvis):
    dataset = pickle.loads(pickle.dumps(CocoDataset(str(lvis))))
    assert dataset.load(1).boxes.tolist() == [[1, 2, 10, 11]]
    tables = dataset.coco_dict()
    assert [image["neg_category_ids"] for image in tables["images"]] == [[2, 7], []]
    assert [image["not_exhaustive_category_ids"] for image in tables["images"]] == [[], [4]]
    assert [category["frequency"] for category in tables["categories"]] == ["c", "f", "r"]


def test_chosen_classes_and_images_keep_theirs(lvis):
    dataset = CocoDataset(str(lvis), metainfo=dict(classes=["newt", "air"]), indices=[1])
    tables = dataset.coco_dict()
    assert [(c["name"], c["frequency"]) for c in tables["categories"]] == [
        ("newt", "r"),
        ("air", "f"),
    ]
    assert [image["not_exhaustive_category_ids"] for image in tables["images"]] == [[4]]


def test_an_image_without_name_and_url_is_an_error(lvis):
    content = json.loads(lvis.read_text())
    del content["images"][1]["coco_url"]
    lvis.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"images\[1\].*'file_name' is missing"):
        CocoDataset(str(lvis))
