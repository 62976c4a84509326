"""NanoDet-Plus as a whole: what the guiding branch does, and what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdet_lite.models.detectors import NanoDetPlus
from mmdet_lite.registry import MODELS, build

CONFIG = Path(__file__).parents[3] / "configs/_base_/models/nanodet-plus-m.py"
OBJECTS = [[[4.0, 4, 30, 40], [20, 10, 60, 60]], [[10.0, 20, 50, 50]]]
CASES = {
    "objects": OBJECTS,
    "no objects": [[], []],
    "no objects in one image": [OBJECTS[0], []],
    "a box without a point": [[[1.0, 1, 5, 5]], OBJECTS[1]],
    "duplicate boxes": [OBJECTS[0] * 2, OBJECTS[1]],
    "a box larger than the image": [[[-99.0, -99, 200, 200]], OBJECTS[1]],
}


def _model(**settings) -> NanoDetPlus:
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIG).model
    cfg.backbone.update(width=0.5, pretrained=None)
    cfg.neck.update(in_channels=[48, 96, 192], out_channels=8)
    cfg.bbox_head.update(num_classes=3, in_channels=8, feat_channels=8)
    cfg.aux_head.update(num_classes=3, in_channels=16, feat_channels=8, num_groups=2)
    for key, value in settings.items():
        cfg[key] = value
    return build(cfg, MODELS).train()


@pytest.mark.parametrize(
    ("case", "epoch"), [*((case, 0) for case in CASES), ("objects", 10), ("no objects", 10)]
)
def test_losses_are_finite_and_every_parameter_has_a_gradient(tiny_batch, case, epoch):
    model, batch = _model(), tiny_batch(CASES[case])
    batch.epoch = epoch
    losses = model(batch)
    sum(losses.values()).backward()
    assert len(losses) == 6 and all(value.isfinite() for value in losses.values())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


def test_the_second_neck_begins_as_a_copy_with_weights_of_its_own():
    model = _model()
    own = dict(model.aux_neck.named_parameters())
    for name, parameter in model.neck.named_parameters():
        assert torch.equal(parameter, own[name]) and parameter is not own[name]


@pytest.mark.parametrize(("epoch", "is_cut"), [(9, False), (10, True)])
def test_the_guide_is_cut_from_the_epoch_on(tiny_batch, epoch, is_cut):
    model, batch = _model(), tiny_batch(OBJECTS)
    batch.epoch = epoch
    losses = model(batch)
    sum(value for name, value in losses.items() if name.startswith("aux_")).backward()
    reached = {name: part.grad is not None for name, part in model.named_parameters()}
    for name, has_gradient in reached.items():
        part = name.partition(".")[0]
        expected = part in ("aux_neck", "aux_head") or (part != "bbox_head" and not is_cut)
        assert has_gradient == expected, name


def test_losses_do_not_depend_on_the_cut(tiny_batch):
    model, batch = _model(), tiny_batch(OBJECTS)
    attached = model(batch)
    batch.epoch = 10
    for name, value in model(batch).items():
        torch.testing.assert_close(value, attached[name])


@pytest.mark.parametrize(
    ("setting", "epoch", "by_head"), [(False, 10, False), (True, 9, False), (True, 10, True)]
)
def test_the_head_decides_only_after_the_cut_and_if_it_is_to(tiny_batch, setting, epoch, by_head):
    model, batch = _model(head_assigns_after_detach=setting), tiny_batch(OBJECTS)
    batch.epoch = epoch
    seen = []
    model.bbox_head.register_forward_hook(lambda module, args, output: seen.append(output))
    losses = model(batch)
    alone = model.bbox_head.loss(seen[0], batch)  # the head's own assignment
    assert torch.equal(losses["loss_cls"], alone["loss_cls"]) == by_head


def test_predictions_do_not_need_the_guide(tiny_batch):
    model, batch = _model().eval(), tiny_batch(OBJECTS)
    before = model(batch)
    for part in (model.aux_neck, model.aux_head):
        for parameter in part.parameters():
            parameter.data.fill_(float("nan"))
    after = model(batch)
    assert torch.equal(before.boxes, after.boxes) and torch.equal(before.scores, after.scores)
    names = {id(p): name for name, p in model.named_parameters()}
    parts = {names[id(p)].partition(".")[0] for p in model.inference_parameters()}
    assert parts == {"backbone", "neck", "bbox_head"}


@pytest.mark.parametrize(
    ("setting", "key"), [({"num_classes": 4}, "num_classes"), ({"num_bins": 16}, "num_bins")]
)
def test_heads_that_differ_are_told(setting, key):
    cfg = Config.fromfile(CONFIG).model
    cfg.aux_head.update(setting)
    with pytest.raises(ValueError, match=rf"NanoDetPlus: .*aux_head\.{key} "):
        build(cfg, MODELS)
