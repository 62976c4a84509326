"""Publishing weights: which are taken, what is in the file, what is refused.

Run with: pytest tests/apis/test_publish.py
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from mmdet_lite.apis import test as test_module
from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.publish import publish_model
from mmdet_lite.engine.checkpoint import load_checkpoint, save_checkpoint
from mmdet_lite.engine.ema import ExponentialMovingAverage
from mmdet_lite.engine.weights import load_weights

SHAPES = ["circle", "square", "triangle", "star", "ring", "cross"]


def layer(value: float) -> nn.Linear:
    linear = nn.Linear(2, 100)
    for parameter in linear.parameters():
        nn.init.constant_(parameter, value)
    return linear


def values(linear: nn.Linear) -> list[float]:
    return torch.cat([p.flatten() for p in linear.parameters()]).unique().tolist()


@pytest.fixture(params=[".pth", ".safetensors"])
def out(request, tmp_path) -> Path:
    """The file to write, in a folder that is not there yet."""
    if request.param == ".safetensors":
        pytest.importorskip("safetensors")
    return tmp_path / f"published/mine{request.param}"


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A run's checkpoint: weights of 5, their average of 8, and what only training needs."""
    state = {
        "model": layer(5.0).state_dict(),
        "ema": ExponentialMovingAverage(layer(8.0)).state_dict(),
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(100, 1000)}}},
        "iteration": 7,
        "meta": {
            "classes": ["cat", "dog"],
            "config": "a = 1\n",
            "seed": 3,
            "mmdet_lite": "0.1.0",
            "torch": "2.6.0",
            "torchvision": "0.21.0",
        },
    }
    save_checkpoint(state, tmp_path / "epoch_1.pth")
    return tmp_path / "epoch_1.pth"


def test_the_average_is_taken_unless_raw_weights_are_asked_for(checkpoint, out):
    linear = layer(0.0)
    publish_model(checkpoint, out)
    assert load_weights(linear, out) == ["cat", "dog"]
    assert values(linear) == [8.0]
    publish_model(checkpoint, out, raw=True)
    load_weights(linear, out)
    assert values(linear) == [5.0]


def test_the_file_holds_weights_classes_config_and_versions_only(checkpoint, out):
    publish_model(checkpoint, out)
    content = load_checkpoint(out)
    assert content.keys() == {"state_dict", "meta"}
    assert {k: v.shape for k, v in content["state_dict"].items()} == {
        "weight": (100, 2),
        "bias": (100,),
    }
    assert content["meta"] == {
        "classes": ["cat", "dog"],
        "config": "a = 1\n",
        "mmdet_lite": "0.1.0",
        "torch": "2.6.0",
        "torchvision": "0.21.0",
    }


def test_the_checksum_beside_it_is_right_and_nothing_else_is_left(checkpoint, out):
    publish_model(checkpoint, out)
    assert sorted(path.name for path in out.parent.iterdir()) == [out.name, f"{out.name}.sha256"]
    checked = subprocess.run(
        ["sha256sum", "-c", f"{out.name}.sha256"], cwd=out.parent, capture_output=True, text=True
    )
    assert checked.stdout == f"{out.name}: OK\n"


def test_one_form_is_turned_into_the_other(checkpoint, out, tmp_path):
    publish_model(checkpoint, out)
    other = tmp_path / ("other.pth" if out.suffix == ".safetensors" else "other.safetensors")
    pytest.importorskip("safetensors")
    publish_model(out, other)
    first, second = load_checkpoint(out), load_checkpoint(other)
    assert second["meta"] == first["meta"]
    assert second["state_dict"].keys() == first["state_dict"].keys()
    assert all(
        torch.equal(value, second["state_dict"][k]) for k, value in first["state_dict"].items()
    )


def test_tied_and_strided_weights_are_published(out, tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": shared, "b": shared, "c": shared.t()}, tmp_path / "bare.pth")
    publish_model(tmp_path / "bare.pth", out)
    weights = load_checkpoint(out)["state_dict"]
    assert weights["b"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert weights["c"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_class_names_of_mmdetection_are_kept(out, tmp_path):
    meta = {"dataset_meta": {"classes": ("cat", "dog")}, "hook_msgs": {"best": 0.5}}
    torch.save({"state_dict": layer(5.0).state_dict(), "meta": meta}, tmp_path / "theirs.pth")
    publish_model(tmp_path / "theirs.pth", out)
    assert load_checkpoint(out)["meta"] == {"classes": ["cat", "dog"]}


def test_sizes_tensors_and_classes_are_told(run_cli, caplog, checkpoint, tmp_path):
    out = tmp_path / "out.pth"
    assert run_cli("publish-model", checkpoint, out).code == 0
    before, after = (f"{path.stat().st_size / 1e6:.1f} MB" for path in (checkpoint, out))
    assert before != after
    assert caplog.messages == [
        f"{checkpoint}: taking the averaged (EMA) weights",
        f"wrote {out}, {after} ({checkpoint}: {before})\n2 tensors, 2 classes: cat, dog",
    ]


def test_unknown_classes_are_told(run_cli, caplog, tmp_path):
    torch.save(layer(5.0).state_dict(), tmp_path / "bare.pth")
    assert run_cli("publish-model", tmp_path / "bare.pth", tmp_path / "out.pth", "--raw").code == 0
    assert caplog.messages[-1].endswith("\n2 tensors, class names unknown")


@pytest.mark.parametrize("name", ["out.pt", "out", "out.pth.safetensor"])
def test_another_suffix_is_refused(cli_error, checkpoint, tmp_path, name):
    message = cli_error("publish-model", checkpoint, tmp_path / name)
    assert message == (
        f"the file to write, '{tmp_path / name}', ends in {Path(name).suffix or 'nothing'!r}: "
        "expected .safetensors or .pth"
    )
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("link", [None, os.link, os.symlink])
def test_the_checkpoint_itself_is_not_overwritten(cli_error, checkpoint, tmp_path, link):
    target = checkpoint
    if link:
        target = tmp_path / "best.pth"
        link(checkpoint, target)
    message = cli_error("publish-model", checkpoint, target)
    assert f"'{target}', is the checkpoint itself" in message
    assert load_checkpoint(checkpoint)["iteration"] == 7


def test_wrong_input_is_named(cli_error, tmp_path):
    out = tmp_path / "folder/out.pth"
    assert "nowhere.pth' does not exist" in cli_error("publish-model", "nowhere.pth", out)
    torch.save({"epoch": 3}, tmp_path / "empty.pth")
    message = cli_error("publish-model", tmp_path / "empty.pth", out)
    assert "empty.pth holds no weights" in message and "found the keys epoch" in message
    assert not out.parent.exists()


def test_a_full_disk_leaves_what_was_published_before(checkpoint, out, monkeypatch):
    publish_model(checkpoint, out)

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match=rf"No space left on device.*{out.name}"):
            publish_model(checkpoint, out, raw=True)
    linear = layer(0.0)
    load_weights(linear, out)
    assert values(linear) == [8.0]
    assert len(list(out.parent.iterdir())) == 2


def test_published_weights_are_evaluated_like_the_checkpoint(tiny, trained, out):
    publish_model(trained / "iter_2.pth", out)
    metrics = test_module.test(tiny(), out)
    assert metrics == test_module.test(tiny(), trained / "iter_2.pth")
    assert metrics["bbox_AR@100"] > 0  # so that the comparison says something


def test_published_class_names_are_compared_with_the_data(tiny, tmp_path, out):
    state = {"model": build_model(tiny()).state_dict(), "meta": {"classes": SHAPES[::-1]}}
    save_checkpoint(state, tmp_path / "epoch_1.pth")
    publish_model(tmp_path / "epoch_1.pth", out)
    with pytest.raises(ValueError, match=rf"not those of {out}: .*, and was 'cross'\. Set "):
        test_module.test(tiny(), out)
