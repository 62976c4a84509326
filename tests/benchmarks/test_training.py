"""What is compared with what: the same weights, images and layers."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from mmdet_lite.apis.config import load_config
from mmdet_lite.benchmarks import training
from mmdet_lite.benchmarks.ceiling import count_flops
from mmdet_lite.benchmarks.inputs import InputSize, random_batch
from mmdet_lite.benchmarks.peers import torchvision_inputs

SIZE = InputSize(batch=1, height=64, width=96, objects=3)
MASK = "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
FASTER = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"


@pytest.fixture(scope="module")
def models():
    match = training._Match(load_config(MASK), SIZE)
    return match.our_model(training.Variant()), match.their_model()


def test_inputs_are_inside_their_images_and_the_same_for_the_peer():
    batch = random_batch(SIZE, 5, with_masks=True)
    assert batch.images.shape == (1, 3, 64, 96) and batch.gt.masks.shape == (1, 3, 64, 96)
    (boxes,) = batch.gt.boxes
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= torch.tensor([96, 64])).all()
    assert ((boxes[:, 2:] - boxes[:, :2]) >= 32).all()
    images, targets = torchvision_inputs(batch)
    assert images[0].mul(255).round().equal(batch.images[0].float())
    assert targets[0]["labels"].equal(batch.gt.labels[0] + 1)
    inside = targets[0]["masks"].flatten(1).sum(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1)
    torch.testing.assert_close(inside, torch.full((3,), torch.pi / 4), atol=0.03, rtol=0)


def test_both_models_give_the_same_maps(models):
    ours, theirs = models
    batch = random_batch(SIZE, 80, with_masks=True)
    with torch.no_grad():
        expected = theirs.eval().backbone(theirs.transform(torchvision_inputs(batch)[0])[0].tensors)
        maps = ours.eval().extract(batch)
    for ours_map, theirs_map in zip(maps, expected.values(), strict=True):
        torch.testing.assert_close(ours_map, theirs_map, rtol=1e-2, atol=1e-2)


def test_both_train_the_same_convolutions(models):
    def trained(model: nn.Module) -> int:
        layers = [m for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
        return sum(layer.weight.numel() for layer in layers if layer.weight.requires_grad)

    ours, theirs = map(trained, models)
    # torchvision has boxes of the background too, and a mask of it
    assert theirs - ours == 4 * 1024 + 256


@pytest.mark.parametrize("what", [pytest.param("train", marks=pytest.mark.slow), "infer"])
def test_rows_are_written(run_cli, tmp_path, what):
    options = ["--batch-size", 1, "--size", 64, 96, "--objects", 2, "--rounds", 1, "--warmup", 1]
    options += ["--variants", "float32,channels_last", "--json", tmp_path / "rows.json"]
    options += ["--trace", tmp_path / "traces"]
    result = run_cli("benchmark", what, FASTER, *options)
    assert result.code == 0, result.err
    rows = {
        row["case"].partition(": ")[2]: row
        for row in json.loads((tmp_path / "rows.json").read_text())
    }
    assert list(rows) == [
        *("", "peak memory", "rate", "other than convolutions and products"),
        *("convolutions and products", "host waits"),
    ]
    assert rows[""]["settings"]["variant"] == "float32, channels_last"
    assert rows["convolutions and products"]["ratio"] == 1
    assert rows["rate"]["ours"] > 0 and rows["peak memory"]["ours"] > 0
    for name in ("float32_channels_last", "torchvision"):
        events = json.loads((tmp_path / "traces" / f"{name}.json").read_text())["traceEvents"]
        assert any("convolution" in event["name"] for event in events)


def test_flops_are_those_of_products_forward_and_backward():
    layer, x = nn.Linear(3, 5), torch.randn(7, 3)
    assert count_flops(lambda: layer(x).sum().backward()) == 2 * 2 * 7 * 3 * 5


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="with a ResNet-50 and FPN"):
        training.benchmark_train(load_config("yolov8/yolov8_n_640_coco.py"), SIZE, [])


@pytest.mark.parametrize(
    ("text", "variant", "name"),
    [
        ("fp16", training.Variant("fp16"), "fp16"),
        ("bf16,channels_last", training.Variant("bf16", True), "bf16, channels_last"),
        ("float32,compile", training.Variant("float32", False, True), "float32, compile"),
        (
            "float32,compile,channels_last",
            training.Variant("float32", True, True),
            "float32, channels_last, compile",
        ),
    ],
)
def test_variants_are_read_and_named(text, variant, name):
    assert training.parse_variant(text) == variant
    assert variant.name == name


@pytest.mark.parametrize("text", ["half", "bf16,channels", "compile", ""])
def test_other_words_are_told(text):
    with pytest.raises(ValueError, match="expected float32, bf16, fp16, alone or with ,channels"):
        training.parse_variant(text)


def test_detection_is_not_compiled(tiny):
    with pytest.raises(ValueError, match="',compile' is for training steps"):
        training.benchmark_infer(tiny(), InputSize(1, 64, 64, 2), [training.Variant(compile=True)])
