"""Configs of MMDetection on the command line: trained, tested, rewritten; options in both forms."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from foreign_configs import foreign_config

from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.migrate import migrate_config
from mmdet_lite.apis.train import train
from mmdet_lite.compat.mmdet.write import difference, same, write_sections
from mmdet_lite.data.shapes_dataset import ShapesDataset

NO_WEIGHTS = {"model.backbone.init_cfg": None}


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory):
    """Training and validation pictures as MMDetection lays COCO out."""
    root = tmp_path_factory.mktemp("shapes_root")
    (root / "annotations").mkdir()
    for seed, split in enumerate(("train", "val")):
        ShapesDataset(6, (64, 96), data_seed=seed).write(root / split)
        (root / split / "annotations.json").rename(root / f"annotations/{split}.json")
    return root


@pytest.fixture
def write(tmp_path, shapes_root):
    """Write a config in MMDetection's form: ``write('cascade')`` gives its path."""

    def write_config(model="mask", change=None):
        cfg = foreign_config(model, f"{shapes_root}/")
        for split in ("train", "val", "test"):
            data = cfg[f"{split}_dataloader"]["dataset"]
            data["data_prefix"]["img"] += "images/"
        if change is not None:
            change(cfg)
        path = tmp_path / f"{model}.py"
        path.write_text(write_sections(cfg))
        return path

    return write_config


def error_of(path, options=None):
    with pytest.raises((ValueError, OSError, ImportError)) as error:
        load_config(path, options)
    return str(error.value)


@pytest.mark.parametrize("model", ["mask", "cascade", "retinanet"])
def test_a_config_trains_evaluates_and_tests_unmodified(write, run_cli, tmp_path, model):
    path = write(model)
    options = [
        "model.backbone.init_cfg=None",
        "train_cfg.max_epochs=1",
        "optim_wrapper.optimizer.lr=1e-3",
    ]
    done = run_cli("train", path, "--work-dir", tmp_path / "run", "--cfg-options", *options)
    assert done.code == 0, done.err
    assert "validation at epoch 1, iter 3:  bbox_mAP" in done.out
    log = (tmp_path / "run/train.log").read_text()
    assert f"{path} is in MMDetection's form" in log
    assert "env_cfg.mp_cfg (threads and processes are chosen by themselves)" in log
    assert log.count("default_scope") == 1
    tested = run_cli(
        *("test", path, tmp_path / "run/epoch_1.pth", "--work-dir", tmp_path / "tested"),
        *("--cfg-options", "model.backbone.init_cfg=None"),
    )
    assert tested.code == 0, tested.err
    assert "bbox_mAP" in json.loads((tmp_path / "tested/metrics.json").read_text())


def test_options_may_be_in_either_form(write):
    path = write()
    cfg = load_config(
        path,
        {
            "model.backbone.init_cfg": None,  # theirs
            "train_dataloader.batch_size": 4,
            "train_dataloader.dataset.indices": 3,
            "model.test_cfg.rcnn.score_thr": 0.2,
            "model.backbone.with_cp": True,
            "train.max_epochs": 2,  # ours
            "model.backbone.dcn_stages": [],
            "model.roi_head.mask_head.mask_thr": 0.4,
            "optimizer.nesterov": True,
            "seed": 3,
        },
    )
    assert cfg.model.backbone.pretrained is None
    assert cfg.model.backbone.activation_checkpointing is True
    assert cfg.train_data.batch_size == 4
    assert cfg.train_data.dataset["indices"] == 3
    assert cfg.model.roi_head.bbox_head.score_thr == 0.2
    assert (cfg.train.max_epochs, cfg.seed) == (2, 3)
    assert cfg.model.roi_head.mask_head.mask_thr == 0.4
    assert cfg.optimizer.nesterov is True


def test_an_option_may_make_a_config_readable(write):
    path = write(change=lambda cfg: cfg["model"]["neck"].update(type="PAFPN"))
    assert "model.neck.type is 'PAFPN'" in error_of(path)
    assert load_config(path, {"model.neck.type": "FPN"}).model.neck.type == "FPN"


def test_a_misspelt_option_is_an_error_with_its_path(write):
    assert "model.backbone.depht = 50 is no known key of ResNet" in error_of(
        write(), {"model.backbone.depht": 50}
    )
    assert "a config has no section 'modle'" in error_of(write(), {"modle.depth": 50})


@pytest.mark.parametrize("model", ["mask", "cascade", "retinanet"])
def test_a_rewritten_config_gives_the_same_objects_and_losses(write, tmp_path, model):
    path = write(model)
    direct = load_config(path, NO_WEIGHTS)
    out = migrate_config(path, tmp_path / "new/native.py", NO_WEIGHTS)
    native = load_config(out)
    for name, value in direct.to_dict().items():
        assert same(native.to_dict()[name], value), name
    torch.manual_seed(0)
    ours = {k: v.clone() for k, v in build_model(direct).state_dict().items()}
    torch.manual_seed(0)
    theirs = build_model(native).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    logs = []
    for cfg, folder in ((direct, "direct"), (native, "native")):
        cfg.train.max_epochs, cfg.train.log_interval = 1, 1
        train(cfg, tmp_path / folder)
        lines = map(json.loads, (tmp_path / folder / "log.jsonl").read_text().splitlines())
        logs.append(
            [{k: v for k, v in line.items() if "loss" in k or "mAP" in k} for line in lines]
        )
    assert logs[0] == logs[1]
    assert len(logs[0]) == 4


def test_a_rewritten_config_says_only_what_differs(write, tmp_path):
    out = migrate_config(write(), tmp_path / "native.py")
    text = out.read_text()
    assert text.startswith(
        f"# python tools/train.py {out}\n# Translated from mask.py of MMDetection.\n"
    )
    assert "_base_/models/mask-rcnn_r50_fpn.py" in text
    assert "_base_/schedules/schedule_1x.py" in text
    assert "milestones" not in text  # the base's
    assert "backbone=dict(\n        depth=18" in text or "depth=18" in text


def test_rewriting_says_what_is_wrong(write, tmp_path, cli_error):
    path = write()
    (tmp_path / "there.py").write_text("")
    assert "exists; name a new file" in cli_error("migrate-config", path, tmp_path / "there.py")
    native = "configs/demo/mask-rcnn_r18_fpn_shapes.py"
    message = cli_error("migrate-config", native, tmp_path / "new.py")
    assert "is not in MMDetection's form; there is nothing to migrate" in message


def test_differences_merge_to_the_target():
    from mmengine.config import Config

    base = {"a": {"type": "X", "p": 1, "q": [1, 2]}, "b": {"type": "Y", "r": 1}}
    target = {"a": {"type": "X", "p": 2, "q": [1, 2], "s": (3,)}, "b": {"type": "Z"}}
    change = difference(base, target)
    assert change == {"a": {"p": 2, "s": (3,)}, "b": {"_delete_": True, "type": "Z"}}
    assert Config._merge_a_into_b(change, base) == target


def test_text_reads_back_as_it_was():
    value = {
        "inf": float("inf"),
        "names": {"a b": 1, "for": [True, None]},
        "quotes": 'it\'s "so"\n',
        "long": [{"type": "Resize", "scale": (1333, 800)}] * 6,
        "one": (1,),
    }
    namespace: dict = {}
    exec(write_sections({"x": value}), namespace)
    assert namespace["x"] == value


def test_printing_builds_the_model_and_writes_its_weights_shapes(write, run_cli, tmp_path):
    out = tmp_path / "shapes.json"
    printed = run_cli("print-config", write(), "--build", "--state-dict", out).out
    assert "train_data = dict(" in printed
    assert "#   env_cfg.mp_cfg (threads and processes are chosen by themselves)" in printed
    assert "model        TwoStageDetector" in printed
    shapes = json.loads(out.read_text())
    assert shapes["roi_head.bbox_head.fc_cls.weight"] == [7, 16]
    assert f"wrote the names and shapes of {len(shapes)} tensors to {out}" in printed


def test_values_of_options_may_be_written_as_dicts_are_in_configs(write, run_cli):
    value = "dict(type='Pretrained', checkpoint='torchvision://resnet18')"
    options = ("--cfg-options", f"model.backbone.init_cfg={value}")
    printed = run_cli("print-config", write(), *options)
    assert "pretrained='torchvision://resnet18'" in printed.out


def test_a_value_that_is_no_dict_is_an_error_with_its_path(write):
    told = error_of(write(), {"model.backbone.init_cfg": "Pretrained"})
    assert "model.backbone.init_cfg is 'Pretrained', expected a dict" in told


def test_a_variable_of_the_file_is_no_option(write):
    path = write(change=lambda cfg: cfg.update(data_root="data/"))
    assert "'data_root' is a variable of the config file" in error_of(path, {"data_root": "x/"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "model = dict(type='MaskRCNN')\ndata = dict(samples_per_gpu=2)\nlr_config = dict()\n",
            r"is a config of MMDetection 2.x \(it has data, lr_config\); those of 3.x are read",
        ),
        (
            "from mmengine.config import read_base\nwith read_base():\n    from .base import *\n",
            "is in Python style, it imports what it uses. Turn it into plain dicts",
        ),
        (
            "from mmdet.models import MaskRCNN\nmodel = dict(type=MaskRCNN)\n",
            "is in Python style, it imports what it uses",
        ),
        (
            "import mmcv\nfrom torch import nn\nmodel = dict(type=nn.Linear)\n",
            "imports classes or modules; a config of this package names them",
        ),
        (
            "_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'\n",
            "a `_base_` that begins with 'mmdet::' lies in an installed MMDetection",
        ),
    ],
)
def test_other_kinds_of_configs_are_recognised(tmp_path, text, message):
    path = tmp_path / "other.py"
    path.write_text(text)
    assert re.search(message, error_of(path))


def test_plug_ins_written_for_mmdetection_are_recognised(write, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "foreign_plug_in.py").write_text("from mmdet.registry import MODELS\n")
    path = write(change=lambda cfg: cfg.update(custom_imports={"imports": ["foreign_plug_in"]}))
    message = error_of(path)
    assert "The module was written for MMDetection" in message
    assert "`from mmdet_lite.registry import MODELS`" in message


def test_types_of_the_users_own_are_built(write, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_neck_module.py").write_text(
        "from mmdet_lite.models.necks import FPN\n"
        "from mmdet_lite.registry import MODELS\n"
        "@MODELS.register_module()\n"
        "class OwnNeck(FPN):\n"
        "    pass\n"
    )

    def change(cfg):
        cfg["custom_imports"] = {"imports": ["own_neck_module"]}
        cfg["model"]["neck"]["type"] = "OwnNeck"

    model = build_model(load_config(write(change=change)))
    assert type(model.neck).__name__ == "OwnNeck"


def test_sections_of_mmdetection_in_a_config_of_this_package_are_refused(tmp_path):
    path = tmp_path / "mixed.py"
    tiny = Path(__file__).with_name("tiny_config.py")
    path.write_text(f"_base_ = '{tiny}'\ntrain_cfg = dict(max_epochs=8)\n")
    with pytest.raises(ValueError, match="MMDetection's train_cfg has no effect"):
        load_config(path)


def test_a_slip_in_the_section_of_an_option_is_told(write):
    with pytest.raises(ValueError, match="did you mean 'train_dataloader'"):
        load_config(write("mask"), {"train_dataloder.batch_size": 8})


def test_the_work_dir_of_a_config_is_kept(write):
    assert load_config(write("mask"), {"work_dir": "runs/mask"}).work_dir == "runs/mask"
