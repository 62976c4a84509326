"""Parameters and FLOPs: by hand on a small detector, and what the command line says."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.flops import _blank_batch, count_flops, print_flops
from mmdet_lite.apis.print_config import print_config
from mmdet_lite.models.backbones.deform_conv import DeformConv2d
from mmdet_lite.models.detectors.detector import Detector, ImageNormalizer
from mmdet_lite.structures.samples import Detections


class Head(nn.Module):
    """A convolution that detects, and one that only training uses."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 4, 1, bias=False)
        self.aux = nn.Conv2d(8, 2, 1)

    def predict(self, feats, weight):  # called by this name, not as a module
        return self.conv(feats).flatten(1) @ weight


class Toy(Detector):
    mask_format = None

    def __init__(self, backbone):
        super().__init__(ImageNormalizer([0, 0, 0], [1, 1, 1]), backbone, None)
        self.bbox_head = Head()
        self.aux_neck = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Linear(3, 3))

    def predict_boxes(self, feats, batch):
        self.bbox_head.predict(feats, torch.zeros(4 * 16 * 16, 10))
        one = torch.zeros(1, 1)
        return Detections(torch.zeros(1, 1, 4), one, one.long(), one.bool())


def costs(model):
    return {
        part.name: (part.parameters, part.training_only, part.flops)
        for part in count_flops(model.eval(), _blank_batch((30, 32), 32))
    }


def test_every_part_is_counted_and_what_only_trains_is_told():
    backbone = nn.Conv2d(3, 8, 3, stride=2, padding=1)
    assert costs(Toy(backbone)) == {
        "backbone": (8 * 27 + 8, 0, 2 * 8 * 27 * 16 * 16),
        "bbox_head": (8 * 4 + 8 * 2 + 2, 8 * 2 + 2, 2 * 8 * 4 * 16 * 16),
        "aux_neck": (8 * 72 + 8 + 12, 8 * 72 + 8 + 12, 0),
        "other": (0, 0, 2 * 4 * 16 * 16 * 10),  # the product outside of any module's forward
    }


def test_deformable_convolutions_count():
    conv = DeformConv2d(3, 8, 3, stride=2, padding=1)
    offsets = 27 * 27  # two coordinates and a weight for 9 points, of 3 channels
    cost = costs(Toy(conv))["backbone"]
    assert cost == (8 * 27 + 27 * 27 + 27, 0, 2 * (8 * 27 + offsets) * 16 * 16)


def test_hooks_are_gone_afterwards():
    model = Toy(nn.Conv2d(3, 8, 3, stride=2, padding=1))
    costs(model)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_table_of_a_detector_with_masks(run_cli):
    result = run_cli("get-flops", "tests/apis/tiny_config.py", "--size", 60, 100)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == "one image, 64 wide and 128 high"
    assert [line.split()[0] for line in lines[1:7]] == [
        *("part", "backbone", "neck", "rpn_head", "roi_head", "total")
    ]
    assert "Masks are counted for as many detections as an image can have." in lines[7]
    backbone = lines[2].split()
    assert backbone[1:] == ["ResNet", "0.18", "M", "-", "0.007", "G", "0.013", "G"]


def test_masks_count_for_all_detections(tiny):
    """With random weights nothing is detected, and the mask branch would seem to cost nothing."""
    from mmdet_lite.apis.build import build_model

    batch = _blank_batch((64, 64), 32)
    with_masks = build_model(tiny()).eval()
    without = build_model(
        tiny({"model.roi_head.mask_head": None, "model.roi_head.mask_roi_extractor": None})
    ).eval()
    (most, least) = (
        next(part.flops for part in count_flops(model, batch) if part.name == "roi_head")
        for model in (with_masks, without)
    )
    mask_head = with_masks.roi_head.mask_head
    per_detection = sum(
        2 * layer.weight.numel() * (28 * 28 if layer is mask_head.conv_logits else 14 * 14)
        for layer in mask_head.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))
    )
    assert most - least == 100 * per_detection


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ([dict(type="Letterbox", size=(96, 64))], "96 wide and 64 high"),
        ([dict(type="Resize", scale=(64, 32), keep_ratio=False)], "64 wide and 32 high"),
        ([dict(type="Resize", scale=(64, 32))], "128 wide and 32 high"),
        (None, "128 wide and 32 high"),
    ],
)
def test_the_size_is_that_of_the_test_data(tiny, capsys, monkeypatch, pipeline, words):
    monkeypatch.setattr("mmdet_lite.apis.flops.count_flops", lambda model, batch: [])
    of_data = {"test_data.dataset.pipeline": pipeline, "test_data.dataset.image_size": (32, 128)}
    print_flops(tiny(of_data))
    assert f"one image, {words}" in capsys.readouterr().out


def test_the_size_is_a_usual_one_where_the_config_does_not_tell(capsys, monkeypatch):
    monkeypatch.setattr("mmdet_lite.apis.flops.count_flops", lambda model, batch: [])
    print_flops(load_config("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"))
    assert "one image, 1280 wide and 800 high" in capsys.readouterr().out


@pytest.mark.parametrize("size", [(640,), (640, 0), 640, (640.0, 640)])
def test_a_wrong_size_is_told(size):
    with pytest.raises(ValueError, match="size must be two positive integers, width and height"):
        print_flops(Config({"model": {}}), size)


def test_what_is_wrong_with_a_config_is_told(run_cli, tmp_path):
    (tmp_path / "no_model.py").write_text("optimizer = dict(type='SGD', lr=0.1)\n")
    result = run_cli("get-flops", tmp_path / "no_model.py")
    assert result.code == 1 and "model" in result.err
    result = run_cli("get-flops", "tests/apis/tiny_config.py", "--size", 0, 5)
    assert result.code == 2 and "expected 1 or more, got 0" in result.err


def test_parameters_are_those_that_print_config_prints(tiny, capsys):
    print_config(tiny(), build=True)
    total = next(line for line in capsys.readouterr().out.splitlines() if "parameters," in line)
    print_flops(tiny(), (64, 64))
    assert f"{total.split()[2]} M" in capsys.readouterr().out
