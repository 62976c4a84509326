"""With torchvision's weights and settings: torchvision's detections."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from reference import make_batch
from torchvision.models import detection

from mmdet_lite.compat.torchvision import convert_torchvision_state_dict
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.masks import paste_masks

CONFIGS = Path(__file__).parents[2] / "configs/torchvision"
SIZE = (256, 320)
NUM_CLASSES = 4


@torch.no_grad()
def _torchvision_model(name: str) -> torch.nn.Module:
    """Random weights, scaled so that detections are many and of all classes."""
    torch.manual_seed(0)
    model = getattr(detection, name)(
        weights=None,
        weights_backbone=None,
        num_classes=NUM_CLASSES + 1,
        min_size=min(SIZE),
        max_size=max(SIZE),
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the average of what it sees
    model.backbone.train()(model.transform(list(_images()))[0].tensors)
    model.eval()
    _scale_output(model, model.rpn.head.cls_logits, 2.0)
    _scale_output(model, model.roi_heads.box_predictor.cls_score, 1.5)
    return model


def _scale_output(model: torch.nn.Module, layer: torch.nn.Module, std: float) -> None:
    """Scale a layer so that its output varies as a trained network's does, without saturating."""
    seen = []
    handle = layer.register_forward_hook(lambda module, args, output: seen.append(output.std()))
    model(list(_images()))
    handle.remove()
    layer.weight.mul_(std / seen[0])


def _images() -> torch.Tensor:
    return torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def _our_model(config: str, theirs: torch.nn.Module) -> torch.nn.Module:
    cfg = Config.fromfile(CONFIGS / config)
    # torchvision's images are in 0..1. The same floats go in: a difference in the last digit would
    # grow to 1e-2 pixels in a network of random weights.
    cfg.model.normalizer.mean = theirs.transform.image_mean
    cfg.model.normalizer.std = theirs.transform.image_std
    cfg.model.roi_head.bbox_head.num_classes = NUM_CLASSES
    if "mask_head" in cfg.model.roi_head:
        cfg.model.roi_head.mask_head.num_classes = NUM_CLASSES
    model = build(cfg.model, MODELS)
    model.load_state_dict(convert_torchvision_state_dict(theirs.state_dict()), strict=True)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("fasterrcnn_resnet50_fpn", "faster-rcnn_r50_fpn.py"),
        ("maskrcnn_resnet50_fpn", "mask-rcnn_r50_fpn.py"),
    ],
)
def test_detections_equal_torchvision(name, config):
    theirs_model = _torchvision_model(name)
    ours_model = _our_model(config, theirs_model)
    images = _images()
    with torch.no_grad():
        theirs = theirs_model(list(images))
    ours = ours_model.predict(make_batch(images, [SIZE] * 2, [SIZE] * 2))
    for i, expected in enumerate(theirs):
        count = len(expected["scores"])
        assert count >= 20
        assert int(ours.valid[i].sum()) == count
        boxes = ours.boxes[i, :count]
        torch.testing.assert_close(boxes, expected["boxes"], rtol=0, atol=1e-2)
        torch.testing.assert_close(ours.scores[i, :count], expected["scores"], rtol=0, atol=1e-4)
        assert torch.equal(ours.labels[i, :count], expected["labels"] - 1)
        if "masks" in expected:
            masks = paste_masks(ours.masks[i, :count], boxes, SIZE, rule=ours.paste_rule)
            their_masks = expected["masks"][:, 0] >= 0.5
            overlap = (masks & their_masks).sum(dim=(1, 2))
            union = (masks | their_masks).sum(dim=(1, 2))
            assert union.max() > 100
            assert bool((overlap >= 0.99 * union).all())
