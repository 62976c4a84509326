"""The zoo: its table, downloads from a server on this machine that behaves and misbehaves.

Run with: pytest tests/apis/test_zoo.py
"""

from __future__ import annotations

import hashlib
import io
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from mmdet_lite.apis import build as build_module
from mmdet_lite.apis import zoo as zoo_module
from mmdet_lite.apis.config import shipped_configs
from mmdet_lite.apis.zoo import cache_folder, get_model
from mmdet_lite.compat import zoo as table
from mmdet_lite.compat.zoo import ZooModel, zoo_models
from mmdet_lite.engine.checkpoint import load_checkpoint


class HistoryBuffer:
    """What a released checkpoint holds besides weights."""


class Server(ThreadingHTTPServer):
    """Serves one file; ``ranges`` and ``break_after`` say how well."""

    def __init__(self, content: bytes):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.ranges = True
        self.break_after: int | None = None
        self.requests: list[str | None] = []
        self.status = 200


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        content, start, status = self.server.content, 0, self.server.status
        if status != 200:
            self.send_error(status)
            return
        if wanted and self.server.ranges:
            start, status = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]), 206
            if start >= len(content):
                self.send_error(416)
                return
        self.send_response(status)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = self.server.break_after
        self.wfile.write(content[start:end])
        self.server.break_after = None

    def log_message(self, *args) -> None:
        """Nothing on the console."""


@pytest.fixture
def server():
    torch.manual_seed(0)
    state = {"backbone.conv1.weight": torch.randn(64, 64), "bbox_head.x": torch.ones(3)}
    file = io.BytesIO()
    meta = {"CLASSES": ("cat", "dog"), "hub": HistoryBuffer()}
    torch.save({"state_dict": state, "meta": meta}, file)
    server = Server(file.getvalue())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def model(server, monkeypatch, tmp_path) -> ZooModel:
    """A model of the zoo that the server has; the cache is a folder of the test."""
    monkeypatch.setenv("MMDET_LITE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    digest = hashlib.sha256(server.content).hexdigest()[:8]
    url = f"http://127.0.0.1:{server.server_port}/v2.0/tiny_2020-{digest}.pth"
    model = ZooModel("tiny_1x_coco", "configs/retinanet/tiny_1x_coco.py", url, 12.5, 3.0)
    monkeypatch.setattr(table, "zoo_models", lambda: {model.name: model})
    return model


def test_the_table_is_complete():
    models = zoo_models()
    assert len(models) == 93
    for name, model in models.items():
        assert model.name == name and model.sha256_prefix, name
        assert model.url.startswith("https://download.openmmlab.com/mmdetection/v2.0/")
        assert 30 < model.box_ap < 50 and (model.mask_ap is None or 30 < model.mask_ap < 45)
        assert model.config.startswith("configs/") and model.config.endswith(".py")
        assert not re.search(r"[^\w.-]", name)
    assert models["mask-rcnn_r50_fpn_1x_coco"].mask_ap == 34.7
    shipped = [m for m in models.values() if zoo_module.shipped_config(m)]
    assert len(shipped) >= 17
    assert (shipped_configs() / "retinanet/retinanet_r50_fpn_1x_coco.py").is_file()


def test_models_are_listed(run_cli, cli_error):
    lines = run_cli("zoo", "list", "retinanet_r50_fpn").out.splitlines()
    assert re.fullmatch(r"name +box AP  mask AP  config", lines[0])
    assert any(
        re.fullmatch(r"retinanet_r50_fpn_1x_coco +36.5 +configs/retinanet/retinanet_r50_f\S+", line)
        for line in lines
    )
    assert any(
        line.endswith("MMDetection's configs/retinanet/retinanet_r50_fpn_amp-1x_coco.py")
        for line in lines
    )
    assert len(run_cli("zoo", "list").out.splitlines()) == 94
    assert cli_error("zoo", "list", "yolo") == "the zoo has no model whose name contains 'yolo'"


def test_a_model_is_downloaded_converted_and_kept(run_cli, caplog, server, model, tmp_path):
    result = run_cli("zoo", "get", model.name, "--out", tmp_path / "models")
    assert result.code == 0, result.err
    copy = tmp_path / "models/tiny_1x_coco.pth"
    assert result.out.splitlines()[-1] == str(copy)
    content = load_checkpoint(copy)  # with its checksum
    assert content["meta"]["classes"] == ["cat", "dog"]
    assert content["state_dict"]["backbone.conv1.weight"].shape == (64, 64)
    assert (
        "tiny_1x_coco: use it with MMDetection's configs/retinanet/tiny_1x_coco.py" in caplog.text
    )
    get_model(model.name)
    assert server.requests == [None]


def test_zoo_names_are_taken_as_paths(model):
    path = build_module.read_path(f"zoo:{model.name}", "checkpoint")
    assert path == cache_folder() / f"zoo/tiny_1x_coco-{model.sha256_prefix}.pth"
    assert load_checkpoint(path)["meta"]["classes"] == ["cat", "dog"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_is_taken_up_again(server, model, ranges):
    server.ranges, server.break_after = ranges, 5000
    file = cache_folder() / "downloads" / model.file_name
    with pytest.raises(ConnectionError, match=f"broke off after 5000 of {len(server.content)} b"):
        get_model(model.name)
    assert file.with_name(file.name + ".part").stat().st_size == 5000
    assert not file.exists()
    assert load_checkpoint(get_model(model.name))["meta"]["classes"] == ["cat", "dog"]
    assert server.requests == [None, "bytes=5000-"]
    assert file.read_bytes() == server.content
    assert not file.with_name(file.name + ".part").exists()


def test_a_complete_part_is_not_downloaded_again(server, model):
    part = cache_folder() / "downloads" / (model.file_name + ".part")
    part.parent.mkdir(parents=True)
    part.write_bytes(server.content)
    get_model(model.name)
    assert not part.exists()


def test_a_download_with_another_checksum_is_removed(server, model, cli_error):
    server.content = server.content[:-1] + b"x"
    message = cli_error("zoo", "get", model.name)
    assert f"is not what {model.url} should be: its SHA-256 begins with " in message
    assert f"expected {model.sha256_prefix}" in message and "It was removed" in message
    assert [p for p in (cache_folder() / "downloads").iterdir()] == []


def test_a_file_put_there_by_hand_is_used_or_refused_but_kept(server, model):
    file = cache_folder() / "downloads" / model.file_name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not it")
    with pytest.raises(ValueError, match=f"{file} is not what .* should be"):
        get_model(model.name)
    file.write_bytes(server.content)
    get_model(model.name)
    assert file.is_file() and server.requests == []


@pytest.mark.parametrize("status", [404, 500, None])
def test_a_failure_says_where_to_put_the_file(server, model, cli_error, status):
    if status is None:
        server.server_close()  # nobody listens
    else:
        server.status = status
    message = cli_error("zoo", "get", model.name)
    assert f"could not download {model.url} (" in message
    assert status is None or f"HTTP {status}" in message
    assert f"put it at {cache_folder() / 'downloads' / model.file_name}" in message


def test_several_at_once_download_once(server, model):
    threads = [threading.Thread(target=get_model, args=(model.name,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.requests == [None]
    assert load_checkpoint(get_model(model.name))["meta"]["classes"] == ["cat", "dog"]


def test_an_unknown_name_lists_near_ones(cli_error):
    message = cli_error("zoo", "get", "mask-rcnn_r50_fpn")
    assert message.startswith("the zoo has no model 'mask-rcnn_r50_fpn'; near matches: mask-rcnn")


def test_the_cache_follows_the_environment(monkeypatch):
    monkeypatch.delenv("MMDET_LITE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/mmdet_lite")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/mmdet_lite"
