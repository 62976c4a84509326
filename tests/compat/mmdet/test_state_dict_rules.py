"""The naming rules give the reference's state dicts, and our models those of the rules."""

from __future__ import annotations

import copy

import pytest
import torch
from expected_state_dict import expected_state_dict
from foreign_configs import stock_models
from reference import load_json

from mmdet_lite.compat.mmdet import translate_config
from mmdet_lite.registry import MODELS, build

STOCK = stock_models()


@pytest.mark.parametrize("name", STOCK)
def test_rules_give_the_reference(name):
    assert expected_state_dict(STOCK[name]) == load_json(f"state_dict_{name}")["shapes"]


@pytest.mark.parametrize("name", STOCK)
def test_translated_models_have_the_reference_s_names_and_shapes(name):
    cfg = {"model": copy.deepcopy(STOCK[name]), "default_scope": "mmdet"}
    with torch.device("meta"):
        model = build(translate_config(cfg).config["model"], MODELS)
    theirs = load_json(f"state_dict_{name}")
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == theirs["shapes"]
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == set(theirs["frozen"])
