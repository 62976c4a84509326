"""MMDetection's own configs of the four families, fetched from PyPI, all of them."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from expected_state_dict import expected_state_dict
from mmengine.config import Config

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.train import train
from mmdet_lite.registry import DATASETS, MODELS, TRANSFORMS, build, find_class

pytestmark = pytest.mark.slow

FAMILIES = {"faster_rcnn": 40, "mask_rcnn": 30, "cascade_rcnn": 30, "retinanet": 24}
PACKAGE = "onedl-mmdetection==3.5.1"


@pytest.fixture(scope="module")
def stock(tmp_path_factory) -> Path:
    """The folder of the configs."""
    folder = tmp_path_factory.mktemp("stock")
    download = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", ":all:"]
    done = subprocess.run(
        [*download, "--dest", str(folder), PACKAGE], capture_output=True, text=True, check=False
    )
    archives = list(folder.glob("*.tar.gz"))
    if not archives:
        pytest.skip(f"{PACKAGE} cannot be fetched: {done.stderr.strip().splitlines()[-1:]}")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.glob("*/mmdet/.mim/configs"))


def _configs(stock: Path, family: str) -> list[Path]:
    return [path for path in sorted((stock / family).glob("*.py")) if "_tta" not in path.name]


@pytest.mark.parametrize("family", FAMILIES)
def test_all_are_translated_and_built_with_the_expected_weights(stock, family):
    configs = _configs(stock, family)
    assert len(configs) == FAMILIES[family]
    for path in configs:
        cfg = load_config(path)
        with torch.device("meta"):
            model = build(cfg.model, MODELS)
        shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
        theirs = Config.fromfile(path).model.to_dict()
        assert shapes == expected_state_dict(theirs), path.name
        _check_data(cfg)


def _check_data(cfg: Config) -> None:
    """Everything in the pipelines can be built, and the data sets take their arguments."""
    for split in ("train", "val", "test"):
        data = cfg[f"{split}_data"]["dataset"]
        while "dataset" in data:
            data = data["dataset"]
        arguments = {key: value for key, value in data.items() if key != "type"}
        inspect.signature(find_class(data["type"], (DATASETS,))).bind(**arguments)
        for transform in data["pipeline"]:
            build(transform, TRANSFORMS)


@pytest.mark.parametrize(
    "name",
    [
        "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
        "retinanet/retinanet_r50_fpn_1x_coco.py",
    ],
)
def test_one_trains_on_real_images(stock, coco_tiny, tmp_path, name):
    """Two iterations on small images; the whole at full size is too long for a test."""
    options = {"model.backbone.init_cfg": None, "train_cfg.max_epochs": 1}
    for split in ("train", "val", "test"):
        loader = f"{split}_dataloader"
        options |= {
            f"{loader}.dataset.data_root": f"{coco_tiny}/",
            f"{loader}.dataset.indices": 4,
            f"{loader}.num_workers": 0,
            f"{loader}.dataset.pipeline.{2 if split == 'train' else 1}.scale": (333, 200),
        }
    annotations = f"{coco_tiny}/annotations/instances_val2017.json"
    options |= {f"{split}_evaluator.ann_file": annotations for split in ("val", "test")}
    metrics = train(load_config(stock / name, options), tmp_path)
    assert "bbox_mAP" in metrics
