"""What is said of classes."""

from __future__ import annotations

from corpus import sound

from mmdet_lite.data.problems import Problems
from mmdet_lite.doctor.annotations import check_annotations


def test_a_chosen_class_without_objects_is_told_with_the_one_that_may_be_meant():
    content = sound("polygons")
    content["categories"].append({"id": 4, "name": "Rose"})
    findings = check_annotations(content, Problems("a"), ["Rose", "tulip", "daisy"]).findings
    assert [(f.kind, f.message) for f in findings] == [
        (
            "class_unused",
            "category 4, 'Rose', has no object; did you mean 'rose', which is not chosen?",
        )
    ]
    findings = check_annotations(content, Problems("a")).findings
    assert [f.message for f in findings] == ["category 4, 'Rose', has no object"]
