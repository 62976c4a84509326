"""Run with: pytest tests/engine/test_optimizer.py"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmdet_lite.engine.optimizer import build_optimizer, scale_lr

SGD = {"type": "SGD", "lr": 0.1, "weight_decay": 0.01}


def small_model() -> nn.Module:
    return nn.ModuleDict({"backbone": nn.Conv2d(1, 1, 1), "norm": nn.BatchNorm2d(1)})


def rates(optimizer: torch.optim.Optimizer) -> dict[str, tuple[float, float]]:
    return {
        name: (pytest.approx(group["lr"]), pytest.approx(group["weight_decay"]))
        for group in optimizer.param_groups
        for name in group["param_names"]
    }


def test_without_rules_there_is_one_group_of_trainable_parameters(caplog):
    caplog.set_level("INFO")
    model = small_model()
    model["backbone"].bias.requires_grad = False
    optimizer = build_optimizer(SGD, model)
    assert isinstance(optimizer, torch.optim.SGD)
    assert [g["param_names"] for g in optimizer.param_groups] == [
        ["backbone.weight", "norm.weight", "norm.bias"]
    ]
    assert "SGD: 3 trainable parameters" in caplog.text
    assert "1 frozen" in caplog.text


def test_norms_and_biases_have_their_own_decay():
    optimizer = build_optimizer(SGD, small_model(), {"norm_decay": 0.0, "bias_decay": 0.5})
    assert rates(optimizer) == {
        "backbone.weight": (0.1, 0.01),
        "backbone.bias": (0.1, 0.5),
        "norm.weight": (0.1, 0.0),
        "norm.bias": (0.1, 0.0),
    }


def test_biases_may_learn_faster_but_not_those_of_norms():
    optimizer = build_optimizer(SGD, small_model(), {"bias_lr": 2.0})
    assert {name: lr for name, (lr, _) in rates(optimizer).items()} == {
        "backbone.weight": 0.1,
        "backbone.bias": 0.2,
        "norm.weight": 0.1,
        "norm.bias": 0.1,
    }


def test_biases_may_form_groups_of_their_own():
    rules = {"norm_decay": 0.0, "bias_decay": 0.0}
    together = build_optimizer(SGD, small_model(), rules)
    assert [g["param_names"] for g in together.param_groups] == [
        ["backbone.weight"],
        ["backbone.bias", "norm.weight", "norm.bias"],
    ]
    split = build_optimizer(SGD, small_model(), {**rules, "split_biases": True})
    assert [g["param_names"] for g in split.param_groups] == [
        ["backbone.weight"],
        ["norm.weight"],
        ["backbone.bias", "norm.bias"],
    ]
    assert rates(split) == rates(together)


def test_factors_of_all_matching_patterns_are_multiplied():
    rules = {
        "lr_multipliers": {"backbone": 0.1, r"bias$": 2.0},
        "decay_multipliers": {r"backbone\.weight": 3.0},
    }
    optimizer = build_optimizer(SGD, small_model(), rules)
    assert rates(optimizer) == {
        "backbone.weight": (0.01, 0.03),
        "backbone.bias": (0.02, 0.01),
        "norm.weight": (0.1, 0.01),
        "norm.bias": (0.2, 0.01),
    }
    assert optimizer.param_groups[0]["param_names"] == ["norm.weight"], "the plain lr comes first"


def test_exempt_parameters_do_not_follow_the_rules_for_norms_and_biases():
    rules = {"norm_decay": 0.0, "bias_decay": 0.5, "bias_lr": 2.0, "exempt": [r"^backbone", "m.w"]}
    optimizer = build_optimizer(SGD, small_model(), rules)
    assert rates(optimizer) == {
        "backbone.weight": (0.1, 0.01),
        "backbone.bias": (0.1, 0.01),
        "norm.weight": (0.1, 0.01),
        "norm.bias": (0.1, 0.0),
    }


def test_defaults_of_the_optimizer_hold_where_the_config_is_silent():
    optimizer = build_optimizer({"type": "AdamW"}, small_model(), {"norm_decay": 0.0})
    assert rates(optimizer)["backbone.weight"] == (1e-3, 1e-2)
    assert rates(optimizer)["norm.weight"] == (1e-3, 0.0)


def test_patterns_without_a_parameter_are_all_named():
    rules = {"lr_multipliers": {"bakbone": 0.1, "norm": 1}, "decay_multipliers": {"neck": 0}}
    with pytest.raises(ValueError) as error:
        build_optimizer(SGD, small_model(), rules)
    assert "lr_multipliers 'bakbone', decay_multipliers 'neck'" in str(error.value)
    assert "names like backbone.weight" in str(error.value)


def test_a_frozen_model_is_an_error():
    with pytest.raises(ValueError, match="ModuleDict has no trainable parameter"):
        build_optimizer(SGD, small_model().requires_grad_(False))


def test_misspelt_names_are_told_with_near_ones():
    with pytest.raises(KeyError, match="did you mean 'SGD'"):
        build_optimizer({"type": "SDG", "lr": 0.1}, small_model())
    with pytest.raises(TypeError, match="did you mean 'momentum'"):
        build_optimizer({**SGD, "momentun": 0.9}, small_model())
    with pytest.raises(TypeError, match="did you mean 'norm_decay'"):
        build_optimizer(SGD, small_model(), {"norm_deca": 0.0})


def test_the_learning_rate_scales_linearly_and_says_so(caplog):
    caplog.set_level("INFO")
    assert scale_lr(0.02, base_batch_size=16, actual_batch_size=4) == pytest.approx(0.005)
    assert "0.02 in the config, for batches of 16 images; this run has 4, so 0.005" in caplog.text


@pytest.mark.parametrize(
    ("cfg", "fused"),
    [
        ({"type": "SGD", "lr": 0.1}, True),
        ({"type": "AdamW", "lr": 0.1, "fused": False}, False),
        ({"type": "AdamW", "lr": 0.1, "foreach": True}, None),
        ({"type": "RMSprop", "lr": 0.1}, "has no such argument"),
    ],
)
def test_torch_s_optimizers_are_fused_unless_told_otherwise(cfg, fused):
    optimizer = build_optimizer(cfg, nn.Linear(2, 2))
    assert optimizer.defaults.get("fused", "has no such argument") == fused


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": -1}, "config: optimizer.lr must be 0 or above, got -1"),
        ({"momentum": 2}, "config: optimizer.momentum must be between 0 and 1, got 2"),
        (
            {"type": "AdamW", "betas": (0.9, 1.5)},
            r"config: optimizer.betas\[1\] must be between 0 and 1, got 1.5",
        ),
        ({"nesterov": True}, "optimizer SGD has lr=0.1, weight_decay=0.01, nesterov=True: Nest"),
    ],
)
def test_a_number_out_of_range_is_named_with_its_key(values, message):
    with pytest.raises(ValueError, match=message):
        build_optimizer(SGD | values, small_model())


def test_a_value_of_another_type_is_named():
    with pytest.raises(TypeError, match="SGD: lr is '0.1', expected a number"):
        build_optimizer(SGD | {"lr": "0.1"}, small_model())
