"""What is made up is a sound file, and a check of it is timed."""

from __future__ import annotations

import json
import sys

import pytest

from mmdet_lite.benchmarks.doctor import benchmark_doctor, write_annotations
from mmdet_lite.doctor.annotations import check_annotation_file


@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured by Unix's means")
def test_time_and_memory_are_measured(tmp_path):
    write_annotations(tmp_path / "other.json", 2, 5)
    rows = benchmark_doctor([tmp_path / "other.json"], num_images=3, num_annotations=9, rounds=1)
    assert [(row.case, row.unit) for row in rows] == [
        ("other.json: time", "s"),
        ("other.json: time of the processor", "s"),
        ("other.json: peak memory", "MB"),
        ("3 images, 9 annotations, made up: time", "s"),
        ("3 images, 9 annotations, made up: time of the processor", "s"),
        ("3 images, 9 annotations, made up: peak memory", "MB"),
    ]
    assert all(row.ours > 0 for row in rows)
    assert all(row.ours < 400 for row in rows if row.unit == "MB")  # torch is not imported


def test_made_up_file_is_sound_but_for_classes_without_objects(tmp_path):
    write_annotations(tmp_path / "made.json", num_images=20, num_annotations=300)
    content = json.loads((tmp_path / "made.json").read_text())
    assert [len(content[name]) for name in ("images", "annotations")] == [20, 300]
    assert {f.kind for f in check_annotation_file(tmp_path / "made.json").findings} <= {
        "class_unused"
    }
