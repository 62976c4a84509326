"""Reading what another run found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from evaluation_scenes import SIZE, random_scene

from mmdet_lite.evaluation.coco_results import write_json
from mmdet_lite.evaluation.other_run import find_files, read_other, write_report_json


@pytest.fixture
def written(tmp_path):
    """A scene, and its detections as --out writes them to tmp_path/found."""
    scene = random_scene(9)
    for kind in ("bbox", "segm"):
        path = tmp_path / f"found.{kind}.json"
        write_json(scene.results(), scene.category_ids, kind == "segm", path)
    return scene


def read(path, scene):
    sizes = dict.fromkeys(scene.image_ids, SIZE)
    return read_other(find_files(path), sizes, scene.category_ids)


@pytest.mark.parametrize("name", ["found", "found.bbox.json", "found.segm.json"])
def test_detections_come_back_as_they_were(written, tmp_path, name):
    other = read(tmp_path / name, written)
    expected = written.results()
    assert other.name == f"{tmp_path.name}/found"
    assert other.results.keys() == {"bbox", "segm"}
    for results in other.results.values():
        for column in ("image_ids", "labels", "scores", "sizes"):
            np.testing.assert_array_equal(getattr(results, column), getattr(expected, column))
    np.testing.assert_array_equal(other.results["bbox"].boxes_xywh, expected.boxes_xywh)
    assert other.results["segm"].rles == expected.rles
    np.testing.assert_allclose(other.results["segm"].boxes_xywh, expected.boxes_xywh, atol=1)


def test_a_file_of_any_name_is_read(written, tmp_path):
    (tmp_path / "found.bbox.json").rename(tmp_path / "mine.txt")
    assert find_files(tmp_path / "mine.txt") == {"bbox": tmp_path / "mine.txt"}


def test_a_report_is_found_by_its_folder_or_file(tmp_path):
    write_report_json(tmp_path / "a/report.json", {"classes": ["cat"]})
    for path in (tmp_path / "a", tmp_path / "a/report.json"):
        other = read_other(find_files(path), {}, [])
        assert other.report["classes"] == ["cat"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a JSON file"),
        ("{}", "neither a report nor detections"),
        ("[]", "neither a report nor detections"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=f"file.json: {message}.*--compare takes the folder"):
        find_files(path)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such file; --compare takes"):
        find_files(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="this folder has no report.json"):
        find_files(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 77}, r"image_id 77 \(1 in all\) is not in the data set"),
        ({"category_id": 4}, r"category_id 4 \(1 in all\) is not in the data set"),
        ({"score": "high"}, "not detections in COCO's results format"),
        ({"bbox": [1, 2]}, "not detections in COCO's results format"),
    ],
)
def test_detections_of_something_else_are_refused(written, tmp_path, change, message):
    path = tmp_path / "found.bbox.json"
    entries = json.loads(path.read_text())
    entries[3] |= change
    path.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match=message):
        read(path, written)
