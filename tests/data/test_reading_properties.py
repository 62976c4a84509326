"""What a COCO file says comes back from the data set, for random boxes, masks and crowds."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mmdet_lite.data.coco_checks import clip_boxes
from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.structures.masks import InstanceMasks

NAMES = ("rose", "tulip", "aster")
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def boxes_of(draw, size) -> list[float]:
    """x, y, width, height; at least half a pixel inside, and often beyond the edges."""
    height, width = size
    x, y = (draw(st.floats(-10, edge - 0.5)) for edge in (width, height))
    inside = [max(0.0, -start) + 0.5 for start in (x, y)]
    return [x, y, *(draw(st.floats(least, least + 50)) for least in inside)]


@st.composite
def masks_of(draw, size) -> list | dict:
    height, width = size
    kind = draw(st.sampled_from(["polygons", "counts", "text"]))
    if kind == "polygons":
        coordinates = st.floats(-5, 45, width=32)
        polygon = st.lists(coordinates, min_size=6, max_size=14).map(lambda p: p[: len(p) // 2 * 2])
        return draw(st.lists(polygon, min_size=1, max_size=3))
    cuts = sorted(draw(st.lists(st.integers(0, height * width), max_size=8)))
    rle = {"size": [height, width], "counts": np.diff([0, *cuts, height * width]).tolist()}
    if kind == "counts":
        return rle
    return rle | {"counts": coco_mask.frPyObjects(rle, height, width)["counts"].decode()}


@st.composite
def coco_files(draw) -> dict:
    """Images, sparse category ids in any order, annotations in any order."""
    keys = draw(st.lists(st.integers(1, 10**6), min_size=3, max_size=3, unique=True))
    images, annotations = [], []
    for image_id in draw(st.lists(st.integers(0, 10**9), min_size=1, max_size=3, unique=True)):
        size = draw(sizes)
        file_name = f"{image_id}.png"
        images.append({"id": image_id, "file_name": file_name, "height": size[0], "width": size[1]})
        for _ in range(draw(st.integers(0, 3))):
            annotations.append(
                {
                    "id": len(annotations) + 5,
                    "image_id": image_id,
                    "category_id": draw(st.sampled_from(keys)),
                    "bbox": draw(boxes_of(size)),
                    "area": draw(st.floats(0, 1000, width=32)),
                    "iscrowd": int(draw(st.integers(0, 4)) == 0),
                    "segmentation": draw(masks_of(size)),
                }
            )
    return {
        "images": images,
        "categories": [{"id": key, "name": n} for key, n in zip(keys, NAMES, strict=True)],
        "annotations": draw(st.permutations(annotations)),
    }


def load(content: dict, check, **options) -> None:
    """Write a file and its images, and call ``check`` with the data set while they are there."""
    with TemporaryDirectory() as folder:
        for image in content["images"]:
            pixels = np.zeros((image["height"], image["width"], 3), np.uint8)
            cv2.imwrite(f"{folder}/{image['file_name']}", pixels)
        path = Path(folder) / "annotations.json"
        path.write_text(json.dumps(content))
        check(CocoDataset(str(path), folder, with_masks=True, **options))


@given(coco_files(), st.permutations(NAMES))
def test_samples_are_what_the_file_says(content, classes):
    names = {c["id"]: c["name"] for c in content["categories"]}

    def check(dataset: CocoDataset) -> None:
        for index, image in enumerate(content["images"]):
            sample, size = dataset[index], (image["height"], image["width"])
            records = [a for a in content["annotations"] if a["image_id"] == image["id"]]
            objects = [a for a in records if not a["iscrowd"]]
            assert sample.image_id == image["id"] and sample.size == size
            assert sample.annotation_ids.tolist() == [a["id"] for a in objects]
            labels = [classes.index(names[a["category_id"]]) for a in objects]
            assert sample.labels.tolist() == labels == dataset.labels_of(index).tolist()
            for boxes, of in ((sample.boxes, objects), (sample.ignore_boxes, records)):
                of = [a for a in of if a["iscrowd"] == (of is records)]
                expected = np.array([a["bbox"] for a in of]).reshape(-1, 4)
                np.testing.assert_array_equal(boxes, clip_boxes(expected, np.array(size)))
                assert (boxes[:, 2:] > boxes[:, :2]).all()
            np.testing.assert_array_equal(
                sample.masks.bitmaps(),
                InstanceMasks.from_coco([a["segmentation"] for a in objects], size).bitmaps(),
            )

    load(content, check, metainfo={"classes": classes})


@given(coco_files())
def test_the_ground_truth_is_the_file(content):
    def check(dataset: CocoDataset) -> None:
        truth = dataset.coco_dict()
        assert truth["images"] == content["images"]
        assert truth["categories"] == content["categories"]
        ours = {a["id"]: a for a in truth["annotations"]}
        assert ours.keys() == {a["id"] for a in content["annotations"]}
        sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
        for theirs in content["annotations"]:
            own, size = ours[theirs["id"]], sizes[theirs["image_id"]]
            bitmaps = [
                InstanceMasks.from_coco([a.pop("segmentation")], size).bitmaps()
                for a in (own, theirs)
            ]
            np.testing.assert_array_equal(*bitmaps)
            assert own == theirs

    load(content, check)


@given(st.data(), sizes)
def test_clipped_boxes_are_the_part_inside(data, size):
    box = np.array([data.draw(boxes_of(size))], dtype=np.float64)
    x1, y1, x2, y2 = clip_boxes(box, np.array(size))[0].tolist()
    assert 0 <= x1 < x2 <= size[1] and 0 <= y1 < y2 <= size[0]
    start, end = box[0, :2], box[0, :2] + box[0, 2:]
    for value, low, high, limit in ((x1, 0, x2, size[1]), (y1, 0, y2, size[0])):
        assert low <= value < high <= limit
    np.testing.assert_allclose([x1, y1], start.clip(0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose([x2, y2], np.minimum(end, size[::-1]), rtol=1e-6, atol=1e-6)
