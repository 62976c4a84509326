"""Every shipped config is complete, names what exists, and is in the wheel."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.classes import fill_num_classes
from mmdet_lite.apis.config import SECTIONS, load_config, section
from mmdet_lite.engine.optimizer import build_optimizer
from mmdet_lite.engine.settings import TrainSettings
from mmdet_lite.engine.update import WeightUpdate
from mmdet_lite.registry import DATASETS, HOOKS, METRICS, SCHEDULES, TRANSFORMS, build, find_class

ROOT = Path(__file__).parents[1]
ALL = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.py"))
CONFIGS = [name for name in ALL if "_base_" not in name]
MODELS_ONLY = ("configs/torchvision/", "configs/detectron2/")
TRAINABLE = [name for name in CONFIGS if not name.startswith(MODELS_ONLY)]
GROWING_LOSS = ("configs/yolov5/", "configs/yolov8/")  # with the batch, as a scaled rate would
COUNTED = {"CocoDataset": 80, "ShapesDataset": 6}  # classes of the data sets that configs name


def meta_model(cfg):
    """The model without memory for its weights; what leaves classes to the data gets COCO's 80."""
    with torch.device("meta"):
        return build_model(fill_num_classes(cfg, [str(i) for i in range(80)], "COCO"))


@pytest.mark.parametrize("name", CONFIGS)
def test_model_is_built_and_has_one_number_of_classes(name):
    model = meta_model(load_config(ROOT / name))
    heads = [m for m in model.modules() if hasattr(m, "class_rows") and m is not model]
    assert {head.num_classes for head in heads} == {model.num_classes}
    assert (model.mask_format is not None) == ("mask" in name)
    assert sum(parameter.numel() for parameter in model.parameters()) > 5e5


@pytest.mark.parametrize("name", TRAINABLE)
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_data_sections_name_what_exists(name, split):
    cfg = load_config(ROOT / name)
    data = cfg[f"{split}_data"]
    assert set(data) <= {"dataset", "batch_size", "num_workers", "group_by_aspect"}
    arguments = dict(data.dataset)
    cls = find_class(arguments.pop("type"), (DATASETS,))
    inspect.signature(cls).bind(**arguments)  # no file is read, so no data is needed
    for transform in arguments.get("pipeline", []):
        build(transform, TRANSFORMS)
    assert meta_model(cfg).num_classes == COUNTED[cls.__name__]
    with_masks = arguments.get("with_masks", cls.__name__ == "ShapesDataset")
    assert with_masks or "segm" not in cfg.metric.metrics


@pytest.mark.parametrize("name", TRAINABLE)
def test_training_sections_can_be_built(name):
    cfg = load_config(ROOT / name)
    model = meta_model(cfg)
    optimizer = build_optimizer(section(cfg, "optimizer"), model, section(cfg, "param_groups"))
    assert sum(len(group["params"]) for group in optimizer.param_groups) > 50
    settings = TrainSettings(**section(cfg, "train", TrainSettings))
    factor = build(cfg.schedule, SCHEDULES).factor(0, 1000, 100)
    assert 0 <= factor < 1, "warm-up"
    metric = build(cfg.metric, METRICS)
    assert metric.with_masks == (model.mask_format is not None)
    if settings.best_metric is not None:
        assert settings.best_metric.removesuffix("_mAP") in metric.metrics
    for hook in cfg.get("hooks") or []:
        build(hook, HOOKS)


@pytest.mark.parametrize("name", CONFIGS)
def test_sections_are_known(name):
    own = set(load_config(ROOT / name)) - set(SECTIONS)
    variables = {"data_root", "num_classes", "dataset", "ious", "stds", "mask_head", "affine"}
    assert own <= variables  # which the files make use of


@pytest.mark.parametrize("name", TRAINABLE)
def test_first_line_is_the_command(name):
    first = (ROOT / name).read_text().splitlines()[0]
    is_demo = name == "configs/demo/mask-rcnn_r18_fpn_shapes.py"
    assert first == ("# mmdet-lite demo" if is_demo else f"# python tools/train.py {name}")


@pytest.mark.parametrize("name", TRAINABLE)
def test_learning_rate_of_sgd_is_scaled_to_the_batch(name):
    cfg = load_config(ROOT / name)
    if name.startswith(GROWING_LOSS):
        assert "auto_scale_lr" not in cfg
    elif cfg.optimizer.type == "SGD":
        assert cfg.auto_scale_lr == {"enable": True, "base_batch_size": 16}
        lr = 0.001 if "_ap_500_" in name else 0.01 if "retinanet" in name else 0.02
        assert cfg.optimizer.lr == lr


def test_schedules_of_names_differ_as_the_names_say():
    for family in ("faster", "mask"):
        for depth in (50, 101):
            name = f"{family}_rcnn/{family}-rcnn_r{depth}_fpn_{{}}_coco.py"
            once, twice = load_config(name.format("1x")), load_config(name.format("2x"))
            assert (once.train.max_epochs, once.schedule.milestones) == (12, [8, 11])
            assert (twice.train.max_epochs, twice.schedule.milestones) == (24, [16, 22])
            assert once.model == twice.model
            assert once.model.backbone.depth == depth
            assert once.model.backbone.pretrained == f"torchvision://resnet{depth}"


def test_folder_of_coco_tiny_follows_the_environment(monkeypatch):
    name = "coco_tiny/mask-rcnn_r50_fpn_coco-tiny.py"
    monkeypatch.delenv("MMDET_LITE_COCO_TINY", raising=False)
    assert load_config(name).train_data.dataset.image_dir == "data/coco_tiny/train2017/"
    monkeypatch.setenv("MMDET_LITE_COCO_TINY", "/elsewhere")
    cfg = load_config(name)
    assert cfg.train_data.dataset.image_dir == "/elsewhere/train2017/"
    assert cfg.test_data.dataset.ann_file == "/elsewhere/annotations/instances_val2017.json"


def test_own_data_is_a_folder_that_the_environment_names(monkeypatch, tmp_path):
    monkeypatch.setenv("MMDET_LITE_DATA", str(tmp_path))
    cfg = load_config("own_data/mask-rcnn_r50_fpn.py")
    assert cfg.train_data.dataset.ann_file == f"{tmp_path}/train.json"
    assert cfg.test_data.dataset.ann_file == f"{tmp_path}/val.json"
    assert cfg.val_data.dataset.image_dir == f"{tmp_path}/images/"
    heads = cfg.model.roi_head
    assert heads.bbox_head.num_classes is heads.mask_head.num_classes is None


def test_wheel_has_every_config(tmp_path):
    pytest.importorskip("setuptools")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    built = tmp_path / "mmdet_lite"
    shipped = {str(path.relative_to(built)) for path in (built / "configs").rglob("*.py")}
    assert shipped == set(ALL)
    assert (built / "apis/train.py").is_file()
    assert (built / "compat/zoo_models.json").is_file()


@pytest.mark.parametrize("dataset", ["coco_yolo_640", "coco_nanodet_320", "coco_nanodet_416"])
@pytest.mark.parametrize("schedule", ["schedule_yolo_300e", "schedule_nanodet_300e"])
def test_bases_of_one_stage_detectors_fit_a_model(dataset, schedule, tmp_path):
    """Whether or not a config in the folders makes use of them yet."""
    bases = [
        ROOT / "configs/_base_/models/retinanet_r50_fpn.py",
        ROOT / f"configs/_base_/datasets/{dataset}.py",
        ROOT / f"configs/_base_/schedules/{schedule}.py",
    ]
    (tmp_path / "leaf.py").write_text(f"_base_ = {[str(base) for base in bases]}\n")
    cfg = load_config(tmp_path / "leaf.py")
    for split in ("train", "val", "test"):
        for transform in cfg[f"{split}_data"].dataset.pipeline:
            build(transform, TRANSFORMS)
    settings = TrainSettings(**section(cfg, "train", TrainSettings))
    model = meta_model(cfg)
    optimizer = build_optimizer(section(cfg, "optimizer"), model, section(cfg, "param_groups"))
    update = WeightUpdate(model, optimizer, build(cfg.schedule, SCHEDULES), settings, 1000)
    assert update.ema.ramp_up == 2000 and update.max_iterations == 300_000
    assert update.lr == pytest.approx(0 if "yolo" in schedule else 1e-7)
