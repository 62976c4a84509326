"""Exporting from the command line: what comes out, and what is refused.

tests/export/test_systems.py has all systems, at several sizes.
"""

from __future__ import annotations

import io
import json
import logging
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmdet_lite.apis import export as export_api
from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.config import load_config
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.engine.checkpoint import load_checkpoint, save_checkpoint
from mmdet_lite.engine.weights import load_weights
from mmdet_lite.export.torch_file import torch_bytes, torch_runner
from mmdet_lite.export.tracing import ExportableDetector, InputForm, trace
from mmdet_lite.structures.samples import Batch

pytest.importorskip("onnxruntime")

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/onnx_detect.py"
MASK_OUTPUTS = ["boxes", "scores", "labels", "valid", "masks"]


@pytest.fixture(scope="session")
def checkpoint(trained) -> Path:
    return trained / "iter_2.pth"


@pytest.fixture(scope="session")
def exported(checkpoint, tmp_path_factory) -> Path:
    """The tiny Mask R-CNN as ONNX, for two images of 96 x 64."""
    out = tmp_path_factory.mktemp("exported") / "model.onnx"
    cfg = export_api.config_of(checkpoint)
    export_api.export_model(cfg, checkpoint, out, (96, 64), batch=2)
    return out


@pytest.fixture(scope="session")
def retinanet(tmp_path_factory) -> Path:
    """A checkpoint of a RetinaNet that is small, not trained, and has a soft NMS."""
    cfg = load_config(ROOT / "configs/_base_/models/retinanet_r50_fpn.py")
    cfg.model.backbone.update(depth=18, base_channels=4, pretrained=None)
    cfg.model.neck.update(in_channels=[4, 8, 16, 32], out_channels=4)
    head = {"in_channels": 4, "feat_channels": 4, "stacked_convs": 1, "num_classes": 2}
    cfg.model.bbox_head.update(head, nms={"type": "SoftNMS"})
    torch.manual_seed(0)
    content = {"state_dict": build_model(cfg).state_dict(), "meta": {"config": cfg.pretty_text}}
    path = tmp_path_factory.mktemp("retinanet") / "retinanet.pth"
    save_checkpoint(content, path)
    return path


def session_of(path: Path):
    import onnxruntime

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def test_onnx_file_says_what_goes_in_and_comes_out(exported):
    session = session_of(exported)
    inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
    assert inputs == {
        "images": ("tensor(uint8)", [2, 3, 64, 96]),
        "shapes": ("tensor(int64)", [2, 2]),
    }
    outputs = {value.name: value.shape for value in session.get_outputs()}
    assert list(outputs) == MASK_OUTPUTS
    assert outputs["boxes"] == [2, 100, 4] and outputs["masks"] == [2, 100, 28, 28]
    properties = session.get_modelmeta().custom_metadata_map
    assert len(json.loads(properties["classes"])) == 6
    assert json.loads(properties["preprocessing"])["channels"] == "RGB"
    post = json.loads(properties["postprocessing"])
    assert (post["score_thr"], post["mask_thr"], post["nms"]) == (0.05, 0.5, True)


def test_onnx_detects_what_the_detector_detects(exported, checkpoint):
    images = torch.zeros(2, 3, 64, 96, dtype=torch.uint8)
    for image, sample in zip(images, map(ShapesDataset(2, (64, 64), 7).load, (0, 1)), strict=True):
        image[:, :, :64] = torch.from_numpy(sample.image).permute(2, 0, 1)
    shapes = torch.tensor([[64, 64], [64, 50]])
    model = build_model(export_api.config_of(checkpoint)).eval()
    load_weights(model, checkpoint)
    with torch.no_grad():
        expected = model(Batch(images, shapes, shapes, shapes[:, 0], None, []))
    given = session_of(exported).run(None, {"images": images.numpy(), "shapes": shapes.numpy()})
    found = dict(zip(MASK_OUTPUTS, map(torch.from_numpy, given), strict=True))
    count = expected.valid.shape[1]
    assert expected.valid.sum() > 20
    for name in MASK_OUTPUTS:
        ours = getattr(expected, name).float()
        torch.testing.assert_close(found[name][:, :count].float(), ours, rtol=0, atol=1e-4)


def test_example_draws_detections(exported, tmp_path, monkeypatch, capsys):
    picture = ShapesDataset(1, (64, 64), data_seed=3).load(0).image
    files = [str(tmp_path / name) for name in ("picture.png", "out.png")]
    cv2.imwrite(files[0], cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    arguments = [str(EXAMPLE), str(exported), *files, "--score-thr", "0.05"]
    monkeypatch.setattr(sys, "argv", arguments)
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    classes = json.loads(session_of(exported).get_modelmeta().custom_metadata_map["classes"])
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(line.split()[0] in classes for line in lines)
    drawn = cv2.imread(files[1])
    assert drawn.shape == (64, 64, 3) and not np.array_equal(drawn, cv2.imread(files[0]))


def test_torch_file_holds_all_boxes_of_a_one_stage_detector(retinanet, run_cli, tmp_path, caplog):
    """With an NMS that cannot be exported, for which there is ``--nms outside``."""
    out = tmp_path / "retinanet.pt2"
    options = ("--format", "torch", "--out", out, "--size", 64, 96, "--nms", "outside")
    with caplog.at_level(logging.INFO, "mmdet_lite"):
        result = run_cli("export", retinanet, *options)
    assert result.code == 0, result.err
    assert "compared on 1 image, made up, in 64 x 96" in caplog.text
    extra = {"metadata.json": ""}
    program = torch.export.load(io.BytesIO(out.read_bytes()), extra_files=extra)
    images, shapes = torch.zeros(1, 3, 96, 64, dtype=torch.uint8), torch.tensor([[96, 64]])
    boxes, scores = program.module()(images, shapes)
    anchors = 9 * (12 * 8 + 6 * 4 + 3 * 2 + 2 * 1 + 1 * 1)
    assert (boxes.shape, scores.shape) == ((1, anchors, 4), (1, anchors, 2))
    assert json.loads(extra["metadata.json"])["classes"] == ["0", "1"]


@pytest.mark.parametrize("score_thr", [0.0, 0.99])
def test_torch_file_runs_where_all_and_where_no_candidates_score(retinanet, score_thr):
    cfg = export_api.config_of(retinanet)
    cfg.model.bbox_head.update(nms={"type": "NMS"}, score_thr=score_thr)
    model = build_model(cfg).eval()
    load_weights(model, retinanet)
    program = trace(ExportableDetector(model), InputForm((64, 64)))
    run = torch_runner(torch_bytes(program, {}))
    *_, valid = run(np.zeros((1, 3, 64, 64), np.uint8), np.array([[64, 64]]))
    assert valid.shape == (1, 100) and valid.any() == (score_thr == 0)


def test_soft_nms_is_refused(retinanet, cli_error, tmp_path):
    message = cli_error("export", retinanet, "--size", 64, 64, "--out", tmp_path / "a.onnx")
    assert "SoftNMS cannot be exported" in message and "--nms outside" in message
    assert not (tmp_path / "a.onnx").exists()


def test_different_detections_are_refused(retinanet, monkeypatch, tmp_path):
    cfg = export_api.config_of(retinanet)
    ones = [np.ones((1, 9 * (64 + 16 + 4 + 1 + 1), last)) for last in (4, 2)]
    monkeypatch.setattr(export_api, "trace", lambda *_: None)
    monkeypatch.setattr(export_api, "torch_bytes", lambda *_: b"")
    monkeypatch.setattr(export_api, "torch_runner", lambda content: lambda *_: ones)
    with pytest.raises(ValueError, match="detects something else.*is not written"):
        export_api.export_model(cfg, retinanet, tmp_path / "a.pt2", (64, 64), with_nms=False)
    assert not list(tmp_path.iterdir())


def test_what_an_exporter_says_is_told(retinanet, monkeypatch, tmp_path):
    def fail(self, feats):
        raise RuntimeError("no such operator")

    monkeypatch.setattr("mmdet_lite.models.necks.fpn.FPN.forward", fail)
    cfg = export_api.config_of(retinanet)
    with pytest.raises(ValueError, match="cannot be traced.*RuntimeError: no such operator"):
        export_api.export_model(cfg, retinanet, tmp_path / "a.onnx", (64, 64))


def test_outside_is_for_one_stage_detectors(checkpoint, cli_error, tmp_path):
    message = cli_error("export", checkpoint, "--nms", "outside", "--out", tmp_path / "a.onnx")
    assert "NMS outside is for one-stage detectors" in message


def test_sides_are_multiples_of_the_step(checkpoint, cli_error, tmp_path):
    message = cli_error("export", checkpoint, "--size", 100, 64, "--out", tmp_path / "a.onnx")
    assert "no multiple of 32" in message and "--size 128 64" in message


def test_the_file_ends_as_its_format(checkpoint, cli_error):
    message = cli_error("export", checkpoint, "--format", "torch", "--out", "a.onnx")
    assert "a.onnx" in message and ".pt2" in message


def test_opset_is_of_onnx(checkpoint, cli_error, tmp_path):
    out = tmp_path / "a.pt2"
    message = cli_error("export", checkpoint, "--format", "torch", "--opset", 18, "--out", out)
    assert "opset is of ONNX" in message


def test_a_package_that_is_not_installed_is_named(checkpoint, cli_error, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    message = cli_error("export", checkpoint, "--out", tmp_path / "a.onnx")
    assert "onnxscript" in message and "mmdet_lite[export]" in message


def test_a_checkpoint_without_config_needs_one(checkpoint, cli_error, tmp_path):
    bare = tmp_path / "bare.pth"
    save_checkpoint({"state_dict": load_checkpoint(checkpoint)["model"]}, bare)
    assert "does not hold the config of its model" in cli_error("export", bare)
