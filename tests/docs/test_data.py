"""The files of docs/data.md work, and the messages it quotes are the code's."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from corpus import all_variants

from mmdet_lite.apis.browse import browse_dataset
from mmdet_lite.apis.classes import fill_num_classes
from mmdet_lite.apis.config import load_config
from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.findings import KINDS
from mmdet_lite.data.formats import ReadOptions, read_dataset, write_dataset
from mmdet_lite.registry import DATASETS, METRICS, MODELS, TRANSFORMS, build

NAME = "docs/data.md"


@pytest.fixture
def flowers(read_page, write_files, workspace) -> Path:
    """The folder that the page's configs read from, filled with the page's annotation file."""
    write_files(NAME)
    folder = workspace / "data/flowers"
    (folder / "images").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / f"{split}.json").write_text(read_page(NAME).blocks("json")[0])
    for image in ("rose", "meadow"):
        pixels = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"images/{image}.png"), pixels)
    (folder / "boxes.csv").write_text(
        "image,x1,y1,x2,y2,label\nrose.png,40,30,100,80,rose\nrose.png,0,0,9,9,tulip\n"
    )
    return folder


def test_the_smallest_file_and_its_config_fit(flowers):
    cfg = load_config("my_flowers.py")
    cfg.model.backbone.depth, cfg.model.neck.in_channels = 18, [64, 128, 256, 512]
    dataset = build(cfg.train_data.dataset, DATASETS, seed=0)
    cfg = fill_num_classes(cfg, dataset.classes, "train_data")
    assert build(cfg.model, MODELS).num_classes == len(dataset.classes) == 2
    sample = dataset.load(0)
    assert sample.boxes.tolist() == [[40, 30, 100, 80]]
    assert sample.masks.bitmaps().sum() == 60 * 50
    assert len(dataset.load(1).boxes) == 0
    build(cfg.metric, METRICS).prepare(build(cfg.val_data.dataset, DATASETS, seed=0))


def test_the_quoted_report_is_what_a_wrong_file_gives(flowers, read_page):
    content = json.loads((flowers / "train.json").read_text())
    content["annotations"][0]["bbox"][2] = -60
    content["annotations"].append(content["annotations"][0] | {"id": 2, "category_id": 4})
    (flowers / "train.json").write_text(json.dumps(content))
    (flowers / "images/meadow.png").unlink()
    with pytest.raises(ValueError) as error:
        CocoDataset("data/flowers/train.json", "data/flowers/images")
    assert str(error.value) + "\n" in read_page(NAME).blocks("text")


def test_what_the_doctor_is_quoted_with_is_what_it_says(flowers, read_page, run_cli):
    content = json.loads((flowers / "train.json").read_text())
    first = content["annotations"][0]
    first["bbox"] = [40, 30, 125, 50]
    content["annotations"].append(first | {"id": 2, "category_id": 4})
    content["annotations"].append(first | {"id": 3, "bbox": [20, 30, 0, 5]})
    (flowers / "train.json").write_text(json.dumps(content))
    (flowers / "images/meadow.png").unlink()
    files = ["--ann", "data/flowers/train.json", "--images", "data/flowers/images"]
    result = run_cli("doctor", *files, "--workers", 1, "--fix", "data/flowers/fixed.json")
    examined, _, fixed = result.out.partition("\n\nwrote ")
    assert result.code == 2
    assert {f"{examined}\n", f"wrote {fixed}"} <= set(read_page(NAME).blocks("text"))


def test_the_count_of_wrong_files_is_that_of_the_corpus(read_page):
    variants = all_variants()
    page = read_page(NAME).text
    assert f"makes {len(variants)} annotation files that are wrong" in page
    for kind, count in Counter(variant.kind for variant in variants).items():
        assert f"| `{kind}` | {KINDS[kind]} | {count} |" in page


@pytest.fixture
def other_formats(flowers) -> None:
    """The page's annotation file as a data set of YOLO and one of VOC."""
    options = ReadOptions(image_dir=flowers / "images")
    source = read_dataset(flowers / "train.json", options=options)
    write_dataset(source, "data/flowers_yolo", "yolo", "train")
    for split in ("train", "val"):
        write_dataset(source, "data/flowers_voc", "voc", split)


def test_the_quoted_conversion_is_what_the_command_says(other_formats, read_page, run_cli):
    (command,) = (b for b in read_page(NAME).blocks("bash") if "mmdet-lite convert" in b)
    result = run_cli(*command.split()[1:])
    assert result.out in read_page(NAME).blocks("text"), result.out


def test_the_quoted_report_on_labels_is_what_wrong_ones_give(other_formats, read_page):
    lines = ["1 0.4 0.4 0.3", "1 0.5 0.5 0.2 0.2", "2 0.5 0.5 0.2 0.2"]
    Path("data/flowers_yolo/labels/train/rose.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError) as error:
        CocoDataset("data/flowers_yolo")
    assert str(error.value) + "\n" in read_page(NAME).blocks("text"), str(error.value)


def test_the_config_of_another_format_fits_its_metric(other_formats):
    cfg = load_config("my_voc.py")
    dataset = build(cfg.train_data.dataset, DATASETS, seed=0)
    assert len(dataset) == 1  # the base leaves out images without objects
    assert dataset.load(0).boxes.tolist() == [[40, 30, 100, 80]]
    metric = build(cfg.metric, METRICS)
    metric.prepare(build(cfg.val_data.dataset, DATASETS, seed=0))
    assert metric.names() == ["voc_mAP", "voc_mAP_50", "voc_AP/rose", "voc_AP/tulip"]


def test_a_data_set_class_and_a_transform_of_ones_own(flowers, workspace):
    cfg = load_config("my_csv_config.py")
    dataset = build(cfg.train_data.dataset, DATASETS, seed=0)
    assert dataset.load(0).labels.tolist() == [0, 1]
    sample = dataset[0]
    assert sample.boxes[0].tolist() == pytest.approx([40 * 6.67, 200, 100 * 6.67, 533], abs=1.5)
    build(cfg.metric, METRICS).prepare(dataset)
    assert len(browse_dataset(cfg, workspace / "pictures")) == 1


def test_the_transform_is_grey_as_often_as_it_says(flowers):
    import my_transforms

    cfg = load_config("my_csv_config.py")
    sample = build(cfg.train_data.dataset, DATASETS, seed=0).load(0)
    rng = np.random.default_rng(0)
    transform = my_transforms.RandomGrey(prob=0.5)
    grey = [np.ptp(transform(sample, rng).image, axis=2).max() == 0 for _ in range(40)]
    assert 10 < sum(grey) < 30


def test_the_examples_of_transforms_and_data_sets_build(flowers, read_page):
    blocks = [b for b in read_page(NAME).blocks("python") if not b.startswith("# ")]
    for block in (b for b in blocks if "pipeline" in b):
        names: dict = {}
        exec(block, names)
        pipeline = names.get("pipeline") or names["train_data"]["dataset"]["pipeline"]
        assert all(build(transform, TRANSFORMS) for transform in pipeline)
    assert names["train_data"]["dataset"].pop("_delete_")
    assert len(build(names["train_data"]["dataset"], DATASETS, seed=0)) == 4 * 2 + 2


def test_shapes_are_written_as_a_coco_data_set(read_page, workspace):
    code = next(b for b in read_page(NAME).blocks("python") if "ShapesDataset(" in b)
    exec(code.replace("num_images=100", "num_images=2"), {})
    dataset = CocoDataset("data/shapes/annotations.json", "data/shapes/images", with_masks=True)
    assert len(dataset) == 2
    assert "circle, square, triangle, star, ring and cross" in read_page(NAME).text
    assert dataset.classes == ("circle", "square", "triangle", "star", "ring", "cross")
