"""Several views of an image: merged by hand, mirrored, and one view as no augmentation at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from reference import make_batch
from torch import nn

from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.tta import MultiViewDetector, merge_detections
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.boxes import flip_boxes
from mmdet_lite.structures.coordinates import to_network_boxes, to_original_boxes
from mmdet_lite.structures.pasting import paste_masks
from mmdet_lite.structures.samples import Batch, Detections, ImageMeta, Views

BASES = Path(__file__).parents[2] / "configs/_base_/models"
KINDS = ("faster", "mask", "cascade mask", "retina")
ALL = NMS(iou_thr=1.0)  # nothing is suppressed
A, A_SHIFTED, FAR = [0.0, 0, 10, 10], [1.0, 0, 11, 10], [50.0, 50, 60, 60]  # IoU of A's: 9 / 11


def _found(*rows: tuple[list[float], float, int]) -> Detections:
    """Detections of one image: (box, score, label) each."""
    boxes, scores, labels = zip(*rows, strict=True) if rows else ([[0.0] * 4], [0.0], [0])
    valid = torch.full((1, len(boxes)), bool(rows))
    return Detections(*(torch.tensor([each]) for each in (boxes, scores, labels)), valid)


def _rows(detections: Detections, image: int = 0) -> list[tuple[list[float], float, int]]:
    valid = detections.valid[image]
    fields = (detections.boxes, detections.scores, detections.labels)
    boxes, scores, labels = (field[image][valid].tolist() for field in fields)
    return [(b, round(s, 4), k) for b, s, k in zip(boxes, scores, labels, strict=True)]


def test_views_are_merged_by_one_suppression_of_each_class():
    first = _found((A, 0.9, 0), (FAR, 0.3, 1))
    second = _found((A_SHIFTED, 0.95, 0), (A, 0.8, 1), (FAR, 0.2, 1))
    merged = merge_detections([first, second], NMS(0.5), 100)
    assert _rows(merged) == [(A_SHIFTED, 0.95, 0), (A, 0.8, 1), (FAR, 0.3, 1)]
    assert merged.valid.shape == (1, 100) and merged.masks is None
    assert len(_rows(merge_detections([first, second], NMS(0.85), 100))) == 4  # 9 / 11 stays
    assert _rows(merge_detections([first, second], NMS(0.5), 2)) == _rows(merged)[:2]


def test_soft_suppression_lowers_scores_across_views():
    merged = merge_detections([_found((A, 0.9, 0)), _found((A_SHIFTED, 0.8, 0))], SoftNMS(0.3), 9)
    assert _rows(merged) == [(A, 0.9, 0), (A_SHIFTED, round(0.8 * (1 - 9 / 11), 4), 0)]


def test_views_without_detections_add_nothing():
    merged = merge_detections([_found(), _found((A, 0.9, 2)), _found()], NMS(), 5)
    assert _rows(merged) == [(A, 0.9, 2)]
    nothing = merge_detections([_found(), _found()], NMS(), 5)
    assert not nothing.valid.any() and nothing.boxes.shape == (1, 5, 4)


def _detector(kind: str, tiny_config, score: float = 3.0) -> nn.Module:
    """A small detector with random weights that finds something everywhere, if it is to."""
    torch.manual_seed(0)
    if kind == "retina":
        cfg = Config.fromfile(BASES / "retinanet_r50_fpn.py").model
        cfg.backbone.update(depth=18, base_channels=8, pretrained=None)
        cfg.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
        cfg.bbox_head.update(num_classes=3, in_channels=8, feat_channels=8, max_per_img=30)
        model = build(cfg, MODELS)
        biases = [model.bbox_head.retina_cls.bias]
    else:
        cfg = tiny_config(masks="mask" in kind)
        if "cascade" in kind:
            cfg.roi_head.type = "CascadeRoIHead"
            cfg.roi_head.bbox_head.reg_class_agnostic = True
            for name in ("bbox_head", "assigner", "sampler", "mask_head"):
                cfg.roi_head[name] = [cfg.roi_head[name]] * 3
        model = build(cfg, MODELS)
        heads = model.roi_head.bbox_head if "cascade" in kind else [model.roi_head.bbox_head]
        biases = [head.fc_cls.bias[:3] for head in heads]
        torch.nn.init.normal_(model.rpn_head.rpn_cls.weight, std=0.5)
    with torch.no_grad():
        for bias in biases:
            bias.copy_(score + torch.arange(len(bias)) % 3 * 0.1)
    return model.eval()


def _view(images: torch.Tensor, factor: int = 1, flip: str = "", shapes=None) -> Batch:
    """Images enlarged by a whole factor, then mirrored inside ``shapes``."""
    shapes = shapes or [tuple(images.shape[-2:])] * len(images)
    seen = images.repeat_interleave(factor, -1).repeat_interleave(factor, -2).clone()
    network = [(height * factor, width * factor) for height, width in shapes]
    for image, (height, width) in zip(seen, network, strict=True):
        axes = {"": [], "horizontal": [-1], "vertical": [-2]}[flip]
        image[:, :height, :width] = image[:, :height, :width].flip(axes)
    batch = make_batch(seen, network, [tuple(seen.shape[-2:])] * len(seen))
    scale = (float(factor),) * 2
    batch.metas = [
        replace(meta, ori_shape=shape, scale_factor=scale, flip=flip)
        for meta, shape in zip(batch.metas, shapes, strict=True)
    ]
    return batch


def _images(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 255


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [1, 2])
def test_one_view_as_it_is_equals_plain_prediction(tiny_config, kind, factor):
    model, batch = _detector(kind, tiny_config), _view(_images(2, 3, 64, 64), factor)
    plain = model.predict(batch)
    merged = MultiViewDetector(model)(Views([batch]))
    count = int(plain.valid.sum(dim=1).max())
    assert count > 3
    assert torch.equal(merged.boxes[:, :count] * factor, plain.boxes[:, :count])
    for name in ("scores", "labels", "valid"):
        assert torch.equal(getattr(merged, name)[:, :count], getattr(plain, name)[:, :count]), name
    assert int(merged.valid.sum()) == int(plain.valid.sum())
    assert (merged.masks is None) == (plain.masks is None) == ("mask" not in kind)
    if merged.masks is not None:
        assert torch.equal(merged.masks, plain.masks)
        assert (merged.mask_thr, merged.paste_rule) == (plain.mask_thr, plain.paste_rule)


@pytest.mark.parametrize("kind", KINDS)
def test_symmetric_images_give_symmetric_detections(tiny_config, kind):
    half = _images(1, 3, 48, 32)
    images = torch.cat([half, half.flip(-1)], dim=-1)
    views = Views([_view(images), _view(images, flip="horizontal")])
    merged = MultiViewDetector(_detector(kind, tiny_config), ALL, 200)(views)
    valid = merged.valid[0]
    boxes, scores, labels = (x[0][valid] for x in (merged.boxes, merged.scores, merged.labels))
    mirrored = flip_boxes(boxes, (48, 64), "horizontal")
    same = (mirrored[:, None] - boxes[None]).abs().amax(-1) < 1e-3
    same &= (labels[:, None] == labels[None]) & (scores[:, None] == scores[None])
    assert len(boxes) > 5 and same.any(dim=1).all()
    if merged.masks is not None:
        partner = same.float().argmax(dim=1)
        masks = merged.masks[0][: len(boxes)]
        torch.testing.assert_close(masks[partner], masks.flip(-1), rtol=0, atol=1e-4)
        assert not torch.allclose(masks, masks.flip(-1), atol=1e-2)


@pytest.mark.parametrize("flip", ["horizontal", "vertical"])
def test_a_mirrored_view_alone_gives_the_mirrored_detections(tiny_config, flip):
    model, images = _detector("mask", tiny_config), _images(1, 3, 48, 64)
    axis = -1 if flip == "horizontal" else -2
    plain = MultiViewDetector(model)(Views([_view(images)]))
    alone = MultiViewDetector(model)(Views([_view(images.flip(axis), flip=flip)]))
    expected = flip_boxes(plain.boxes[0], (48, 64), flip)[plain.valid[0]]
    torch.testing.assert_close(alone.boxes[0][alone.valid[0]], expected, rtol=0, atol=1e-3)
    count = len(expected)
    masks = plain.masks[0, :count].flip(axis)
    torch.testing.assert_close(alone.masks[0, :count], masks, rtol=0, atol=1e-4)
    pasted = [
        paste_masks(each.masks[0, :count], each.boxes[0, :count], (48, 64))
        for each in (plain, alone)
    ]
    assert (pasted[0].flip(axis) != pasted[1]).float().mean() < 1e-3


def test_images_of_different_sizes_share_a_batch(tiny_config):
    model = MultiViewDetector(_detector("mask", tiny_config))
    shapes, images = [(64, 64), (40, 56)], _images(2, 3, 64, 64)
    images[1, :, 40:] = images[1, :, :, 56:] = 0
    settings = [(1, ""), (2, ""), (1, "horizontal")]
    together = model(Views([_view(images, *each, shapes) for each in settings]))
    for i, shape in enumerate(shapes):
        one = images[i : i + 1]
        alone = model(Views([_view(one, *each, [shape]) for each in settings]))
        count = int(alone.valid.sum())
        assert int(together.valid[i].sum()) == count > 3
        for name in ("boxes", "scores", "masks"):
            values = getattr(together, name)[i, :count], getattr(alone, name)[0, :count]
            torch.testing.assert_close(*values, rtol=1e-4, atol=1e-3)
        assert torch.equal(together.labels[i, :count], alone.labels[0, :count])
        assert (together.boxes[i].amax(dim=0)[2:] <= torch.tensor(shape).flip(0)).all()


def test_masks_are_those_of_the_merged_boxes_averaged_over_the_views(tiny_config):
    model, images = _detector("cascade mask", tiny_config), _images(1, 3, 64, 64)
    views = Views([_view(images), _view(images, 2, "horizontal")])
    merged = MultiViewDetector(model)(views)
    plain, mirrored = views.batches
    here = model.predict_masks(model.extract(plain), merged).masks
    boxes = flip_boxes(merged.boxes, (64, 64), "horizontal") * 2
    there = model.predict_masks(model.extract(mirrored), replace(merged, boxes=boxes)).masks
    torch.testing.assert_close(merged.masks, (here + there.flip(-1)) / 2)
    assert not torch.allclose(here, there.flip(-1), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_found_there_are_no_detections(tiny_config, kind):
    images = _images(2, 3, 64, 64)
    views = Views([_view(images), _view(images, flip="vertical")])
    merged = MultiViewDetector(_detector(kind, tiny_config, score=-30.0))(views)
    assert not merged.valid.any() and not merged.boxes.any()
    assert (merged.masks is None) == ("mask" not in kind)


def test_coordinates_go_to_the_original_and_back():
    meta = ImageMeta(1, "", 0, 0, (50, 100), (100, 300), scale_factor=(3.0, 2.0), flip="both")
    boxes = torch.tensor([[30.0, 10, 90, 40]])  # 10 5 30 20 before mirroring back
    original = to_original_boxes(boxes, meta)
    assert original.tolist() == [[70, 30, 90, 45]]
    assert torch.equal(to_network_boxes(original, meta), boxes)
    outside = to_original_boxes(torch.tensor([[-30.0, 90, 400, 110]]), replace(meta, flip=""))
    assert outside.tolist() == [[0, 45, 100, 50]]
