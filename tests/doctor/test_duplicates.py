"""Which annotations and files count as the same."""

from __future__ import annotations

import json

import pytest
from corpus import sound

from mmdet_lite.doctor.annotations import check_annotation_file
from mmdet_lite.doctor.fix import write_corrected

FIRST = [12.8, 9.6, 25.5, 25.5]  # of annotation 300


def found(content: dict, tmp_path) -> list[tuple[int, str]]:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    findings = check_annotation_file(path).findings
    kinds = ("annotation_duplicate", "file_name_duplicate")
    return [(f.id, f.message) for f in findings if f.kind in kinds]


def with_another(**fields) -> dict:
    content = sound("polygons")
    assert content["annotations"][0]["bbox"] == FIRST
    content["annotations"].append(content["annotations"][0] | {"id": 7} | fields)
    return content


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "the same as annotation 300 but for its id"),
        (
            {"bbox": [12.8, 9.6, 25.5, 24.75]},
            "bbox [12.8, 9.6, 25.5, 24.75] is within 0.75 pixels of that of annotation 300, of the "
            "same category",
        ),
        (
            {"area": 640.0, "note": "x"},
            "bbox [12.8, 9.6, 25.5, 25.5] is that of annotation 300, of the same category; they "
            "differ in 'area', 'note'",
        ),
    ],
)
def test_message_says_how_two_are_alike(fields, message, tmp_path):
    assert found(with_another(**fields), tmp_path) == [(7, f"annotation 7 (image 3): {message}")]


@pytest.mark.parametrize(
    "fields",
    [
        {"image_id": 8},
        {"category_id": 2},
        {"bbox": [14, 9.6, 25.5, 25.5]},
        {"bbox": [12.8, 9.6, 25.5, 27]},
        {"iscrowd": 1},
    ],
)
def test_others_are_objects_of_their_own(fields, tmp_path):
    assert found(with_another(**fields), tmp_path) == []


def test_small_boxes_must_be_closer(tmp_path):
    content = sound("polygons")
    boxes = ([10, 10, 6, 6], [10.5, 10, 6, 6], [40, 10, 6, 6], [40, 10.2, 6, 6])
    content["annotations"] = [
        {"id": i, "image_id": 3, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)
    ]
    assert [key for key, _ in found(content, tmp_path)] == [3]


def test_each_copy_is_told_once_and_the_first_is_named(tmp_path):
    content = with_another()
    content["annotations"].append(content["annotations"][0] | {"id": 6})
    content["annotations"].append(content["annotations"][0] | {"id": 5, "area": 1})
    says = [(key, "annotation 300" in message) for key, message in found(content, tmp_path)]
    assert says == [(7, True), (6, True), (5, True)]


def test_the_later_of_two_that_are_the_same_is_removed(tmp_path):
    content = with_another()
    content["annotations"].append(content["annotations"][0] | {"id": 6, "bbox": [13, 9.6, 25, 25]})
    (tmp_path / "in.json").write_text(json.dumps(content))
    correction = write_corrected(tmp_path / "in.json", tmp_path / "out.json")
    assert [(c.section, c.id, c.kind) for c in correction.changes] == [
        ("annotations", 7, "annotation_duplicate")
    ]
    text = correction.as_text("out.json")
    assert "annotation_duplicate: removed, the same as an earlier one but for the id (1)" in text
    left = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert left == [a for a in content["annotations"] if a["id"] != 7]
    assert [(f.kind, f.id) for f in correction.left] == [("annotation_duplicate", 6)]


def test_file_under_two_ids_is_told_with_both(tmp_path):
    content = sound("polygons")
    content["images"][2]["file_name"] = "./003.png"
    assert found(content, tmp_path) == [(5, "images 3 and 5 are both '003.png'")]
