"""Finding, reading and changing configs, and what is said of one that is wrong."""

from __future__ import annotations

import json
import logging
import os
import sys

import pytest

from mmdet_lite.apis.config import (
    config_from_text,
    find_config,
    load_config,
    read_seed,
    require,
    section,
    shipped_configs,
)
from mmdet_lite.engine.settings import TrainSettings


@pytest.fixture
def write(tmp_path):
    """Write a config: ``write("seed = 1")`` gives its path."""

    def write_config(text, name="config.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write_config


def error_of(path, options=None):
    with pytest.raises((ValueError, OSError, ImportError)) as error:
        load_config(path, options)
    return str(error.value)


def test_shipped_config_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
    assert find_config(name) == find_config(f"configs/{name}")
    assert load_config(f"configs/{name}").model.type == "TwoStageDetector"


def test_own_file_comes_before_a_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "configs/demo/mask-rcnn_r18_fpn_shapes.py"
    own.parent.mkdir(parents=True)
    own.write_text("seed = 5")
    cfg = load_config("configs/demo/mask-rcnn_r18_fpn_shapes.py")
    assert (cfg.seed, "model" in cfg) == (5, False)


def test_missing_config_is_named_with_near_matches(cli_error):
    message = cli_error("train", "configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coc.py")
    assert message.startswith(
        "no config file 'configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coc.py' (looked for "
        f"{os.getcwd()}/configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coc.py, and among"
    )
    assert "Did you mean: mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py, " in message


def test_missing_config_unlike_any_other_lists_the_shipped_ones():
    message = error_of("zzz.py")
    folders = ("coco_tiny", "demo", "detectron2", "faster_rcnn")
    counts = [f"{f}/ ({len(list((shipped_configs() / f).glob('*.py')))})" for f in folders]
    assert f", {', '.join(counts)}, " in message
    assert "_base_" not in message


def test_missing_base_is_named(write, cli_error, tmp_path):
    path = write("_base_ = ['schedules/schedule_9x.py']\nseed = 1")
    message = cli_error("print-config", path)
    assert message.startswith(f"{path}: a file in `_base_` is missing: ")
    assert f"{tmp_path}/schedules/schedule_9x.py" in message


def test_syntax_error_is_placed(write, cli_error):
    path = write("seed = 1\nmodel = dict(type='FPN'\n")
    message = cli_error("print-config", path)
    assert f"config {path} cannot be read: '(' was never closed in line 2" in message


def test_error_while_a_base_runs_is_placed_in_that_base(write, tmp_path):
    write("seed = 1\nmodel = dict(depth=1 / 0)", "base.py")
    message = error_of(write("_base_ = 'base.py'"))
    assert f"config {tmp_path}/config.py cannot be read: ZeroDivisionError" in message
    assert f"in {tmp_path}/base.py, line 2: division by zero" in message


def test_undefined_name_is_named(write):
    assert "NameError" in (message := error_of(write("model = dict(type=FPN)")))
    assert "name 'FPN' is not defined" in message


@pytest.mark.parametrize("name", ["config.txt", "config.json"])
def test_file_that_is_no_config_is_named(write, name):
    assert f"{name} cannot be read: " in error_of(write("seed = 1", name))


def test_option_misspelt_at_the_top_gets_a_hint(tiny):
    with pytest.raises(ValueError, match="no section 'optimzer'; did you mean 'optimizer'"):
        tiny({"optimzer.lr": 1})
    with pytest.raises(ValueError, match="no section 'zzz'; there are model, train_data, "):
        tiny({"zzz": 1})


def test_option_on_a_variable_without_effect_is_refused(tiny):
    with pytest.raises(ValueError, match="'num_classes' is a variable of the config file.*no eff"):
        tiny({"num_classes": 3})


def test_option_outside_a_list_is_refused(tiny):
    with pytest.raises(ValueError) as error:
        tiny({"train_data.dataset.pipeline.1.prob": 0})
    assert str(error.value) == (
        "--cfg-options train_data.dataset.pipeline.1.prob: train_data.dataset.pipeline is a list "
        "of 1 and has no item '1'"
    )
    with pytest.raises(ValueError, match="a list of 2 and has no item 'first'"):
        tiny({"metric.metrics.first": 0})


def test_option_inside_a_number_is_refused(tiny):
    with pytest.raises(ValueError, match="iters.x: train.max_iters is 2, in which there is no 'x'"):
        tiny({"train.max_iters.x": 2})


def test_option_makes_the_dicts_on_its_way_and_replaces_whole_values(tiny):
    cfg = tiny({"auto_scale_lr.enable": True, "optimizer": {"type": "SGD", "lr": 0.1}})
    assert cfg.auto_scale_lr.enable is True
    assert cfg.optimizer == {"type": "SGD", "lr": 0.1}


def test_option_on_one_split_leaves_the_others_alone():
    options = {"val_data.batch_size": 7, "val_data.dataset.pipeline.0.scale": (64, 64)}
    cfg = load_config("coco_tiny/mask-rcnn_r18_fpn_coco-tiny-overfit.py", options)
    assert [cfg[f"{split}_data"].batch_size for split in ("train", "val", "test")] == [4, 7, 4]
    scales = [cfg[f"{split}_data"].dataset.pipeline[0].scale for split in ("train", "val", "test")]
    assert scales == [(320, 320), (64, 64), (320, 320)]  # the file writes them as one variable


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("train_data.batchsize", "config: train_data has unknown 'batchsize' (did you mean 'batch"),
        ("train.max_iter", "config: train has unknown 'max_iter' (did you mean 'max_iters'?)"),
        ("train.epochs", "config: train has unknown 'epochs' (did you mean 'max_epochs'?); known"),
        ("schedule.warmup", "OneCycleSchedule: unknown argument 'warmup' (did you mean 'warmup_sh"),
        ("optimizer.weight_decy", "AdamW: unknown argument 'weight_decy' (did you mean 'weight_d"),
        ("param_groups.norm", "ParamGroupRules: unknown argument 'norm'"),
        ("metric.metric", "CocoMetric: unknown argument 'metric' (did you mean 'metrics'?). It ac"),
        ("model.backbone.dept", "ResNet: unknown argument 'dept' (did you mean 'depth'?). It acc"),
        ("val_data.dataset.num_image", "ShapesDataset: unknown argument 'num_image' (did you mean"),
        ("load_from.pth", "config: load_from has unknown 'pth' (did you mean 'path'?); known: pat"),
        ("load_from.match_classes", "config: load_from has no 'path', only {'match_classes': 1}"),
        ("auto_scale_lr.enabled", "config: auto_scale_lr has unknown 'enabled' (did you mean 'ena"),
    ],
)
def test_misspelt_key_of_a_section_gets_a_hint(cli_error, tiny, tmp_path, key, hint):
    tiny_file = tiny().filename
    message = cli_error("train", tiny_file, "--work-dir", tmp_path, "--cfg-options", f"{key}=1")
    assert message.startswith(hint)


def test_variable_that_looks_like_a_section_is_warned_of(write, caplog):
    with caplog.at_level(logging.WARNING, "mmdet_lite"):
        load_config(write("optimiser = dict(lr=1)\ndata_root = 'x'\ntrain_dataset = dict()"))
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "'optimiser' is no section of a config and has no effect by itself; is 'optimizer' meant?"
    ]


def test_custom_imports_are_imported_from_file_and_option(write, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write("", "own_module_a.py")
    write("", "own_module_b.py")
    path = write("custom_imports = dict(imports=['own_module_a'])")
    load_config(path)
    assert "own_module_a" in sys.modules and "own_module_b" not in sys.modules
    load_config(path, {"custom_imports.imports": ["own_module_b"]})
    assert "own_module_b" in sys.modules


def test_custom_import_that_fails_tells_why(write, cli_error, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    write("import not_there_either", "own_broken.py")
    path = write("custom_imports = dict(imports=['own_broken'])")
    message = cli_error("train", path)
    assert message.startswith(f"config {path}: custom_imports: Failed to import own_broken")
    assert "No module named 'not_there_either'" in message and "PYTHONPATH" in message


def test_missing_sections_are_all_named(write):
    cfg = load_config(write("model = dict(type='FPN')"))
    with pytest.raises(ValueError, match="missing section train, optimizer; the sections are"):
        require(cfg, ("model", "train", "optimizer"))


def test_section_that_is_no_dict_is_refused(tiny):
    with pytest.raises(ValueError, match="config: optimizer must be a dict, got 'SGD'"):
        section(tiny({"optimizer": "SGD"}), "optimizer")
    assert section(tiny({"train": None}), "train", TrainSettings) == {}


@pytest.mark.parametrize("seed", ["abc", -1, 1.5, True, None])
def test_seed_must_be_a_whole_number(tiny, seed):
    with pytest.raises(ValueError, match="config: seed must be a whole number, 0 or larger, got"):
        read_seed(tiny({"seed": seed}))


def test_seed_is_0_where_there_is_none(tiny):
    assert (read_seed(tiny()), read_seed(tiny({"seed": 7}))) == (0, 7)


def test_config_may_be_json(write):
    path = write(json.dumps({"seed": 3}), "config.json")
    assert load_config(path).seed == 3


def test_config_of_a_checkpoint_is_read_as_it_was(tiny):
    cfg = tiny({"train.clip_grad_norm": float("inf")})
    again = config_from_text(cfg.pretty_text, "a.pth", {"train.max_iters": 9})
    expected = tiny({"train.clip_grad_norm": float("inf"), "train.max_iters": 9})
    assert again.to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    "text", ["import os", "model = open('x')", "model = dict(", "a.b = 1", "model = dict(1)"]
)
def test_config_of_a_checkpoint_is_not_run(text):
    with pytest.raises(ValueError, match="the config inside of a.pth cannot be read"):
        config_from_text(text, "a.pth")
