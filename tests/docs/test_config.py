"""docs/config.md and docs/config_reference.md: defaults, recipes and messages are the code's."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields

import pytest
import torch

from mmdet_lite import cli
from mmdet_lite.apis.classes import fill_num_classes
from mmdet_lite.apis.config import SECTIONS, load_config, shipped_configs
from mmdet_lite.apis.tta import TTASettings
from mmdet_lite.data.loader import build_eval_loader, build_train_loader
from mmdet_lite.engine.optimizer import ParamGroupRules, build_optimizer
from mmdet_lite.engine.settings import TrainSettings
from mmdet_lite.registry import (
    ALL_REGISTRIES,
    DATASETS,
    HOOKS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    SCHEDULES,
    TRANSFORMS,
    build,
    find_class,
)

CONFIG, REFERENCE = "docs/config.md", "docs/config_reference.md"
SETTINGS = {"train": TrainSettings, "param_groups": ParamGroupRules, "tta": TTASettings}
GIVEN_BY_THE_RUN = {"seed"}
DEMO = "configs/demo/mask-rcnn_r18_fpn_shapes.py"

# What goes wrong, and how to bring it about: arguments of `mmdet-lite train`.
ERRORS = {
    "unknown type": [DEMO, "model.roi_head.bbox_head.type=ConvFCBoxHead"],
    "misspelt argument": [DEMO, "model.rpn_head.feat_chanels=32"],
    "misspelt setting": [DEMO, "train.max_iter=3"],
    "misspelt section": [DEMO, "modle.backbone.depth=50"],
    "variable of the file": [DEMO, "num_classes=3"],
    "list too short": [DEMO, "train_data.dataset.pipeline.5.prob=0.3"],
    "other number of classes": [DEMO, "model.roi_head.mask_head.num_classes=80"],
    "pattern without a match": [DEMO, "param_groups.lr_multipliers={'backbnoe': 0.1}"],
    "MMDetection's form": ["mmdet_config.py"],
    "missing file": ["configs/mask_rcnn/mask-rcnn_r50_fpn_3x_coco.py"],
    "missing data": ["configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"],
}

MMDET_CONFIG = """default_scope = 'mmdet'
model = dict(
    type='RetinaNet',
    data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
    backbone=dict(type='ResNet', depth=50, frozen_stage=1),
    neck=dict(type='PAFPN', in_channels=[256, 512, 1024, 2048], out_channels=256, num_outs=5),
    bbox_head=dict(type='RetinaHed'),
)
"""


def _documented(text: str) -> dict[str, dict[str, str]]:
    """Keys and defaults of every section of the reference that has a table."""
    tables = {}
    for heading, body in re.findall(r"^### `(\w+)`\n(.*?)(?=^#|\Z)", text, re.M | re.S):
        rows = re.findall(r"^\| `(\w+)` \| (.+?) \| ", body, re.M)
        tables[heading] = {key: default.strip("`") for key, default in rows}
    return tables


def _actual(cls: type) -> dict[str, str]:
    if cls in SETTINGS.values():
        values = {
            f.name: f.default_factory() if f.default is MISSING else f.default for f in fields(cls)
        }
        return {name: repr(value) for name, value in values.items()}
    parameters = inspect.signature(cls).parameters.values()
    return {
        p.name: "required" if p.default is p.empty else repr(p.default)
        for p in parameters
        if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in GIVEN_BY_THE_RUN
    }


def test_keys_and_defaults_are_the_constructors(read_page):
    for name, keys in _documented(read_page(REFERENCE).text).items():
        cls = SETTINGS.get(name) or find_class(name)
        assert keys == _actual(cls), f"{REFERENCE}, section {name}"


def test_every_registered_type_is_documented(read_page):
    documented = _documented(read_page(REFERENCE).text)
    registered = {
        name
        for registry in ALL_REGISTRIES
        if registry is not OPTIMIZERS
        for name, cls in registry.module_dict.items()
        if cls.__module__.startswith("mmdet_lite.")  # other tests register their own
    }
    assert registered == documented.keys() - SETTINGS.keys()


def test_every_section_is_documented(read_page):
    text = read_page(REFERENCE).text
    table = text[text.index("## Sections of a config") : text.index("## Loader keys")]
    assert re.findall(r"^\| `(\w+)` \|", table, re.M) == list(SECTIONS)


def test_loader_keys_are_documented(read_page):
    text = read_page(REFERENCE).text
    table = text[text.index("## Loader keys") : text.index("## Training")]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", table, re.M))
    train = inspect.signature(build_train_loader).parameters
    evaluation = inspect.signature(build_eval_loader).parameters
    assert rows.pop("batch_size") == "required in `train_data`, else 1"
    assert train["batch_size"].default is inspect.Parameter.empty
    assert evaluation["batch_size"].default == 1
    for key, default in rows.items():
        assert default.strip("`") == repr(train[key].default), key


def test_recipes_build(write_files):
    """Every config of the page: what is built from files or weights is left out."""
    recipes = write_files(CONFIG)
    assert len(recipes) > 10
    for name in recipes:
        cfg = fill_num_classes(load_config(name), ["one", "two"], "the test")
        with torch.device("meta"):
            model = build(cfg.model, MODELS)
            build_optimizer(cfg.optimizer, model, cfg.get("param_groups"))
        TrainSettings(**cfg.train)
        TTASettings(**cfg.get("tta", {}))
        build(cfg.schedule, SCHEDULES)
        build(cfg.metric, METRICS)
        for data in (cfg.train_data, cfg.val_data):
            assert find_class(data.dataset.type, (DATASETS,))
            for transform in data.dataset.pipeline:
                build(transform, TRANSFORMS)
        for hook in cfg.get("hooks", []):
            build(hook, HOOKS)


def test_the_example_of_build_runs(read_page):
    code = next(b for b in read_page(CONFIG).blocks("python") if "build(dict(" in b)
    namespace: dict = {}
    exec(code, namespace)
    assert namespace["assigner"].pos_iou_thr == 0.7


@pytest.mark.parametrize("arguments", ERRORS.values(), ids=ERRORS.keys())
def test_quoted_errors_are_what_the_command_line_says(
    read_page, workspace, capsys, monkeypatch, arguments
):
    (workspace / "mmdet_config.py").write_text(MMDET_CONFIG)
    config, *options = arguments
    options = ["--cfg-options", *options] if options else []
    with pytest.raises(SystemExit):
        cli.main("train", [config, *options])
    message = capsys.readouterr().err.strip().rpartition("\n")[0]
    message = message.replace(str(workspace), "/home/me").replace(
        str(shipped_configs()), "/home/me/configs"
    )
    blocks = "".join(read_page(CONFIG).blocks("text"))
    assert message in blocks, message
