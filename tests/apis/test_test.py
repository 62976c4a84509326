"""Evaluation of a checkpoint: the files it writes, and which weights it takes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import torch
from pycocotools.coco import COCO

from mmdet_lite.apis import test as test_module
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.demo import demo
from mmdet_lite.data.shapes_dataset import ShapesDataset

TINY = Path(__file__).parent / "tiny_config.py"


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """The folder with all that an evaluation writes, and the metrics it returned."""
    folder = tmp_path_factory.mktemp("evaluated")
    metrics = test_module.test(
        load_config(TINY, {"metric.classwise": True}),
        trained / "iter_2.pth",
        out_metrics=folder / "deep/metrics.json",
        out=folder / "results/found",
        show_dir=folder / "vis",
        show_num=3,
    )
    return folder, metrics


def test_metrics_are_written_as_returned_and_as_the_validation_logged(evaluated, trained):
    folder, metrics = evaluated
    assert json.loads((folder / "deep/metrics.json").read_text()) == metrics
    lines = map(json.loads, (trained / "log.jsonl").read_text().splitlines())
    (validation,) = (line for line in lines if line["mode"] == "val")
    names = set(validation) - {"mode", "iter", "epoch"}
    assert len(names) == 24
    assert {name: metrics[name] for name in names} == {name: validation[name] for name in names}
    assert {"bbox_AP/ring", "segm_AP/cross"} <= set(metrics)
    assert metrics["bbox_AR@100"] > 0  # so that the comparison says something


def test_detections_can_be_read_by_pycocotools(evaluated, shapes, capsys):
    folder, _ = evaluated
    truth = COCO(shapes / "annotations.json")
    for metric in ("bbox", "segm"):
        found = truth.loadRes(str(folder / f"results/found.{metric}.json"))
        assert set(found.getImgIds()) == {1, 2, 3, 4}
        records = found.loadAnns(found.getAnnIds())
        assert {record["category_id"] for record in records} <= {1, 2, 3, 4, 5, 6}
        assert all(0.05 < record["score"] <= 1 for record in records)
    assert all(found.annToMask(record).shape == (64, 64) for record in records)


def test_pictures_are_spread_over_the_data_set(evaluated):
    folder, _ = evaluated
    files = sorted((folder / "vis").glob("*.png"))
    assert [int(file.stem) for file in files] == [1, 2, 4]
    height, width = cv2.imread(str(files[0])).shape[:2]
    assert width > 1.8 * height  # two pictures side by side


def test_averaged_weights_are_taken_where_there_are_some(tiny, trained, monkeypatch):
    models = []

    def evaluate(model, *arguments):
        models.append(model)
        return original(model, *arguments)

    original = test_module.evaluate
    monkeypatch.setattr(test_module, "evaluate", evaluate)
    test_module.test(tiny(), trained / "iter_2.pth")
    state = torch.load(trained / "iter_2.pth", weights_only=True)
    name = "roi_head.bbox_head.fc_cls.weight"
    used = models[0].state_dict()[name]
    assert torch.equal(used, state["ema"][f"module.{name}"])
    assert not torch.equal(used, state["model"][name])
    assert not models[0].training


def test_coco_files_give_the_numbers_of_the_shapes_they_were_written_from(
    evaluated, trained, coco_config, tmp_path
):
    folder, metrics = evaluated
    cfg = load_config(coco_config(), {"metric.classwise": True})
    assert test_module.test(cfg, trained / "iter_2.pth", out=tmp_path / "found") == metrics
    for metric in ("bbox", "segm"):
        ours = (folder / f"results/found.{metric}.json").read_text()
        assert json.loads((tmp_path / f"found.{metric}.json").read_text()) == json.loads(ours)


def test_batch_size_and_workers_do_not_change_the_numbers(evaluated, trained, tiny):
    options = {"test_data.batch_size": 3, "test_data.num_workers": 2, "metric.classwise": True}
    metrics = test_module.test(tiny(options), trained / "iter_2.pth")
    assert metrics == pytest.approx(evaluated[1], abs=1e-4)


def test_command_prints_the_table_and_names_what_it_wrote(run_cli, trained, tmp_path):
    result = run_cli(
        *("test", TINY, trained / "best_segm_mAP.pth", "--out-metrics", tmp_path / "m.json"),
        *("--show-dir", tmp_path / "vis", "--show-num", 1),
    )
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    header = next(line for line in lines if "mAP_50" in line)
    assert header.split() == ["mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"]
    assert {line.split()[0] for line in lines if line.strip()} >= {"bbox", "segm", "-1:"}
    assert len(list((tmp_path / "vis").iterdir())) == 1
    assert "bbox_mAP" in json.loads((tmp_path / "m.json").read_text())


def test_model_without_masks_is_tested_on_boxes_alone(tiny, tmp_path, trained):
    state = torch.load(trained / "iter_2.pth", weights_only=True)["model"]
    boxes_only = {name: value for name, value in state.items() if "mask_head" not in name}
    torch.save({"state_dict": boxes_only}, tmp_path / "boxes.pth")  # as MMDetection wraps them
    options = {
        "model.roi_head.mask_head": None,
        "model.roi_head.mask_roi_extractor": None,
        "metric.metrics": ["bbox"],
    }
    metrics = test_module.test(tiny(options), tmp_path / "boxes.pth", show_dir=tmp_path / "vis")
    assert all(name.startswith("bbox_") for name in metrics)
    assert len(list((tmp_path / "vis").iterdir())) == 4


def test_demo_leaves_its_metrics_checkpoint_and_pictures(tiny, tmp_path, capsys):
    metrics = demo(tiny({"test_data.dataset.num_images": 12}), tmp_path / "demo")
    written = json.loads((tmp_path / "demo/metrics.json").read_text())
    assert written == metrics
    names = ["bbox_mAP", "bbox_mAP_50", "segm_mAP", "segm_mAP_50", "train_seconds"]
    assert list(written) == names
    assert (tmp_path / "demo/best_segm_mAP.pth").is_file()
    assert len(list((tmp_path / "demo/vis").glob("*.png"))) == 12
    out = capsys.readouterr().out
    assert "mAP_50" in out and str(tmp_path / "demo/vis") in out
    assert len(list((tmp_path / "demo/pictures/images").glob("*.png"))) == 8
    annotations = json.loads((tmp_path / "demo/pictures/annotations.json").read_text())
    assert len(annotations["images"]) == 8 and annotations["annotations"]


def test_demo_does_not_train_in_a_precision_that_is_emulated(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("mmdet_lite.apis.demo.computes_bf16", lambda device: False)
    demo(tiny({"train.precision": "bf16", "train.max_iters": 1}), tmp_path)
    assert "no instructions for bf16: training in float32" in capsys.readouterr().out
    assert load_config(tmp_path / "config.py").train.precision == "float32"


def test_shapes_on_disk_are_those_of_the_config(shapes, tiny):
    dataset = dict(tiny().test_data.dataset)
    assert dataset.pop("type") == "ShapesDataset"
    in_memory = ShapesDataset(**dataset).coco_dict()
    assert json.loads((shapes / "annotations.json").read_text()) == in_memory
