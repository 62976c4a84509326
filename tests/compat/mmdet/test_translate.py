"""From MMDetection's form to ours: what stands where, what is told, what is refused."""

from __future__ import annotations

import copy
import re

import pytest
import torch

from mmdet_lite.compat.mmdet import is_mmdet_config, translate_config
from mmdet_lite.compat.mmdet.training import metric_name
from mmdet_lite.registry import MODELS, build


def _set(cfg: dict, path: str, value) -> dict:
    """A copy with one item changed or added."""
    cfg = copy.deepcopy(cfg)
    *way, last = path.split(".")
    node = cfg
    for name in way:
        node = node[int(name)] if isinstance(node, list) else node[name]
    node[int(last) if isinstance(node, list) else last] = value
    return cfg


def _problems(cfg: dict) -> list[str]:
    with pytest.raises(ValueError) as error:
        translate_config(cfg, "my.py")
    first, *listed, last = str(error.value).split("\n")
    assert re.fullmatch(r"my.py is in MMDetection's form, and \d+ of its .* translated:", first)
    assert last == "Change or remove them; docs/migrate.md lists what is supported"
    return [line.strip() for line in listed]


def test_settings_stand_where_they_act(foreign):
    native = translate_config(foreign()).config
    model = native["model"]
    assert model["type"] == "TwoStageDetector"
    assert model["normalizer"] == {
        "type": "ImageNormalizer",
        "mean": [123.675, 116.28, 103.53],
        "std": [58.395, 57.12, 57.375],
    }
    assert model["backbone"]["pretrained"] == "torchvision://resnet18"
    assert model["rpn_head"]["sampler"] == {"type": "RandomSampler", "num": 64, "pos_fraction": 0.5}
    assert model["rpn_head"]["train_selector"] == {
        "type": "ProposalSelector",
        "nms_pre": 200,
        "max_per_img": 100,
        "nms_iou_thr": 0.7,
    }
    assert model["roi_head"]["assigner"]["match_low_quality"] is False
    assert model["roi_head"]["bbox_head"]["nms"] == {"type": "NMS", "iou_thr": 0.5}
    assert native["train_data"] == {
        "batch_size": 2,
        "num_workers": 0,
        "dataset": {
            "type": "CocoDataset",
            "ann_file": "data/shapes/annotations/train.json",
            "image_dir": "data/shapes/train/",
            "with_masks": True,
            "bad_annotations": "skip",
            "filter_empty_gt": True,
            "pipeline": [
                {"type": "Resize", "scale": (96, 64)},
                {"type": "RandomFlip", "prob": 0.5},
            ],
        },
    }
    assert native["val_data"]["dataset"]["with_masks"]
    assert native["metric"] == {"type": "CocoMetric", "metrics": ["bbox", "segm"]}
    assert native["train"] == {
        "max_epochs": 12,
        "val_interval": 1,
        "log_interval": 50,
        "checkpoint_interval": 1,
        "keep_last": None,
    }
    assert native["optimizer"] == {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 1e-4}
    assert native["schedule"] == {
        "type": "MultiStepSchedule",
        "milestones": [8, 11],
        "gamma": 0.1,
        "warmup_iters": 499,
        "warmup_factor": 0.001,
    }
    assert native["auto_scale_lr"] == {"enable": False, "base_batch_size": 16}
    assert "load_from" not in native and "seed" not in native


@pytest.mark.parametrize("model", ["mask", "cascade", "retinanet"])
def test_models_are_built(foreign, model):
    native = translate_config(foreign(model)).config
    with torch.device("meta"):
        built = build(native["model"], MODELS)
    assert built.num_classes == 6
    assert (built.mask_format is None) == (model == "retinanet")


def test_proposals_in_training_are_those_of_testing_unless_told_otherwise(foreign):
    cfg = foreign()
    del cfg["model"]["train_cfg"]["rpn_proposal"]
    cfg["model"]["test_cfg"]["rpn"]["max_per_img"] = 7
    head = translate_config(cfg).config["model"]["rpn_head"]
    assert head["train_selector"] == head["test_selector"]
    assert head["train_selector"]["max_per_img"] == 7


def test_the_config_is_not_changed(foreign):
    cfg = foreign()
    before = copy.deepcopy(cfg)
    translate_config(cfg)
    assert cfg == before


def test_what_has_no_effect_is_listed_with_the_reason(foreign):
    listed = translate_config(foreign()).without_effect
    assert listed["env_cfg.dist_cfg.backend"] == "NCCL on GPUs, gloo on CPUs"
    assert listed["default_hooks.timer.type"] == "always done"
    assert listed["model.train_cfg.rpn.debug"]
    assert listed["train_dataloader.persistent_workers"]


@pytest.mark.parametrize("name", ["train", "optimizer", "lr_config", "data"])
def test_sections_of_other_forms_are_refused_unless_they_are_variables(foreign, name):
    cfg = foreign()
    cfg[name] = {"type": "SGD", "lr": 0.3}
    with pytest.raises(
        ValueError, match=f"{name} is a section of another form of config.*here it is"
    ):
        translate_config(cfg)
    cfg["optim_wrapper"]["optimizer"] = cfg[name]
    translate_config(cfg)


def test_what_is_done_otherwise_is_told_with_its_value(foreign):
    cfg = foreign()
    assert translate_config(cfg).otherwise == {}
    cfg["default_hooks"]["checkpoint"]["save_last"] = False
    cfg["train_dataloader"]["drop_last"] = True
    assert translate_config(cfg).otherwise == {
        "default_hooks.checkpoint.save_last": "False: always saved",
        "train_dataloader.drop_last": "True: every image is shown once an epoch",
    }


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("model.backbone.frozen_stage", 1, "did you mean 'frozen_stages'?"),
        ("model.rpn_head.anchor_generator.scale", [8], "did you mean 'scales'?"),
        ("model.train_cfg.rcnn.asigner", {}, "did you mean 'assigner'?"),
        ("train_dataloader.batch_sze", 2, "did you mean 'batch_size'?"),
        ("train_dataloader.dataset.pipeline.2.scal", (9, 9), "did you mean 'scale'?"),
        ("optim_wrapper.clip_grd", {}, "did you mean 'clip_grad'?"),
        ("val_evaluator.metrics", ["bbox"], "did you mean 'metric'?"),
        ("default_hooks.checkpoint.intervall", 2, "did you mean 'interval'?"),
    ],
)
def test_misspelt_keys_are_errors_with_their_path(foreign, path, value, problem):
    (told,) = _problems(_set(foreign(), path, value))
    assert told.startswith(f"{path} = {value!r} is no known key")
    assert problem in told


@pytest.mark.parametrize(
    ("path", "value", "nearest"),
    [
        ("model.type", "FastRCNN", "the nearest is 'FasterRCNN'"),
        ("model.backbone.type", "ResNeSt", "the nearest is 'ResNet'"),
        ("model.neck.type", "PAFPN", "the nearest is 'FPN'"),
        ("model.roi_head.type", "HybridTaskCascadeRoIHead", "the nearest is 'CascadeRoIHead'"),
        ("model.roi_head.bbox_head.type", "DoubleConvFCBBoxHead", "'ConvFCBBoxHead'"),
        ("train_dataloader.dataset.type", "LVISDataset", "the nearest is 'LVISV1Dataset'"),
        (
            "train_dataloader.dataset.pipeline.3.type",
            "RandomFlips",
            "the nearest is 'RandomFlip'",
        ),
        ("val_evaluator.type", "CocoMetrics", "the nearest is 'CocoMetric'"),
        ("param_scheduler.1.type", "PolyLR", "supported: MultiStepLR, CosineAnnealingLR"),
    ],
)
def test_types_without_counterpart_are_errors_with_the_nearest_one(foreign, path, value, nearest):
    told = next(p for p in _problems(_set(foreign(), path, value)) if p.startswith(path))
    assert f"{path.removesuffix('.type')}.type is {value!r}" in told
    assert nearest in told


def test_a_hook_without_counterpart_is_an_error(foreign):
    cfg = foreign() | {"custom_hooks": [dict(type="YOLOXModeSwitchHook", num_last_epochs=15)]}
    (told,) = _problems(cfg)
    assert told.startswith(
        "custom_hooks.0.type is 'YOLOXModeSwitchHook', which is no hook that is supported"
    )


def test_all_problems_are_listed_at_once(foreign):
    cfg = _set(foreign(), "model.backbone.depht", 18)
    cfg = _set(cfg, "model.backbone.deep_stem", True)
    cfg = _set(cfg, "default_hooks.checkpoint.rule", "less")
    told = _problems(cfg)
    assert len(told) == 3
    assert "model.backbone.deep_stem is True, and only False is supported" in told


def test_a_misspelt_section_is_an_error_and_a_variable_is_not(foreign):
    assert translate_config(foreign() | {"image_size": (1024, 1024)}).without_effect["image_size"]
    (told,) = _problems(foreign() | {"optim_wraper": dict(type="AmpOptimWrapper")})
    assert told == "optim_wraper is no section of a config; is 'optim_wrapper' meant?"


def test_another_ground_truth_than_the_data_sets_is_an_error(foreign):
    (told,) = _problems(_set(foreign(), "val_evaluator.ann_file", "data/other.json"))
    assert "is 'data/other.json', but the data set's is 'data/shapes/annotations/val.json'" in told


def test_caffe_weights_get_their_channels_and_norms(foreign):
    cfg = foreign()
    cfg = _set(cfg, "model.data_preprocessor.bgr_to_rgb", False)
    cfg = _set(cfg, "model.backbone.norm_cfg", dict(type="BN", requires_grad=False))
    cfg = _set(cfg, "model.backbone.style", "caffe")
    model = translate_config(cfg).config["model"]
    assert model["normalizer"]["to_bgr"] is True
    assert model["backbone"]["norm_cfg"] == {"type": "BN", "requires_grad": False}
    assert model["backbone"]["style"] == "caffe"


def test_polygons_choose_the_rule_of_mask_targets(foreign):
    cfg = _set(foreign(), "train_dataloader.dataset.pipeline.1.poly2mask", False)
    head = translate_config(cfg).config["model"]["roi_head"]["mask_head"]
    assert head["target_rule"] == "polygon"


def test_training_settings(foreign):
    cfg = foreign()
    cfg["optim_wrapper"] = dict(
        type="AmpOptimWrapper",
        loss_scale="dynamic",
        dtype="bfloat16",
        accumulative_counts=4,
        clip_grad=dict(max_norm=35, norm_type=2),
        optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.1),
        paramwise_cfg=dict(
            norm_decay_mult=0.0,
            bias_lr_mult=2.0,
            custom_keys={"backbone": dict(lr_mult=0.1), "backbone.layer4": dict(lr_mult=0.5)},
        ),
    )
    cfg["train_cfg"] = dict(type="IterBasedTrainLoop", max_iters=90000, val_interval=10000)
    cfg["default_hooks"]["checkpoint"] = dict(
        type="CheckpointHook",
        by_epoch=False,
        interval=10000,
        max_keep_ckpts=2,
        save_best="coco/bbox_mAP",
    )
    cfg["param_scheduler"][1].update(by_epoch=False, milestones=[60000, 80000], end=90000)
    cfg["custom_hooks"] = [
        dict(type="EMAHook", ema_type="ExpMomentumEMA", momentum=0.0002, priority=49),
        dict(type="EarlyStoppingHook", monitor="coco/bbox_mAP", patience=3, min_delta=0.005),
        dict(type="NumClassCheckHook"),
    ]
    cfg["randomness"] = dict(seed=7, deterministic=True)
    cfg |= {"resume": True, "load_from": "w.pth"}
    native = translate_config(cfg).config
    assert native["train"] == {
        "max_iters": 90000,
        "val_interval": 10000,
        "log_interval": 50,
        "checkpoint_interval": 10000,
        "keep_last": 2,
        "best_metric": "bbox_mAP",
        "precision": "bf16",
        "accumulate": 4,
        "clip_grad_norm": 35,
        "ema": {"decay": 0.9998, "ramp_up": 2000},
        "deterministic": True,
    }
    groups = native["param_groups"]
    assert (groups["norm_decay"], groups["bias_lr"]) == (0.0, 2.0)
    assert groups["exempt"] == ["backbone", r"backbone\.layer4"]
    matching = {
        name: [factor for key, factor in groups["lr_multipliers"].items() if re.search(key, name)]
        for name in ("backbone.layer4.0.conv1.weight", "backbone.conv1.weight", "neck.weight")
    }
    assert list(matching.values()) == [[0.5], [0.1], []]  # the longest key counts
    assert native["schedule"]["unit"] == "iter"
    hook = {"type": "EarlyStopping", "metric": "bbox_mAP", "patience": 3, "min_delta": 0.005}
    assert native["hooks"] == [hook]
    assert (native["seed"], native["resume"], native["load_from"]) == (7, True, "w.pth")


def test_the_warm_up_is_mmengines(foreign):
    """LinearLR: start_factor at iteration 0, 1 at iteration `end` - 1."""
    from mmengine.optim.scheduler import LinearLR

    from mmdet_lite.registry import SCHEDULES

    native = build(translate_config(foreign()).config["schedule"], SCHEDULES)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = LinearLR(optimizer, start_factor=0.001, by_epoch=False, begin=0, end=500)
    for step in range(510):
        rate = optimizer.param_groups[0]["lr"]
        assert native.factor(step, 10000, 1000) == pytest.approx(rate, rel=1e-9), step
        optimizer.step()
        theirs.step()


WARM_UP = dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=500)


@pytest.mark.parametrize(
    ("steps", "native"),
    [
        (
            [dict(type="MultiStepLR", by_epoch=True, begin=0, end=12, milestones=[8, 11, 16])],
            {"milestones": [8, 11], "gamma": 0.1},  # nothing falls after `end`
        ),
        (
            [dict(type="CosineAnnealingLR", by_epoch=False, T_max=9000, end=9000)],
            {"type": "CosineSchedule"},
        ),
        (
            [WARM_UP, dict(type="CosineAnnealingLR", by_epoch=False, begin=500, T_max=8500)],
            {"warmup_iters": 499, "warmup_factor": 0.1},
        ),
    ],
)
def test_schedules(foreign, steps, native):
    cfg = foreign() | {"param_scheduler": steps}
    cfg["train_cfg"] = dict(type="IterBasedTrainLoop", max_iters=9000, val_interval=1000)
    cfg["default_hooks"]["checkpoint"]["by_epoch"] = False
    assert native.items() <= translate_config(cfg).config["schedule"].items()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            dict(by_epoch=False, begin=0),
            "param_scheduler.1.begin is 0, and only a cosine",
        ),
        (dict(begin=6, T_max=6), "param_scheduler.1.begin is epoch 6, and only a cosine after the"),
        (
            dict(convert_to_iter_based=False),
            "param_scheduler.1.by_epoch is True, and a cosine",
        ),
        (dict(T_max=6), "param_scheduler.1.T_max ends at 6, and only a cosine to the end, 12, is"),
    ],
)
def test_schedules_that_would_mean_something_else_are_errors(foreign, change, problem):
    cosine = dict(type="CosineAnnealingLR", begin=0, T_max=12, convert_to_iter_based=True)
    cfg = foreign() | {"param_scheduler": [WARM_UP, cosine | change]}
    assert any(told.startswith(problem) for told in _problems(cfg)), _problems(cfg)


def test_a_config_for_testing_alone(foreign):
    cfg = foreign() | dict.fromkeys(
        ("train_cfg", "train_dataloader", "optim_wrapper", "param_scheduler", "auto_scale_lr")
    )
    native = translate_config(cfg).config
    assert "train_data" not in native and "optimizer" not in native
    assert native["test_data"]["batch_size"] == 2


def test_an_evaluator_without_its_data_is_one_problem(foreign):
    (told,) = _problems(foreign() | {"val_dataloader": None})
    assert told == "val_dataloader is missing beside val_evaluator"


def test_synchronised_norms_are_a_setting_of_the_run(foreign):
    cfg = _set(foreign(), "model.backbone.norm_cfg", dict(type="SyncBN", requires_grad=True))
    native = translate_config(cfg).config
    assert native["train"]["sync_bn"] is True
    assert "norm_cfg" not in native["model"]["backbone"]


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("model.test_cfg.rcnn.score_thr", "0.05", "a number"),
        ("model.test_cfg.rpn.nms_pre", None, "a number"),
        ("optim_wrapper.optimizer.lr", "0.02x", "a number"),
        ("model.roi_head.bbox_head.bbox_coder.target_stds", "x", "a list"),
        ("train_dataloader.batch_size", "two", "a number"),
        ("default_hooks.checkpoint.interval", "1", "a number"),
    ],
)
def test_values_of_another_kind_are_errors_with_their_path(foreign, path, value, expected):
    (told,) = _problems(_set(foreign(), path, value))
    assert told.startswith(f"{path} is {value!r}, expected {expected}")


def test_types_of_the_users_own_are_taken_as_they_stand(foreign):
    cfg = _set(foreign(), "model.backbone", dict(type="MyBackbone", width=3))
    assert "model.backbone.type is 'MyBackbone'" in _problems(cfg)[0]
    native = translate_config(cfg, own_types={"MyBackbone"}).config
    assert native["model"]["backbone"] == {"type": "MyBackbone", "width": 3}


def test_which_configs_are_mmdetections(foreign):
    assert is_mmdet_config(foreign())
    assert is_mmdet_config({"model": {"type": "MaskRCNN", "test_cfg": {}}})
    assert is_mmdet_config({"default_scope": "mmdet"})
    assert not is_mmdet_config({"model": {"type": "TwoStageDetector"}, "train_data": {}})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("coco/bbox_mAP_50", "bbox_mAP_50"),
        ("pascal_voc/mAP", "voc_mAP"),
        ("pascal_voc/AP50", "voc_mAP_50"),
        ("lvis/segm_AP", "segm_mAP"),
        ("lvis/bbox_APr", "bbox_mAP_r"),
    ],
)
def test_the_best_metric_has_its_name_here(theirs, ours):
    assert metric_name(theirs) == ours
