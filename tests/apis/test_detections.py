"""The result of an image: parts of it, pictures, COCO, supervision."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from mmdet_lite.apis.detections import Detections, MaskPatches
from mmdet_lite.visualization.palette import class_color

GREY = 90


def make(with_masks: bool = True, file: Path | None = None) -> Detections:
    """A dog, a cat and a dog in an image of 400 x 500 pixels."""
    boxes = np.array([[10, 20, 110, 220], [200, 100, 300, 200], [0, 0, 50, 50]], np.float32)
    patches = MaskPatches(torch.ones(3, 4, 4), torch.from_numpy(boxes), 0.5, "sample")
    return Detections(
        boxes=boxes,
        scores=np.array([0.9, 0.5, 0.25], np.float32),
        labels=np.array([1, 0, 1]),
        classes=("cat", "dog"),
        category_ids=(17, 18),
        size=(400, 500),
        name="pets.jpg",
        file=file,
        patches=patches if with_masks else None,
        _image=None if file else np.full((400, 500, 3), GREY, np.uint8),
    )


def test_repr_says_what_was_found():
    assert repr(make()) == (
        "<Detections of pets.jpg (500 x 400): 2 dog, 1 cat; scores 0.25 to 0.90, with masks>"
    )
    assert repr(make(False)[[]]) == "<Detections of pets.jpg (500 x 400): nothing>"


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        (0, [0]),
        (-1, [2]),
        (slice(1, None), [1, 2]),
        ([2, 0], [2, 0]),
        (np.array([True, False, True]), [0, 2]),
        ("dog", [0, 2]),
        (["cat", "dog"], [0, 1, 2]),
        ([], []),
    ],
)
def test_parts_are_chosen_by_place_mask_or_class(key, rows):
    found = make()
    part = found[key]
    np.testing.assert_array_equal(part.boxes, found.boxes[rows])
    np.testing.assert_array_equal(part.masks, found.masks[rows])
    assert part.names == [found.names[row] for row in rows]


def test_unknown_class_and_place_are_refused():
    with pytest.raises(KeyError, match="no class 'cow'; it has cat, dog"):
        make()["cow"]
    with pytest.raises(IndexError):
        make()[3]
    assert [one.names for one in make()] == [["dog"], ["cat"], ["dog"]]


def test_above_keeps_the_scores_from_there_on():
    assert make().above(0.5).names == ["dog", "cat"]


def test_masks_fill_their_boxes():
    masks = make().masks
    assert masks.shape == (3, 400, 500) and masks.dtype == bool
    assert masks[0, 30:210, 15:105].all()
    assert masks[0].sum() == masks[0, 20:220, 10:110].sum()
    assert make(False).masks is None


def test_tensors_are_copies():
    found = make()
    tensors = found.tensors()
    assert tensors.keys() == {"boxes", "scores", "labels", "masks"}
    assert tensors["masks"].dtype == torch.bool and tensors["labels"].tolist() == [1, 0, 1]
    tensors["boxes"].zero_()
    assert found.boxes.any()
    assert "masks" not in make(False).tensors()


def test_picture_has_boxes_masks_and_names_from_the_score_on():
    drawn = make().draw(score=0.4)
    assert tuple(drawn[150, 10]) == class_color(1) and tuple(drawn[200, 250]) == class_color(0)
    assert (drawn[150, 50] != GREY).any()  # of the mask
    assert tuple(drawn[25, 25]) != class_color(1) and (drawn[390] == GREY).all()
    assert (make(False)[2].draw() == GREY).all()


def test_picture_of_a_file_is_read_again(tmp_path):
    file = tmp_path / "pets.png"
    cv2.imwrite(str(file), np.full((400, 500, 3), 7, np.uint8))
    assert (make(file=file).image == 7).all()
    make(file=file).save(tmp_path / "new/drawn.jpg")
    assert cv2.imread(str(tmp_path / "new/drawn.jpg")).shape == (400, 500, 3)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="pets.png"):
        make(file=file).draw()


def test_coco_results_hold_boxes_scores_and_masks():
    entries = make().to_coco(image_id=5)
    assert entries[1].keys() == {"image_id", "category_id", "bbox", "score", "segmentation"}
    assert [e["category_id"] for e in entries] == [18, 17, 18]
    assert entries[0]["bbox"] == [10.0, 20.0, 100.0, 200.0] and entries[0]["image_id"] == 5
    np.testing.assert_array_equal(coco_mask.decode(entries[0]["segmentation"]), make().masks[0])
    entries = make(False).to_coco(category_ids={"dog": 2, "cat": 1})
    assert [e["category_id"] for e in entries] == [2, 1, 2] and "segmentation" not in entries[0]
    with pytest.raises(KeyError, match="cat"):
        make().to_coco(category_ids={"dog": 2})


def test_supervision_gets_everything(monkeypatch):
    module = types.ModuleType("supervision")
    module.Detections = lambda **given: given
    monkeypatch.setitem(sys.modules, "supervision", module)
    given = make().to_supervision()
    assert given["class_id"].tolist() == [1, 0, 1]
    assert given["data"]["class_name"].tolist() == ["dog", "cat", "dog"]
    assert given["mask"].shape == (3, 400, 500) and given["xyxy"].shape == (3, 4)
    assert given["confidence"].dtype == np.float32


def test_supervision_that_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="pip install supervision"):
        make().to_supervision()
