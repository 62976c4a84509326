"""What build() makes of a config, and what it says of one that it can't use."""

from __future__ import annotations

import copy
from collections import Counter

import pytest
from mmengine.config import ConfigDict

from mmdet_lite.models.assigners import MaxIoUAssigner
from mmdet_lite.models.losses import L1Loss
from mmdet_lite.models.roi_heads import FCNMaskHead
from mmdet_lite.registry import (
    ALL_REGISTRIES,
    DATASETS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    build,
    check,
    find_class,
)

MASK_HEAD = dict(
    type="FCNMaskHead",
    num_classes=3,
    in_channels=4,
    num_convs=1,
    conv_out_channels=4,
    loss_mask=dict(type="MaskCrossEntropyLoss", loss_weight=2.0),
    norm_cfg=dict(type="GN", num_groups=2),
)


class Holder:
    """Keeps what it is given."""

    def __init__(self, items: list, table: dict | None = None, *, plain: int = 3):
        self.items = items
        self.table = table
        self.plain = plain


@pytest.fixture
def holder():
    MODELS.register_module(module=Holder)
    yield
    MODELS.module_dict.pop("Holder")


def test_nested_dicts_with_a_type_are_built_wherever_they_stand(holder):
    loss = dict(type="L1Loss", loss_weight=5)
    cfg = dict(type="Holder", items=[loss, 7], table=dict(a=dict(deep=(loss,)), b="text"))
    built = build(cfg, MODELS)
    assert isinstance(built.items[0], L1Loss)
    assert built.items[0].loss_weight == 5
    assert built.items[1] == 7
    assert isinstance(built.table["a"]["deep"][0], L1Loss)
    assert built.table["b"] == "text"
    assert built.plain == 3


def test_each_use_of_a_nested_dict_is_an_object_of_its_own(holder):
    loss = dict(type="L1Loss")
    first, second = build(dict(type="Holder", items=[loss, loss]), MODELS).items
    assert first is not second


def test_config_is_not_changed():
    for cfg in (copy.deepcopy(MASK_HEAD), ConfigDict(MASK_HEAD)):
        before = copy.deepcopy(cfg)
        build(cfg, MODELS)
        assert cfg == before


def test_arguments_in_mmcv_form_are_passed_on_unbuilt():
    head = build(MASK_HEAD, MODELS)
    assert isinstance(head, FCNMaskHead)
    assert head.convs[0].norm.num_groups == 2
    assert head.loss_mask.loss_weight == 2


def test_what_only_the_caller_knows_is_given_beside_the_config(holder):
    built = build(dict(type="Holder", plain=4), MODELS, items=[1, 2])
    assert built.items == [1, 2]
    assert built.plain == 4


def test_type_may_be_the_class_itself():
    assert isinstance(build(dict(type=L1Loss), MODELS), L1Loss)
    assert find_class(L1Loss) is L1Loss


def test_unknown_type_names_near_matches_of_its_registry():
    with pytest.raises(KeyError) as error:
        build(dict(type="MaxIoUAsigner", pos_iou_thr=0.5), MODELS)
    assert "unknown model type 'MaxIoUAsigner'; did you mean 'MaxIoUAssigner' or" in str(
        error.value
    )
    assert "custom_imports" in str(error.value)


def test_unknown_type_in_other_letter_case_is_recognised():
    with pytest.raises(KeyError, match="unknown model type 'resnet'; did you mean 'ResNet'"):
        build(dict(type="resnet", depth=18), MODELS)


def test_unknown_type_without_a_near_match_lists_what_is_registered():
    with pytest.raises(KeyError, match="unknown model type 'Qqq'.*Registered: .*FPN, .*ResNet, "):
        build(dict(type="Qqq"), MODELS)


def test_type_of_another_registry_is_named_as_such():
    with pytest.raises(KeyError, match="'FPN'.*registered as a model, which cannot stand here"):
        build(dict(type="FPN"), METRICS)
    with pytest.raises(KeyError, match="unknown optimizer type 'FPN'"):
        build(dict(type="FPN"), OPTIMIZERS)


def test_unknown_nested_type_is_named():
    cfg = MASK_HEAD | dict(loss_mask=dict(type="MaskCrossEntropy"))
    with pytest.raises(
        KeyError, match="unknown type 'MaskCrossEntropy'; did you mean 'MaskCrossEntropyLoss'"
    ):
        build(cfg, MODELS)


def test_all_wrong_arguments_are_listed_with_hints_and_the_accepted_ones():
    with pytest.raises(TypeError) as error:
        build(dict(type="FPN", in_channels=[8], num_out=5, colour="red"), MODELS)
    assert str(error.value) == (
        "FPN: unknown argument 'num_out' (did you mean 'num_outs'?); unknown argument 'colour'; "
        "missing argument 'out_channels'; missing argument 'num_outs'. "
        "It accepts: in_channels, out_channels, num_outs, "
        "start_level, add_extra_convs, relu_before_extra_convs, norm_cfg, conv_cfg"
    )


def test_wrong_argument_of_a_nested_class_names_that_class():
    cfg = MASK_HEAD | dict(loss_mask=dict(type="MaskCrossEntropyLoss", weight=1))
    with pytest.raises(TypeError, match="^MaskCrossEntropyLoss: unknown argument 'weight'"):
        build(cfg, MODELS)


@pytest.mark.parametrize("cfg", ["ResNet", None, MaxIoUAssigner, [dict(type="FPN")]])
def test_config_that_is_no_dict_is_refused(cfg):
    with pytest.raises(TypeError, match="expected a dict with 'type' for a model, got "):
        build(cfg, MODELS)


def test_config_without_a_type_is_refused_and_shown():
    with pytest.raises(KeyError, match="model config has no 'type': {'depth': 50}"):
        build(dict(depth=50), MODELS)


def test_an_argument_of_the_run_cannot_stand_in_the_config():
    cfg = dict(type="ShapesDataset", num_images=1, seed=3)
    with pytest.raises(TypeError, match="ShapesDataset: 'seed' is set by the run"):
        build(cfg, DATASETS, seed=0)


@pytest.mark.parametrize(
    ("cfg", "problem"),
    [
        (dict(type="FPN", in_channels=[8], out_channels="32", num_outs=1), "out_channels is '32'"),
        (dict(type="FPN", in_channels="8", out_channels=32, num_outs=1), "in_channels is '8'"),
        (dict(type="NMS", iou_thr=[0.5]), r"iou_thr is \[0.5\], expected a number"),
    ],
)
def test_text_and_lists_in_place_of_numbers_are_named(cfg, problem):
    with pytest.raises(TypeError, match=problem):
        build(cfg, MODELS)


def test_check_raises_what_build_would_and_calls_nothing():
    class Strict:
        def __init__(self, size: int):
            raise AssertionError("called")

    check(dict(type=Strict, size=3), MODELS)
    with pytest.raises(TypeError, match="did you mean 'size'"):
        check(dict(type=Strict, sise=3), MODELS)
    with pytest.raises(TypeError, match="size is '3', expected a whole number"):
        check(dict(type=Strict, size="3"), MODELS)


def test_a_name_is_in_one_registry_only():
    # what is found must not depend on which of them are filled already
    for registry in ALL_REGISTRIES:
        registry.import_from_location()
    counts = Counter(name for registry in ALL_REGISTRIES for name in registry.module_dict)
    assert [name for name, count in counts.items() if count > 1] == []
