"""NanoDet-Plus's checkpoints: prefixes, averages, and what is refused.

That the weights compute what they did there is shown by tests/conformance/test_nanodet_plus.py.
Run with: pytest tests/compat/test_nanodet.py
"""

from __future__ import annotations

import json

import pytest
import torch
from reference import ROOT
from torch import Tensor

from mmdet_lite.apis.convert import convert_content
from mmdet_lite.engine.checkpoint import load_checkpoint

FACTS = json.loads((ROOT / "one_stage/nanodet_plus/model_320.json").read_text())
SHAPES = {entry["key"]: entry["shape"] for entry in FACTS["state_dict"]}


def _state(value: float = 0.0, prefix: str = "", classes: int = 80) -> dict[str, Tensor]:
    """A whole model of the original, without memory of its own."""
    state = {}
    for name, shape in SHAPES.items():
        if ".gfl_cls" in name:
            shape = [shape[0] - 80 + classes, *shape[1:]]
        state[prefix + name] = torch.full([1] * len(shape), value).expand(shape)
    return state


@pytest.mark.parametrize("prefix", ["", "model.", "module.model."])
def test_prefixes_do_not_matter(prefix):
    converted = convert_content({"state_dict": _state(prefix=prefix)}, "file")
    assert converted.config == "configs/nanodet/nanodet-plus-m_320_coco.py"
    assert converted.source == "NanoDet-Plus" and len(converted.classes) == 80
    assert "neck.top_down_blocks.0.ghost1.primary.conv.weight" in converted.weights


def test_the_average_is_taken_unless_raw_weights_are_wanted():
    state = _state(1.0, "model.") | _state(2.0, "avg_model.")
    for raw, expected in ((False, 2.0), (True, 1.0)):
        converted = convert_content({"state_dict": state, "epoch": 3}, "file", raw=raw)
        assert {float(value.flatten()[0]) for value in converted.weights.values()} == {expected}
        assert ("averaged" in converted.source) != raw


def test_outputs_are_divided_into_classes_and_distances():
    state = _state(classes=5)
    state["head.gfl_cls.2.bias"] = torch.arange(37.0)
    converted = convert_content(state, "file")
    assert converted.weights["bbox_head.conv_cls.2.bias"].tolist() == [0, 1, 2, 3, 4]
    assert converted.weights["bbox_head.conv_reg.2.bias"].tolist() == list(range(5, 37))
    names = ("model.bbox_head.num_classes", "model.aux_head.num_classes")
    assert converted.options == dict.fromkeys(names, 5) and converted.classes is None


def test_other_models_are_refused():
    other = _state() | {"backbone.stages.0.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match="1 parameters are not those of NanoDet-Plus with Shuffle"):
        convert_content(other, "file")
    narrow = _state()
    narrow["fpn.reduce_layers.0.bn.weight"] = torch.ones(64)
    with pytest.raises(ValueError, match="its neck has 64 channels; NanoDet-Plus-m has 96"):
        convert_content(narrow, "file")
    bare = {name: value for name, value in _state().items() if not name.startswith("aux_")}
    with pytest.raises(ValueError, match=r"there is no aux_head\.conv_cls\.bias .* what guides"):
        convert_content(bare, "file")


def test_the_command_writes_what_fits_the_config(run_cli, caplog, tmp_path):
    state = {name: value.clone() for name, value in _state(classes=5).items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "theirs.ckpt")
    out = tmp_path / "ours.pth"
    assert run_cli("convert-checkpoint", tmp_path / "theirs.ckpt", out).code == 0
    assert "use it with configs/nanodet/nanodet-plus-m_320_coco.py --cfg-options" in caplog.text
    assert len(load_checkpoint(out)["state_dict"]) == 887 - 1 + 8  # without bins, with conv_reg
