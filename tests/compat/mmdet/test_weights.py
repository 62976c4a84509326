"""MMDetection's checkpoints: which weights and class names are taken, what is refused."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.apis.convert import convert_content


def state(value: float, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    names = ("backbone.conv1.weight", "bbox_head.retina_cls.weight")
    return {name: torch.full((2,), value) for name in names} | more


def taken(content: dict, raw: bool = False) -> float:
    converted = convert_content(content, "file", raw=raw)
    assert converted.weights.keys() == state(0).keys()
    return float(converted.weights["backbone.conv1.weight"][0])


@pytest.mark.parametrize(
    "meta",
    [
        {"CLASSES": ("cat", "dog"), "config": "a = 1", "mmdet_version": "2.28.0"},
        {"dataset_meta": {"classes": ["cat", "dog"]}, "cfg": "a = 1", "mmdet_version": "3.3.0"},
        {"dataset_meta": {"CLASSES": ("cat", "dog")}, "cfg": "a = 1"},
    ],
)
def test_classes_and_config_are_taken_from_either_version(meta):
    converted = convert_content({"state_dict": state(1.0), "meta": meta}, "file")
    assert (converted.classes, converted.config_text) == (["cat", "dog"], "a = 1")
    assert converted.source == f"MMDetection {meta.get('mmdet_version', '')}".strip()


def test_averages_of_mmengine_are_taken_unless_raw_weights_are_asked_for():
    """Its hook writes the averages as state_dict, and what was trained as ema_state_dict."""
    ema = {f"module.{name}": value for name, value in state(3.0).items()}
    content = {"state_dict": state(5.0), "ema_state_dict": ema | {"steps": torch.tensor(7)}}
    assert (taken(content), taken(content, raw=True)) == (5.0, 3.0)


def test_averages_of_mmcv_are_taken_unless_raw_weights_are_asked_for():
    ema = {f"ema_{name.replace('.', '_')}": value for name, value in state(3.0).items()}
    content = {"state_dict": state(5.0) | ema}
    assert (taken(content), taken(content, raw=True)) == (5.0, 3.0)


def test_weights_of_a_wrapped_model_and_without_averages():
    content = {"state_dict": {f"module.{name}": value for name, value in state(5.0).items()}}
    assert (taken(content), taken(content, raw=True)) == (5.0, 5.0)


@pytest.mark.parametrize("name", ["bbox_head.fc_cls.weight", "bbox_head.0.fc_cls.weight"])
def test_version_1_is_refused(name):
    old = {"state_dict": state(1.0, **{name: torch.zeros(1)})}
    with pytest.raises(ValueError, match="MMDetection 1.x, whose class order and boxes"):
        convert_content(old, "file")


def test_our_own_form_is_pointed_to_its_command():
    with pytest.raises(ValueError, match="this program's own form.*publish-model"):
        convert_content({"model": state(1.0), "ema": None, "iteration": 3}, "file")


def test_what_is_no_tensor_among_the_weights_is_named():
    with pytest.raises(ValueError, match=r"not tensors: backbone.x \(1 in all\)"):
        convert_content({"state_dict": state(1.0) | {"backbone.x": 3}}, "file")
