"""Data sets of which a config takes a part: figures and comparisons are of that part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdet_lite.apis.doctor import Examination, examine
from mmdet_lite.apis.doctor_sources import find_sources
from mmdet_lite.data.shapes_dataset import ShapesDataset

WHOLE = "; what is found is of all of them"


@pytest.fixture
def coco(tmp_path: Path) -> dict:
    ShapesDataset(num_images=6, image_size=(64, 64), data_seed=3).write(tmp_path)
    files = {"ann_file": f"{tmp_path}/annotations.json", "image_dir": f"{tmp_path}/images"}
    return files | {"type": "CocoDataset", "pipeline": [{"type": "NoSuchTransform"}]}


def look(train: dict, val: dict) -> tuple[Examination, list[str]]:
    """At the one file of two sections, and what is found between them."""
    cfg = Config({"train_data": {"dataset": train}, "val_data": {"dataset": val}})
    (result,), between = examine(find_sources(cfg), num_workers=1)
    return result, [finding.message for finding in between if finding.kind == "split_leak"]


def figures(result: Examination) -> list[tuple[int, tuple[str, ...]]]:
    return [(one.images, one.remarks) for one in result.statistics]


def test_whole_data_sets_have_figures_without_a_remark(coco):
    result, leaks = look(coco, {"type": "RepeatDataset", "times": 2, "dataset": coco})
    assert figures(result) == [(6, ())]
    assert leaks == ["it is the data set of train_data and val_data"]


def test_parts_have_figures_of_their_own_and_are_compared(coco):
    result, leaks = look(coco | {"indices": 4}, coco | {"indices": [4, 5]})
    assert figures(result) == [
        (4, ("train_data: figures of 4 of 6 images" + WHOLE,)),
        (2, ("val_data: figures of 2 of 6 images" + WHOLE,)),
    ]
    assert result.as_text().count("objects an image") == 2
    assert leaks == []


def test_images_that_two_parts_share_are_leaks(coco):
    result, leaks = look(coco | {"indices": 4}, coco | {"indices": [3, 5]})
    ids = [image["id"] for image in result.content["images"]]
    assert leaks == [f"image {ids[3]} of val_data is in train_data too"]
    result, leaks = look(coco | {"indices": 2}, coco | {"indices": [0, 1]})
    assert [images for images, _ in figures(result)] == [2]
    assert leaks == ["it is the data set of train_data and val_data"]


def test_a_subset_is_counted_as_it_is_drawn(coco):
    half = {"type": "SubsetDataset", "fraction": 0.5, "dataset": coco}
    result, leaks = look({"type": "RepeatDataset", "times": 3, "dataset": half}, coco)
    assert figures(result) == [
        (3, ("train_data: figures of 3 of 6 images" + WHOLE,)),
        (6, ("val_data: figures of all 6 images" + WHOLE,)),
    ]
    assert len(leaks) == 3


def test_a_subset_of_several_data_sets_is_counted_in_each(coco, tmp_path):
    path = tmp_path / "more.json"
    content = json.loads(Path(coco["ann_file"]).read_text())
    for record in content["images"]:
        record["id"] += 100
    for record in content["annotations"]:
        record["image_id"] += 100
    path.write_text(json.dumps(content))
    both = {"type": "ConcatDataset", "datasets": [coco, coco | {"ann_file": str(path)}]}
    half = {"type": "SubsetDataset", "fraction": 0.5, "dataset": both}
    results, _ = examine(find_sources(Config({"train_data": {"dataset": half}})), num_workers=1)
    counts = [result.statistics[0].images for result in results]
    assert sum(counts) == 6 and min(counts) > 0


def test_a_part_that_cannot_be_loaded_is_said_to_be_unknown(coco):
    path = Path(coco["ann_file"])
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = 77
    path.write_text(json.dumps(content))
    result, leaks = look(coco | {"indices": 4}, coco)
    (first, (remark,)), (second, _) = figures(result)
    assert first == second == 6 and leaks == []
    assert remark == (
        "train_data: figures of all 6 images, of a part that is not known (annotation file "
        f"{path} cannot be used)"
    )


def test_boxes_of_another_format_are_said_to_be_as_they_stand(coco):
    path = Path(coco["ann_file"])
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation["bbox"] = [x, y, x + w, y + h]
    path.write_text(json.dumps(content))
    result, _ = look(coco, coco)
    remark = "sizes and shapes of the boxes as they stand, not of the objects: see "
    assert figures(result) == [(6, (remark + "box_xyxy_suspected",))]
    assert f"\n\n{remark}box_xyxy_suspected\n6 images, " in result.as_text()
