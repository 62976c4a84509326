"""With torchvision's weights and settings: torchvision's detections."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from reference import make_batch
from torchvision.models import detection
from torchvision.models.detection import faster_rcnn, retinanet
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FrozenBatchNorm2d

from mmdet_lite.apis.config import load_config
from mmdet_lite.compat.torchvision import convert_torchvision
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.pasting import paste_masks

CONFIGS = Path(__file__).parents[2] / "configs/torchvision"
SIZE = (160, 192)
ODD_SIZE = (200, 264)  # padded to 224 x 288, which is no multiple of the upper strides
NUM_CLASSES = 4


@torch.no_grad()
def _torchvision_model(name: str, size: tuple[int, int]) -> torch.nn.Module:
    """Random weights, scaled so that detections are many and of all classes."""
    torch.manual_seed(0)
    model = getattr(detection, name)(
        weights=None,
        weights_backbone=None,
        num_classes=NUM_CLASSES + 1,
        min_size=min(size),
        max_size=max(size),
    )
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the average of what it sees
    model.backbone.train()(model.transform(list(_images(size)))[0].tensors)
    model.eval()
    if "retinanet" in name:
        head = model.head.classification_head
        _scale_output(model, head.cls_logits, 2.0, size)
        head.cls_logits.bias.unflatten(0, (-1, NUM_CLASSES + 1))[:, 0] = -20  # as by training
        return model
    _scale_output(model, model.rpn.head.cls_logits, 2.0, size)
    _scale_output(model, model.roi_heads.box_predictor.cls_score, 1.5, size)
    return model


def _scale_output(
    model: torch.nn.Module, layer: torch.nn.Module, std: float, size: tuple[int, int]
) -> None:
    """Scale a layer so that its output varies as a trained network's does, without saturating."""
    seen = []
    handle = layer.register_forward_hook(lambda module, args, output: seen.append(output.std()))
    model(list(_images(size)))
    handle.remove()
    layer.weight.mul_(std / seen[0])


def _images(size: tuple[int, int]) -> torch.Tensor:
    return torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))


def _freeze(model: torch.nn.Module, eps: float) -> None:
    """Frozen batch norms in place of the others, as torchvision builds trained detectors."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.BatchNorm2d):
                frozen = FrozenBatchNorm2d(child.num_features, eps=eps)
                state = child.state_dict()
                state.pop("num_batches_tracked")
                frozen.load_state_dict(state)
                setattr(module, name, frozen)


def _our_model(config: str, theirs: torch.nn.Module, options: dict | None = None):
    converted = convert_torchvision(theirs.state_dict())
    assert converted.config == f"configs/torchvision/{config}"
    cfg = load_config(CONFIGS / config, converted.options | (options or {}))
    # torchvision's images are in 0..1. The same floats go in: a difference in the last digit would
    # grow to 1e-2 pixels in a network of random weights.
    cfg.model.normalizer.mean = theirs.transform.image_mean
    cfg.model.normalizer.std = theirs.transform.image_std
    model = build(cfg.model, MODELS)
    model.load_state_dict(converted.weights, strict=True)
    return model.eval()


def _compare(theirs_model: torch.nn.Module, ours_model: torch.nn.Module, size) -> None:
    images = _images(size)
    with torch.no_grad():
        theirs = theirs_model(list(images))
    padded = [-(-side // 32) * 32 for side in size]
    batch = torch.zeros(2, 3, *padded)
    batch[..., : size[0], : size[1]] = images
    ours = ours_model.predict(make_batch(batch, [size] * 2, [tuple(padded)] * 2))
    for i, expected in enumerate(theirs):
        count = len(expected["scores"])
        assert count >= 20
        assert int(ours.valid[i].sum()) == count
        order = _same_order(ours, i, expected)
        boxes = ours.boxes[i, order]
        torch.testing.assert_close(boxes, expected["boxes"], rtol=0, atol=1e-2)
        torch.testing.assert_close(ours.scores[i, order], expected["scores"], rtol=0, atol=1e-4)
        assert torch.equal(ours.labels[i, order], expected["labels"] - 1)
        assert len(expected["labels"].unique()) >= 2
        if "masks" in expected:
            masks = paste_masks(ours.masks[i, order], boxes, size, rule=ours.paste_rule)
            their_masks = expected["masks"][:, 0] >= 0.5
            overlap = (masks & their_masks).sum(dim=(1, 2))
            union = (masks | their_masks).sum(dim=(1, 2))
            assert union.max() > 100
            assert bool((overlap >= 0.99 * union).all())


def _same_order(ours, i: int, expected: dict[str, torch.Tensor]) -> torch.Tensor:
    """Indices of our detections in the order of theirs: equal scores may stand either way round."""
    count = len(expected["scores"])
    far = (ours.boxes[i, None, :count] - expected["boxes"][:, None]).abs().amax(dim=-1)
    far += 1e4 * (ours.labels[i, None, :count] != expected["labels"][:, None] - 1)
    order = far.argmin(dim=1)
    assert len(order.unique()) == count
    assert bool((ours.scores[i, :count].diff() <= 0).all())
    return order


@pytest.mark.parametrize(
    ("name", "config", "size"),
    [
        ("fasterrcnn_resnet50_fpn", "faster-rcnn_r50_fpn.py", ODD_SIZE),
        ("maskrcnn_resnet50_fpn", "mask-rcnn_r50_fpn.py", SIZE),
        ("retinanet_resnet50_fpn", "retinanet_r50_fpn.py", ODD_SIZE),
    ],
)
def test_detections_equal_torchvision(name, config, size):
    theirs = _torchvision_model(name, size)
    _compare(theirs, _our_model(config, theirs), size)


@pytest.mark.parametrize("config", ["faster-rcnn", "mask-rcnn", "retinanet"])
def test_anchors_of_a_whole_image_equal_torchvision(config):
    """800 x 1333 pixels, padded: the upper levels' anchors are closer than their strides."""
    cfg = load_config(CONFIGS / f"{config}_r50_fpn.py")
    is_retina = "bbox_head" in cfg.model
    head = cfg.model.bbox_head if is_retina else cfg.model.rpn_head
    ours = build(head.anchor_generator, MODELS)
    theirs = retinanet._default_anchorgen() if is_retina else faster_rcnn._default_anchorgen()
    shapes = [(200, 336), (100, 168), (50, 84), (25, 42), (13, 21), (7, 11)]
    shapes = shapes[1:] if is_retina else shapes[:-1]
    images = ImageList(torch.zeros(1, 3, 800, 1344), [(800, 1333)])
    expected = theirs(images, [torch.zeros(1, 1, *shape) for shape in shapes])[0]
    assert torch.equal(ours(shapes, torch.device("cpu")).boxes, expected)


def test_detections_of_the_weights_that_torchvision_released_are_computed_without_epsilon():
    theirs = _torchvision_model("retinanet_resnet50_fpn", ODD_SIZE)
    _freeze(theirs, eps=0.0)
    options = {"model.backbone.norm_cfg": {"type": "BN", "eps": 0.0}}
    _compare(theirs, _our_model("retinanet_r50_fpn.py", theirs, options), ODD_SIZE)
