"""Where a backbone's first weights come from, and what is said if they can't be had."""

from __future__ import annotations

import logging
import pickle
import re
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from mmdet_lite.models.backbones import ResLayer, ResNet, ShuffleNetV2
from mmdet_lite.safetensors_file import safetensors_bytes


def _model(seed: int = 0, **settings) -> ResNet:
    torch.manual_seed(seed)
    return ResNet(**(dict(depth=18, base_channels=4) | settings))


def _save(state: dict, folder: Path) -> str:
    torch.save(state, folder / "weights.pth")
    return str(folder / "weights.pth")


def _assert_loaded(model: ResNet, state: dict) -> None:
    own = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in own.items())


def test_nothing_is_loaded_unless_a_source_is_named():
    model = _model(pretrained=None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.init_weights()
    _assert_loaded(model, before)


def test_local_file_is_loaded_and_its_classifier_left_out(tmp_path, caplog):
    state = _model(seed=1).state_dict()
    path = _save(state | {"fc.weight": torch.zeros(10, 32), "fc.bias": torch.zeros(10)}, tmp_path)
    model = _model(pretrained=path)
    with caplog.at_level(logging.INFO, logger="mmdet_lite"):
        model.init_weights()
    _assert_loaded(model, state)
    assert [record.levelname for record in caplog.records] == ["INFO"]


@pytest.mark.parametrize("wrapped", [True, False])
def test_backbone_of_a_whole_detector_is_found(tmp_path, wrapped):
    state = _model(seed=1).state_dict()
    detector = {f"backbone.{name}": value for name, value in state.items()}
    detector |= {"neck.conv.weight": torch.zeros(1)}
    path = _save({"state_dict": detector} if wrapped else detector, tmp_path)
    model = _model(pretrained=path)
    model.init_weights()
    _assert_loaded(model, state)


def test_missing_file_is_named_with_its_key(tmp_path):
    path = tmp_path / "nowhere.pth"
    with pytest.raises(FileNotFoundError, match="model.backbone.pretrained=.*nowhere.pth.*no such"):
        _model(pretrained=str(path)).init_weights()


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (dict(depth=18), dict(depth=34), r"missing \['layer1.2.bn1.bias', .*Is the depth right\?"),
        (dict(depth=34), dict(depth=18), r"surplus \['layer1.2.bn1.bias', .*Is the depth right\?"),
        (dict(depth=18), dict(depth=50), "missing .*other shapes: .*in the file, .*in the model"),
        (
            dict(base_channels=8),
            dict(),
            r"conv1.weight: \(8, 3, 7, 7\) in the file, \(4, 3, 7, 7\)",
        ),
    ],
)
def test_weights_of_another_architecture_are_refused(tmp_path, theirs, ours, message):
    path = _save(_model(**theirs).state_dict(), tmp_path)
    model = _model(seed=1, **ours, pretrained=path)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="do not fit ResNet.*") as error:
        model.init_weights()
    assert error.match(message)
    _assert_loaded(model, before)


def test_stages_that_are_not_built_are_left_out_with_a_warning(tmp_path, caplog):
    state = _model(seed=1).state_dict()
    model = _model(out_indices=(0, 1, 2), pretrained=_save(state, tmp_path))
    with caplog.at_level(logging.WARNING, logger="mmdet_lite"):
        model.init_weights()
    _assert_loaded(model, state)
    assert "no place for: ['layer4.0.bn1.bias'" in caplog.text


@pytest.fixture
def downloads(monkeypatch, tmp_path) -> list[str]:
    """No network: a list of the URLs asked for; what comes is ResNet-18's random weights."""
    urls = []

    def load(url: str, **settings) -> dict:
        urls.append(url)
        assert settings["weights_only"] is True
        return _model(seed=1, base_channels=64).state_dict()

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", load)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return urls


def test_weights_are_taken_from_torchvision_by_name(downloads):
    model = _model(base_channels=64, pretrained="torchvision://resnet18")
    model.init_weights()
    assert len(downloads) == 1
    assert downloads[0].startswith("https://download.pytorch.org/models/resnet18-")
    _assert_loaded(model, _model(seed=1, base_channels=64).state_dict())


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("open-mmlab://detectron2/resnet50_caffe", r"https://.*/resnet50_msra-5891d200.pth"),
        ("https://example.com/weights.pth?a=b", r"https://example.com/weights.pth\?a=b"),
    ],
)
def test_weights_are_taken_from_mmengines_list_and_by_url(downloads, source, url):
    model = _model(base_channels=64, pretrained=source)
    model.init_weights()
    assert len(downloads) == 1 and re.fullmatch(url, downloads[0])
    _assert_loaded(model, _model(seed=1, base_channels=64).state_dict())


def test_a_stage_as_a_head_takes_its_part(monkeypatch):
    state = {"state_dict": ResNet(depth=50).state_dict()}
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **settings: state)
    head = ResLayer(50, pretrained="open-mmlab://detectron2/resnet50_caffe")
    head.init_weights()
    _assert_loaded(head, state["state_dict"])


def test_name_that_mmengine_does_not_know_is_refused(downloads):
    message = "no weights have the name open-mmlab://detectron2/resnet50_cafe; near matches: det"
    with pytest.raises(ValueError, match=message):
        _model(pretrained="open-mmlab://detectron2/resnet50_cafe").init_weights()
    assert downloads == []


def test_download_that_cannot_be_read_safely_is_named(monkeypatch, downloads, tmp_path):
    def refuse(url: str, **settings):
        raise pickle.UnpicklingError("Weights only load failed.\nmore")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    message = f"downloaded to {tmp_path}/checkpoints/w.pth.*Weights only load failed. It must hold"
    with pytest.raises(ValueError, match=message):
        _model(pretrained="https://example.com/w.pth").init_weights()


@pytest.mark.parametrize("error", [URLError("no route to host"), TimeoutError("timed out")])
def test_failed_download_says_what_can_be_done(monkeypatch, downloads, tmp_path, error):
    def fail(url: str, **settings):
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(ConnectionError) as raised:
        _model(pretrained="torchvision://resnet18").init_weights()
    message = str(raised.value)
    assert "could not download https://download.pytorch.org/models/resnet18-" in message
    assert str(error) in message
    assert f"put it at {tmp_path}/checkpoints/resnet18-" in message
    assert "model.backbone.pretrained=PATH" in message
    assert "model.backbone.pretrained=None" in message


@pytest.mark.parametrize("name", ["resnet19", "resnet"])
def test_name_that_torchvision_does_not_know_is_refused(downloads, name):
    with pytest.raises(ValueError, match=f"torchvision has no ImageNet weights for '{name}'"):
        _model(pretrained=f"torchvision://{name}").init_weights()
    assert downloads == []


def test_safetensors_of_a_detector_are_loaded(tmp_path):
    pytest.importorskip("safetensors")
    state = _model(seed=1).state_dict()
    path = tmp_path / "detector.safetensors"
    weights = {f"backbone.{name}": value for name, value in state.items()}
    path.write_bytes(safetensors_bytes(weights, {"classes": ["cat"]}))
    model = _model(pretrained=str(path))
    model.init_weights()
    _assert_loaded(model, state)


def test_damaged_safetensors_are_named_with_their_key(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"not one")
    message = r"model.backbone.pretrained: .*weights.safetensors cannot be read .*7 bytes on disk"
    with pytest.raises(ValueError, match=message):
        _model(pretrained=str(path)).init_weights()


def test_only_settings_that_a_backbone_has_are_advised(monkeypatch):
    def fail(url: str, **settings):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    url = "https://example.com/w.pth"
    with pytest.raises(ConnectionError, match=r"then also frozen_stages=-1 and norm_eval=False"):
        _model(pretrained=url).init_weights()
    with pytest.raises(ConnectionError, match="model.backbone.pretrained=None$"):
        ShuffleNetV2(pretrained=url).init_weights()
