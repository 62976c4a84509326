"""What a path is taken for, and the data sets that a config may name so."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from coco_views import objects

from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.formats import ReadOptions, read_dataset, recognise, write_dataset


@pytest.mark.parametrize(
    ("files", "path", "expected"),
    [
        (["a.json"], "a.json", "coco"),
        (["Annotations/a.xml"], ".", "voc"),
        (["Annotations/a.xml", "ImageSets/Main/train.txt"], "ImageSets/Main/train.txt", "voc"),
        (["a.xml", "a.jpg"], ".", "voc"),
        (["data.yaml"], ".", "yolo"),
        (["mine.yml"], "mine.yml", "yolo"),
        (["boxes.csv"], "boxes.csv", "csv"),
        (["a.json", "a.jpg"], ".", "labelme"),
    ],
)
def test_formats_are_recognised(write, tmp_path, files, path, expected):
    for name in files:
        write(name, '{"version": "5", "shapes": []}')
    assert recognise(tmp_path / path) == expected


def test_what_is_not_recognised_is_told_what_would_be(write, tmp_path):
    with pytest.raises(ValueError) as error:
        recognise(write("labels/a.txt", "0 0.5 0.5 1 1"))
    assert "labels/a.txt is of no known format; recognised are:\n  coco, lvis" in str(error.value)
    with pytest.raises(ValueError, match="give the file in it that has the boxes: a.json"):
        recognise(write("coco/a.json", '{"images": []}').parent)
    with pytest.raises(ValueError, match="annotation of one image; give its folder"):
        recognise(write("a.xml", ""))
    with pytest.raises(ValueError, match="LabelMe's file of one image; give its folder"):
        read_dataset(write("a.json", '{"shapes": []}'))
    with pytest.raises(FileNotFoundError, match="nothing is at .*nowhere"):
        recognise(tmp_path / "nowhere")


def test_options_and_names_that_mean_nothing_are_refused(write):
    file = write("a.json", json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(ValueError, match="is read as coco, which has no split; got split='val'"):
        read_dataset(file, options=ReadOptions("val"))
    with pytest.raises(ValueError, match="format must be one of auto, coco, .*, got 'pascal'"):
        read_dataset(file, "pascal")
    with pytest.raises(ValueError, match="to write must be one of coco, voc.*, got 'lvis'"):
        write_dataset(read_dataset(file), "out", "lvis")


@pytest.mark.parametrize("name", ["voc", "yolo", "labelme", "csv"])
def test_a_config_may_name_any_format(round_trip, content, tmp_path, name):
    file = "out.csv" if name == "csv" else "out"
    round_trip(content, name, file)
    folder = str(tmp_path / "images") if name == "csv" else None
    dataset = CocoDataset(str(tmp_path / file), folder, metainfo=dict(classes=["tulip", "rose"]))
    assert dataset.classes == ("tulip", "rose")
    index = int(dataset.image_sizes[1, 0] == 40)  # the order of images may be the alphabet's
    sample = dataset.load(index)
    assert sample.boxes.tolist() == [[10, 5, 40, 25], [1.5, 2.25, 9.5, 12]]
    assert sample.labels.tolist() == [1, 0]
    assert len(sample.ignore_boxes) == (name in ("voc", "labelme"))
    assert sample.image.shape == (40, 60, 3)
    assert Path(sample.file).is_file()


def test_a_config_may_skip_bad_boxes_of_any_format_and_is_told(write, draw, caplog):
    draw("a.png")
    file = write("boxes.csv", "a.png,10,5,10,25,rose\na.png,1,2,9,9,rose\n")
    with pytest.raises(ValueError, match="boxes.csv:1: 'rose' from x1"):
        CocoDataset(str(file))
    with caplog.at_level(logging.WARNING, "mmdet_lite"):
        dataset = CocoDataset(str(file), bad_annotations="skip")
    assert len(dataset.load(0).boxes) == 1
    assert f"{file}: 1 boxes without area in their image are left out" in caplog.text


def test_real_images_go_through_every_format(coco_tiny, tmp_path, round_trip):
    file = coco_tiny / "annotations/instances_val2017.json"
    content = json.loads(file.read_text())
    content["images"] = content["images"][:6]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in kept]
    easy = content | {"annotations": [a for a in content["annotations"] if not a["iscrowd"]]}
    assert len(easy["annotations"]) > 20
    for name, file in (("voc", "v"), ("yolo", "y"), ("labelme", "l"), ("csv", "c.csv")):
        _, back = round_trip(content, name, file, coco_tiny / "val2017")
        expected = objects(content if name in ("voc", "labelme") else easy)
        found = objects(back.content)
        assert found.keys() == expected.keys()
        for image, rows in expected.items():
            assert [row[0] for row in found[image]] == [row[0] for row in rows]
            boxes = [row[1] for row in found[image]]
            # polygons' extents are COCO's boxes to a hundredth of a pixel, rounded; crowds' are not
            tolerance = 0.02 if name in ("yolo", "labelme") else 1e-5
            for box, (_, wanted) in zip(boxes, rows, strict=True):
                assert box == pytest.approx(wanted, abs=tolerance) or name == "labelme"
