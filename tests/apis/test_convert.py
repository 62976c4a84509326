"""Converting checkpoints: the command, its kinds, what it writes and says.

Run with: pytest tests/apis/test_convert.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import torch
from torchvision.models import detection

from mmdet_lite.apis import convert as convert_module
from mmdet_lite.apis import test as test_module
from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.convert import KINDS
from mmdet_lite.cli import COMMANDS
from mmdet_lite.compat.torchvision import convert_torchvision_state_dict
from mmdet_lite.engine.checkpoint import load_checkpoint

SHAPES = ["circle", "square", "triangle", "star", "ring", "cross"]


class HistoryBuffer:
    """What MMEngine leaves in a checkpoint."""


@pytest.fixture
def theirs(tiny, tmp_path) -> Path:
    """A checkpoint as MMDetection writes it, that torch's safe loader refuses."""
    torch.manual_seed(0)
    meta = {"dataset_meta": {"classes": SHAPES}, "cfg": "a = 1", "mmdet_version": "3.3.0"}
    state = {f"{name}": value for name, value in build_model(tiny()).state_dict().items()}
    content = {"state_dict": state, "meta": meta, "message_hub": HistoryBuffer()}
    torch.save(content, tmp_path / "theirs.pth")
    return tmp_path / "theirs.pth"


@pytest.fixture(params=[".pth", ".safetensors"])
def out(request, tmp_path) -> Path:
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"converted/ours{request.param}"


def test_what_was_refused_is_converted_and_tested(run_cli, cli_error, caplog, tiny, theirs, out):
    assert "was refused" in cli_error("publish-model", theirs, out)
    assert run_cli("convert-checkpoint", theirs, out).code == 0
    assert re.search(r"left out, .*: message_hub \(.*HistoryBuffer\)", caplog.text)
    assert "MMDetection 3.3.0); " in caplog.text and "6 classes" in caplog.text
    content = load_checkpoint(out)
    assert content["meta"] == {
        "classes": SHAPES,
        "config": "a = 1",
        "converted_from": "MMDetection 3.3.0",
        "torch": torch.__version__,
    }
    assert "bbox_mAP" in test_module.test(tiny(), out)
    assert out.with_name(out.name + ".sha256").is_file()


def test_the_config_of_the_user_is_compared(cli_error, run_cli, caplog, theirs, tmp_path):
    config = Path(__file__).with_name("tiny_config.py")
    out = tmp_path / "out.pth"
    assert run_cli("convert-checkpoint", theirs, out, "--config", config).code == 0
    assert f"it fits {config}" in caplog.text
    other = "configs/retinanet/retinanet_r50_fpn_1x_coco.py"
    message = cli_error("convert-checkpoint", theirs, tmp_path / "x.pth", "--config", other)
    assert f"{theirs}, for {other}: the weights do not fit SingleStageDetector" in message
    assert not (tmp_path / "x.pth").exists()


def test_a_detector_of_torchvision_fits_its_config(run_cli, caplog, tmp_path):
    with torch.device("meta"):
        model = detection.retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=4)
    one = torch.zeros(1)
    state = {
        n: one.expand(v.shape).clone() for n, v in model.state_dict().items() if "num_b" not in n
    }
    torch.save(state, tmp_path / "theirs.pth")
    assert run_cli("convert-checkpoint", tmp_path / "theirs.pth", tmp_path / "o.pth").code == 0
    assert (
        "use it with configs/torchvision/retinanet_r50_fpn.py --cfg-options "
        "model.bbox_head.num_classes=3"
    ) in caplog.text
    assert "with an epsilon of 0" in caplog.text


def test_older_names_of_torchvision_are_known():
    pairs = {
        "backbone.fpn.inner_blocks.1.weight": "neck.lateral_convs.1.conv.weight",
        "backbone.fpn.layer_blocks.1.0.bias": "neck.fpn_convs.1.conv.bias",
        "rpn.head.conv.weight": "rpn_head.rpn_conv.weight",
        "roi_heads.mask_head.mask_fcn4.bias": "roi_head.mask_head.convs.3.conv.bias",
        "head.classification_head.conv.6.weight": "bbox_head.cls_convs.3.conv.weight",
        "head.regression_head.conv.2.0.weight": "bbox_head.reg_convs.2.conv.weight",
    }
    converted = convert_torchvision_state_dict({name: torch.ones(1) for name in pairs})
    assert list(converted) == list(pairs.values())


@pytest.mark.parametrize(
    "name", ["rpn.head.conv.1.0.weight", "head.classification_head.conv.0.1.bias"]
)
def test_other_detectors_of_torchvision_are_refused(name):
    state = {"backbone.body.conv1.weight": torch.ones(1), name: torch.ones(1)}
    with pytest.raises(ValueError, match=f"'{name}' is not a parameter .* the _v2 ones too"):
        convert_module.convert_content(state, "file")


def test_an_unknown_checkpoint_is_described(cli_error, tmp_path):
    state = {f"backbone.bodies.{i}.weight": torch.ones(1) for i in range(20)}
    torch.save({"model_state": state, "epoch": 3}, tmp_path / "a.pth")
    message = cli_error("convert-checkpoint", tmp_path / "a.pth", tmp_path / "out.pth")
    assert "is of no known kind. It holds 2 names, as model_state, epoch" in message
    torch.save({"model": state, "epoch": 3}, tmp_path / "a.pth")
    message = cli_error("convert-checkpoint", tmp_path / "a.pth", tmp_path / "out.pth")
    assert "It holds 20 names, as backbone.bodies.0.weight, " in message
    assert "(top level: model, epoch). The nearest kind is torchvision, with names as" in message


def test_a_damaged_or_hostile_file_is_refused(cli_error, tmp_path):
    folder = tmp_path / "made"

    class MakeFolder:
        def __reduce__(self):
            return os.mkdir, (str(folder),)

    torch.save({"state_dict": MakeFolder()}, tmp_path / "a.pth")
    message = cli_error("convert-checkpoint", tmp_path / "a.pth", tmp_path / "out.pth")
    assert "in the place of weights: its 'state_dict' is one of posix.mkdir" in message
    assert not folder.exists()
    (tmp_path / "a.pth").write_bytes(b"\x80\x02}q")
    message = cli_error("convert-checkpoint", tmp_path / "a.pth", tmp_path / "out.pth")
    assert "cannot be read (4 bytes on disk)" in message
    assert not (tmp_path / "out.pth").exists()


def test_kinds_of_the_command_are_those_of_the_function(run_cli):
    listed = re.search(r"--kind \{([\w,]+)\}", run_cli("convert-checkpoint", "--help").out)[1]
    assert tuple(listed.split(",")) == KINDS
    assert "convert-checkpoint" in COMMANDS
    with pytest.raises(ValueError, match="kind must be one of auto, torchvision, .* got 'x'"):
        convert_module.convert_content({}, "file", kind="x")
