"""The number of classes where a config leaves it open, and class names at test time."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.classes import fill_num_classes
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.test import test as evaluate
from mmdet_lite.apis.train import train
from mmdet_lite.engine.checkpoint import load_checkpoint

NAMES = ["circle", "square", "triangle", "star", "ring", "cross"]
BBOX, MASK = "model.roi_head.bbox_head", "model.roi_head.mask_head"
OPEN = {f"{BBOX}.num_classes": None, f"{MASK}.num_classes": None}


def remove(name):
    """Take a category out of a COCO file, with its objects."""

    def change(content):
        key = next(c["id"] for c in content["categories"] if c["name"] == name)
        content["categories"] = [c for c in content["categories"] if c["id"] != key]
        content["annotations"] = [a for a in content["annotations"] if a["category_id"] != key]

    return change


def add(name):
    return lambda content: content["categories"].append({"id": 99, "name": name})


@pytest.fixture
def test_error(cli_error, coco_config, trained):
    """What ``test`` says to a checkpoint of the six shapes and other data."""

    def run(**dataset):
        return cli_error("test", coco_config(**dataset), trained / "iter_2.pth")

    return run


# The number of classes


def test_open_heads_get_the_number_of_the_data(tiny, caplog):
    cfg = tiny(OPEN)
    with caplog.at_level(logging.INFO, "mmdet_lite"):
        filled = fill_num_classes(cfg, ["a", "b"], "train_data")
    assert caplog.messages == [f"{BBOX} and {MASK}: num_classes=2, as train_data has"]
    heads = filled.model.roi_head
    assert (heads.bbox_head.num_classes, heads.mask_head.num_classes) == (2, 2)
    assert cfg.model.roi_head.bbox_head.num_classes is None
    assert build_model(filled).num_classes == 2


def test_numbers_that_are_given_stay(tiny):
    cfg = tiny({f"{MASK}.num_classes": None})
    filled = fill_num_classes(cfg, ["a", "b"], "train_data")
    assert filled.model.roi_head.bbox_head.num_classes == 6
    assert filled.model.roi_head.mask_head.num_classes == 2
    assert fill_num_classes(tiny(), ["a"], "train_data").model == tiny().model


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("retinanet/retinanet_r50_fpn_1x_coco.py", ["model.bbox_head"]),
        ("nanodet/nanodet-plus-m_320_coco.py", ["model.bbox_head", "model.aux_head"]),
        (
            "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
            [f"{BBOX}.{i}" for i in range(3)],
        ),
    ],
)
def test_heads_without_the_key_are_open_too(name, places, caplog):
    cfg = load_config(name)
    heads = [cfg.model.get("bbox_head") or cfg.model.roi_head.bbox_head, cfg.model.get("aux_head")]
    for head in (h for one in heads if one for h in (one if isinstance(one, list) else [one])):
        del head["num_classes"]
    with pytest.raises(ValueError) as error:
        build_model(cfg)
    assert str(error.value).startswith(f"{' and '.join(places)}: num_classes is open; ")
    with torch.device("meta"):
        assert build_model(fill_num_classes(cfg, ["a", "b"], "train_data")).num_classes == 2


def test_a_proposal_network_is_not_filled(tiny):
    cfg = tiny({"model.rpn_head": {"type": "FCOSHead"}})
    filled = fill_num_classes(cfg, NAMES, "train_data")
    assert "num_classes" not in filled.model.rpn_head


@pytest.fixture(scope="module")
def open_run(tmp_path_factory) -> Path:
    """A run of a config that leaves the number open."""
    work_dir = tmp_path_factory.mktemp("open")
    train(load_config(Path(__file__).parent / "tiny_config.py", OPEN), work_dir)
    return work_dir


def test_a_run_and_its_checkpoint_hold_the_number(open_run):
    assert load_config(open_run / "config.py").model.roi_head.bbox_head.num_classes == 6
    text = load_checkpoint(open_run / "iter_2.pth")["meta"]["config"]
    assert "num_classes=None" not in text and text.count("num_classes=6") == 2
    shapes = load_checkpoint(open_run / "iter_2.pth")["model"]
    assert shapes["roi_head.bbox_head.fc_cls.weight"].shape[0] == 7


def test_an_open_config_is_resumed_and_tested(open_run, tiny):
    train(tiny(OPEN | {"train.max_iters": 3}), open_run, resume=True)
    assert "bbox_mAP" in evaluate(tiny(OPEN), open_run / "iter_3.pth")
    assert "bbox_mAP" in evaluate(load_config(open_run / "config.py"), open_run / "iter_3.pth")


def test_without_data_the_number_is_asked_for(cli_error):
    message = cli_error(
        "print-config",
        "yolov8/yolov8_n_640_coco.py",
        "--build",
        "--cfg-options",
        "model.bbox_head.num_classes=None",
    )
    assert message == (
        "model.bbox_head: num_classes is open; training and testing take it from the data, but "
        "there is none here. Give it: --cfg-options model.bbox_head.num_classes=80"
    )


# Class names


def test_another_order_is_refused_with_both_lists(test_error):
    message = test_error(metainfo={"classes": NAMES[::-1]})
    assert message.startswith("the classes of test_data are not those of /")
    assert (
        "iter_2.pth: the order differs, so that labels would mean other classes: label 0 is "
        "'cross' in test_data, and was 'circle'. Set test_data.dataset.metainfo.classes to the "
        f"same names in the same order.\ntest_data: {NAMES[::-1]}\n"
    ) in message
    assert message.endswith(f"iter_2.pth: {NAMES}")


def test_more_classes_are_refused(test_error, annotations):
    message = test_error(ann_file=annotations(add("moon")))
    assert "iter_2.pth: test_data has ['moon'] more. Set test_data.dataset.metainfo" in message


def test_fewer_classes_are_refused(test_error):
    message = test_error(metainfo={"classes": NAMES[:4]})
    assert "iter_2.pth: test_data has no ['ring', 'cross']. Take data with" in message
    assert "must have all categories by the same names, also those without objects" in message


def test_other_names_are_refused(test_error, annotations):
    def rename(content):
        content["categories"][0]["name"] = "disc"

    message = test_error(ann_file=annotations(rename))
    assert "test_data has no ['circle'], and ['disc'] instead. " in message
    assert "load_from=dict(path=..., match_classes=True)" in message


def test_names_are_compared_before_shapes(test_error, annotations):
    """What is wrong is the data, not the weights."""
    message = test_error(ann_file=annotations(remove("star")))
    assert message.startswith("the classes of test_data are not those of /")


def test_a_file_with_the_classes_in_another_order_is_tested_as_trained(
    coco_config, annotations, trained
):
    config = coco_config(ann_file=annotations(lambda c: c["categories"].reverse()))
    options = {"test_data.dataset.metainfo": {"classes": NAMES}}
    assert "bbox_mAP" in evaluate(load_config(config, options), trained / "iter_2.pth")


def test_weights_without_names_are_tested_and_the_log_says_so(tiny, trained, tmp_path, caplog):
    torch.save(load_checkpoint(trained / "iter_2.pth")["model"], tmp_path / "bare.pth")
    with caplog.at_level(logging.INFO, "mmdet_lite"):
        assert "bbox_mAP" in evaluate(tiny(OPEN), tmp_path / "bare.pth")
    assert "bare.pth does not tell its class names: it is taken to be trained on" in caplog.text
