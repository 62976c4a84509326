"""``mmdet-lite targets``: the step that it takes, weights, comparisons, mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from mmdet_lite.apis.build import build_dataset, build_model, build_train
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.targets import find_step, load_batch, show_targets
from mmdet_lite.engine.checkpoint import save_checkpoint

TINY = Path(__file__).parent / "tiny_config.py"
SHAPES = {
    "train_data.num_workers": 0,
    "train_data.batch_size": 2,
    "train_data.dataset.num_images": 4,
    "train_data.dataset.image_size": [64, 64],
}


def _page(file) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', file.read_text())
    return json.loads(found[1])


def test_the_batch_is_that_of_the_run(tiny):
    cfg = tiny()
    dataset, model = build_dataset(cfg, "train", 0), build_model(cfg)
    step = find_step(cfg, dataset, index=5, epoch=1)
    batch = load_batch([cfg], dataset, model, step)
    assert batch.metas[step.row].index == 5 and batch.epoch == 1
    run = iter(build_train(cfg, dataset, model, 0))
    for _ in range(step.iteration):
        next(run)
    seen = next(run)
    assert torch.equal(seen.keys, batch.keys) and torch.equal(seen.images, batch.images)
    assert torch.equal(seen.gt.boxes, batch.gt.boxes)


def test_command_writes_a_picture_a_page_and_a_table(run_cli, tmp_path):
    result = run_cli("targets", TINY, "--index", 2, "--out", tmp_path)
    assert result.code == 0, result.err
    assert "tiny_config, untrained: rpn_head, MaxIoUAssigner(" in result.out
    assert "tiny_config, untrained: roi_head, MaxIoUAssigner(" in result.out
    assert "train_data 2: image 3" in result.out
    page = tmp_path / "tiny_config_image_3.html"
    assert page.is_file() and page.with_suffix(".png").stat().st_size > 10_000
    stages = _page(page)["systems"][0]["frames"][0]["stages"]
    assert [stage["name"] for stage in stages] == ["rpn_head", "roi_head"]


def test_checkpoints_make_a_strip_by_the_weights_that_are_trained(tmp_path, tiny, trained):
    content = torch.load(trained / "iter_2.pth", weights_only=True)
    assert content["ema"]  # which is not what training assigns by
    content["ema"] = {name: value * torch.nan for name, value in content["ema"].items()}
    save_checkpoint(content, tmp_path / "broken_average.pth")
    files = [trained / "iter_2.pth", tmp_path / "broken_average.pth"]
    scene, _ = show_targets(tiny(), 0, tmp_path, checkpoints=files)
    (system,) = scene.systems
    assert [frame.label for frame in system.frames] == ["untrained", "iter_2", "broken_average"]
    before, after, again = (frame.stages[1].boxes for frame in system.frames)
    assert before.shape != after.shape or (before != after).any()  # of other proposals
    assert (after == again).all()


def test_two_configs_are_compared_on_the_same_image(tmp_path):
    first, second = (
        load_config(name, SHAPES)
        for name in ("demo/yolov8_shapes.py", "mix/yolov8-max-iou_shapes.py")
    )
    second.train_data.dataset.image_size = [96, 96]  # its own data is not looked at
    scene, files = show_targets(first, 1, tmp_path, against=second)
    assert [system.name for system in scene.systems] == ["yolov8_shapes", "yolov8-max-iou_shapes"]
    assert scene.image.shape == (64, 64, 3)
    stages = [system.frames[0].stages[0] for system in scene.systems]
    assert [stage.kind for stage in stages] == ["points", "anchors"]
    assert stages[0].num_gts == stages[1].num_gts == len(scene.boxes)
    assert files[1].name == "yolov8_shapes_against_yolov8-max-iou_shapes_image_2.html"
    assert len(_page(files[1])["systems"]) == 2


def test_image_without_objects_is_shown_and_said(coco_config, annotations, run_cli, tmp_path):
    def without_first(content):
        first = content["images"][0]["id"]
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != first]

    config = coco_config(ann_file=annotations(without_first), filter_empty_gt=False)
    result = run_cli("targets", config, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    assert "The image has no objects: every prior is background" in result.out
    (page,) = (tmp_path / "out").glob("*.html")
    assert _page(page)["gts"] == []


@pytest.mark.parametrize("index", ["-1", "8"])
def test_index_outside_of_the_data(cli_error, index):
    message = cli_error("targets", TINY, "--index", index)
    assert message == f"--index {index}: train_data has 8 images, choose from 0 to 7"


def test_config_without_a_model(cli_error):
    message = cli_error("targets", TINY, "--cfg-options", "model=None")
    assert "missing section model" in message


def test_negative_epoch(cli_error):
    assert "--epoch must be 0 or larger, got -1" in cli_error("targets", TINY, "--epoch", "-1")


def test_checkpoint_of_another_model(cli_error, tmp_path, trained):
    message = cli_error("targets", "demo/yolov8_shapes.py", "--checkpoint", trained / "iter_2.pth")
    assert "iter_2.pth: the weights do not fit SingleStageDetector" in message
    assert "use the config that it was trained with" in message.lower()


def test_missing_checkpoint(cli_error):
    message = cli_error("targets", TINY, "--checkpoint", "no.pth")
    assert message.startswith("--checkpoint 'no.pth' does not exist")


def test_other_config_of_other_classes(cli_error):
    message = cli_error("targets", TINY, "--against", "yolov8/yolov8_n_640_coco.py")
    assert "yolov8_n_640_coco.py gets the images of the first config" in message
    assert "num_classes=80, but train_data has 6 classes" in message


def test_weights_of_another_config_need_that_config(cli_error):
    message = cli_error("targets", TINY, "--against-checkpoint", "some.pth")
    assert message == "--against-checkpoint has the weights of another config: give --against"
