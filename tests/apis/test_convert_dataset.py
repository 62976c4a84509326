"""`mmdet-lite convert`: what it writes, what it says, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.evaluation import VOCMetric


@pytest.fixture
def shapes(tmp_path, monkeypatch):
    """The working directory with three small pictures as COCO in ``shapes``."""
    monkeypatch.chdir(tmp_path)
    ShapesDataset(3, (48, 64)).write("shapes")
    return "shapes/annotations.json"


def test_there_and_back_with_the_command_that_comes_next(shapes, run_cli):
    arguments = ("--to", "yolo", "--out-split", "val", "--image-dir", "shapes/images")
    result = run_cli("convert", shapes, "yolo", *arguments)
    lines = result.out.splitlines()
    count = len(json.loads(Path(shapes).read_text())["annotations"])
    assert lines[0] == "read shapes/annotations.json as coco"
    assert lines[1] == f"3 images (0 without objects), {count} objects ({count} with masks)"
    assert lines[2].startswith("6 classes: circle ")
    assert lines[3].startswith(f"note: {count} masks are not written, only boxes")
    assert lines[4] == "wrote yolo (yolo); look at it:"
    options = "train_data.dataset.ann_file=yolo train_data.dataset.image_dir=None"
    assert lines[5].endswith(f"--cfg-options {options} train_data.dataset.split=val")

    result = run_cli("convert", "yolo", "back.json", "--split", "val")
    assert "read yolo as yolo\n" in result.out
    command = result.out.splitlines()[-1].split()
    assert command[:2] == ["mmdet-lite", "browse-dataset"]
    looked = run_cli(*command[1:], "--out-dir", "seen")
    assert looked.code == 0, looked.err
    assert "wrote 3 pictures to seen" in looked.out
    dataset = CocoDataset("back.json", "yolo")
    assert [len(dataset.load(i).boxes) for i in range(3)] == [
        len(ShapesDataset(3, (48, 64)).load(i).boxes) for i in range(3)
    ]


def test_a_data_set_of_voc_is_evaluated_by_its_metric(shapes, run_cli):
    run_cli("convert", shapes, "voc", "--to", "voc", "--image-dir", "shapes/images")
    metric = VOCMetric()
    metric.prepare(CocoDataset("voc"))
    assert metric.names()[:2] == ["voc_mAP", "voc_mAP_50"]


def test_broken_and_turned_images_are_notes(shapes, run_cli):
    files = sorted(Path("shapes/images").iterdir())
    files[0].write_bytes(b"")
    turned = Image.Exif()
    turned[0x112] = 6
    with Image.open(files[1]) as image:
        image.save(files[1], exif=turned)
    result = run_cli("convert", shapes, "boxes.csv", "--to", "csv", "--image-dir", "shapes/images")
    assert result.code == 0 and "wrote boxes.csv" in result.out
    assert "note: image_corrupt: an image file cannot be decoded (1):\n" in result.out
    assert "    shapes/images/000001.png: it is empty (0 bytes)\n" in result.out
    assert "note: exif_rotated: " in result.out
    assert "000002.png: the annotation file says 48 high and 64 wide; the EXIF " in result.out


def test_nothing_is_written_if_no_image_can_be_read(shapes, run_cli):
    for file in Path("shapes/images").iterdir():
        file.write_text("<html>404</html>")
    result = run_cli("convert", shapes, "voc", "--to", "voc", "--image-dir", "shapes/images")
    assert result.code == 1 and "error: none of the 3 images can be read:\n" in result.err
    assert "000001.png: it is a web page, probably the error page of a download" in result.err
    assert not Path("voc").exists()


def test_missing_images_are_a_note_where_they_are_not_copied(shapes, run_cli):
    result = run_cli("convert", shapes, "boxes.csv", "--to", "csv")
    assert result.code == 0
    assert "note: image_missing: a listed image has no file (3):\n" in result.out
    assert "    image 1: shapes/000001.png\n" in result.out


def test_what_a_training_would_refuse_is_refused(shapes, cli_error, run_cli):
    content = json.loads(Path(shapes).read_text())
    content["annotations"][0]["bbox"][2] = -1
    content["annotations"][1]["bbox"][2] = 0
    Path(shapes).write_text(json.dumps(content))
    message = cli_error("convert", shapes, "a.csv", "--to", "csv")
    assert message.startswith("annotation file shapes/annotations.json cannot be used:\n- box_")
    result = run_cli("convert", shapes, "a.csv", "--to", "csv", "--skip-bad")
    assert f", {len(content['annotations']) - 2} objects" in result.out
    assert "note: left out:\n- box_degenerate: a box without area (1):\n" in result.out
    assert "has a negative width" in result.out and "has no width or height" in result.out


def test_classes_that_are_given_are_all(shapes, cli_error, run_cli, tmp_path):
    run_cli("convert", shapes, "labelme", "--to", "labelme", "--image-dir", "shapes/images")
    names = ["circle", "square", "triangle", "star", "ring", "cross", "heart"]
    result = run_cli("convert", "labelme", "a.json", "--classes", *reversed(names))
    assert [c["name"] for c in json.loads((tmp_path / "a.json").read_text())["categories"]] == [
        *reversed(names)
    ]
    assert "note: no object is of the classes heart, " in result.out
    message = cli_error("convert", "labelme", "a.json")
    assert message == "a.json is there already: choose another name, or remove it"
    message = cli_error("convert", "labelme", "c.json", "--classes", "heart")
    assert message.startswith("labelme has objects of the classes ")
    assert message.endswith(", which --classes does not list: heart")
    message = cli_error("convert", shapes, "b.json", "--classes", "star")
    assert message == f"{shapes} is read as coco, which has a list of classes itself"


def test_the_source_is_not_written_over(shapes, cli_error):
    message = cli_error("convert", shapes, "shapes/../shapes/annotations.json")
    assert message.endswith("is the source itself")
