"""The second stage as a whole: padded and compact masks, images without objects, prediction."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.roi_heads import RoIHead
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.masks import InstanceMasks
from mmdet_lite.structures.samples import Proposals

BOXES = [[4.0, 4, 30, 40], [20, 10, 60, 60], [2, 40, 28, 62]]


def _head(cfg, **settings) -> RoIHead:
    torch.manual_seed(0)
    cfg.roi_head.update(settings)
    return build(cfg.roi_head, MODELS)


def _feats(num_images: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [16, 8, 4, 2, 1]
    return [torch.randn(num_images, 8, size, size, generator=generator) for size in sizes]


def _proposals(num_images: int, count: int = 40) -> Proposals:
    generator = torch.Generator().manual_seed(1)
    near = torch.tensor(BOXES)[torch.arange(count) % 3]
    boxes = near + torch.rand(num_images, count, 4, generator=generator) * 8 - 4
    boxes[:, count // 2 :] *= 0.4
    valid = torch.ones(num_images, count, dtype=torch.bool)
    return Proposals(
        boxes.clamp(0, 64), valid.float(), valid, torch.arange(count).expand(num_images, -1)
    )


BATCHES = {
    "objects": [BOXES, BOXES[:1]],
    "one image without objects": [[], BOXES[1:]],
    "one object": [BOXES[:1]],
    "no objects": [[], []],
}


@pytest.mark.parametrize("images", BATCHES)
def test_padded_and_compact_mask_rois_give_the_same_losses_and_gradients(
    tiny_config, tiny_batch, images
):
    batch = tiny_batch(BATCHES[images])
    results = []
    for pad in (False, True):
        head = _head(tiny_config(), pad_mask_rois=pad)
        losses = head.loss(_feats(len(batch.images)), _proposals(len(batch.images)), batch)
        sum(value for name, value in losses.items() if "loss" in name).backward()
        results.append((losses, {name: p.grad for name, p in head.named_parameters()}))
    (losses, gradients), (padded_losses, padded_gradients) = results
    for name, value in losses.items():
        torch.testing.assert_close(padded_losses[name], value)
        assert bool(torch.isfinite(value)), name
    for name, gradient in gradients.items():
        assert gradient is not None, name
        torch.testing.assert_close(padded_gradients[name], gradient)
    assert (losses["loss_mask"] > 0) == (images != "no objects")


def test_padded_mask_rois_are_the_largest_number_of_positives(tiny_config, tiny_batch):
    head = _head(tiny_config(), pad_mask_rois=True)
    seen = []
    head.mask_head.register_forward_hook(lambda module, args, output: seen.append(len(output)))
    head.loss(_feats(2), _proposals(2), tiny_batch([BOXES, []]))
    head.pad_mask_rois = False
    head.loss(_feats(2), _proposals(2), tiny_batch([[], []]))
    assert seen == [2 * 4, 2 * 1]


@pytest.mark.parametrize("rule", ["roi_align", "polygon", "legacy"])
def test_mask_rules_agree_on_rectangles(tiny_config, tiny_batch, rule):
    batch = tiny_batch([BOXES, []])
    head, feats, proposals = _head(tiny_config()), _feats(2), _proposals(2)
    expected = head.loss(feats, proposals, batch)["loss_mask"]
    head.mask_head.target_rule = rule
    if rule != "roi_align":
        polygons = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in BOXES]
        masks = [InstanceMasks.from_coco(shapes, (64, 64)) for shapes in (polygons, [])]
        batch.gt.masks = masks
    loss = head.loss(feats, proposals, batch)["loss_mask"]
    torch.testing.assert_close(loss, expected, rtol=0.05, atol=0)


def test_head_without_masks_has_no_mask_loss(tiny_config, tiny_batch):
    batch = tiny_batch([BOXES])
    batch.gt.masks = None
    head = _head(tiny_config(masks=False))
    losses = head.loss(_feats(1), _proposals(1), batch)
    assert set(losses) == {"loss_cls", "loss_bbox", "acc"}
    assert head.predict(_feats(1), _proposals(1), batch).masks is None


@torch.no_grad()
def _confident_head(cfg) -> RoIHead:
    """Every RoI is an object of class 1."""
    head = _head(cfg)
    head.bbox_head.fc_cls.bias.copy_(torch.tensor([0.0, 5, 0, 0]))
    return head


def test_detections_have_masks_and_as_many_columns_as_the_fullest_image(tiny_config, tiny_batch):
    head = _confident_head(tiny_config())
    proposals = _proposals(2)
    proposals.valid[1, 3:] = False
    detections = head.predict(_feats(2), proposals, tiny_batch([[], []]))
    counts = detections.valid.sum(dim=1).tolist()
    assert counts[0] > counts[1] > 0
    assert detections.boxes.shape[1] == counts[0]
    assert detections.masks.shape == (2, counts[0], 28, 28)
    assert bool(((detections.masks >= 0) & (detections.masks <= 1)).all())
    assert bool((detections.labels[detections.valid] == 1).all())
    assert bool((detections.scores.diff(dim=1) <= 0).all())


def test_mask_settings_travel_with_the_detections(tiny_config, tiny_batch):
    cfg = tiny_config()
    cfg.roi_head.mask_head.update(mask_thr=0.3, paste_rule="resize")
    detections = _head(cfg).predict(_feats(1), _proposals(1), tiny_batch([[]]))
    assert (detections.mask_thr, detections.paste_rule) == (0.3, "resize")


def test_no_valid_proposal_is_no_detection(tiny_config, tiny_batch):
    head, proposals = _confident_head(tiny_config()), _proposals(2)
    proposals.valid[:] = False
    detections = head.predict(_feats(2), proposals, tiny_batch([[], []]))
    assert detections.boxes.shape == (2, 1, 4)
    assert detections.masks.shape == (2, 1, 28, 28)
    assert not detections.valid.any()


def test_no_valid_proposal_can_still_be_trained_on(tiny_config, tiny_batch):
    head, proposals = _head(tiny_config()), _proposals(2)
    proposals.valid[:] = False
    losses = head.loss(_feats(2), proposals, tiny_batch([BOXES, []]))
    assert all(bool(torch.isfinite(value)) for value in losses.values())
    assert losses["loss_mask"] > 0  # the ground truths themselves


def test_a_sampler_without_a_fixed_number_is_refused(tiny_config):
    cfg = tiny_config().roi_head
    cfg.sampler = dict(type="NMS")
    with pytest.raises(ValueError, match="RoIHead needs a RandomSampler"):
        build(cfg, MODELS)


def _shared(cfg, masks: bool = False) -> dict:
    """A C4 head: the last stage of a small ResNet between pooling and heads."""
    norm = {"type": "GN", "num_groups": 2}
    shared = {"type": "ResLayer", "depth": 18, "stage": 0, "stride": 2, "norm_cfg": norm}
    cfg.roi_head.update(shared_head=shared, mask_roi_extractor=None)
    cfg.roi_head.bbox_roi_extractor.output_size = 14
    cfg.roi_head.bbox_head.update(
        in_channels=64, with_avg_pool=True, num_shared_fcs=0, roi_feat_size=7
    )
    cfg.roi_head.mask_head.update(in_channels=64, num_convs=0, roi_feat_size=7)
    return cfg.roi_head


def test_a_shared_head_is_trained_by_boxes_and_masks(tiny_config, tiny_batch):
    cfg = _shared(tiny_config())
    head = build(cfg, MODELS)
    feats = [torch.randn(2, 32, 16, 16, generator=torch.Generator().manual_seed(0))] * 5
    batch = tiny_batch([BOXES, BOXES[:1]])
    for name in ("loss_cls", "loss_mask"):
        head.zero_grad()
        head.loss(feats, _proposals(2), batch)[name].backward()
        assert head.shared_head.layer1[0].conv1.weight.grad.abs().sum() > 0
    detections = head.eval().predict(feats, _proposals(2), batch)
    assert detections.masks.shape[-1] == 14


def test_shared_features_of_the_mask_branch_are_those_of_the_box_branch(tiny_config, tiny_batch):
    """With and without an extractor of its own that is the same."""
    results = []
    for own in (True, False):
        cfg = _shared(tiny_config())
        cfg.mask_roi_extractor = cfg.bbox_roi_extractor if own else None
        torch.manual_seed(0)
        head = build(cfg, MODELS)
        feats = [torch.randn(2, 32, 16, 16, generator=torch.Generator().manual_seed(0))] * 5
        results.append(head.loss(feats, _proposals(2), tiny_batch([BOXES, []])))
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value)


def test_hard_mining_takes_the_rois_of_the_highest_loss(tiny_config, tiny_batch):
    cfg = tiny_config(masks=False)
    cfg.roi_head.sampler.update(type="OHEMSampler", num=8)
    head = _head(cfg)
    feats, proposals, batch = _feats(1), _proposals(1), tiny_batch([BOXES])
    logits, _ = head.bbox_head(head.bbox_roi_extractor(feats, proposals.boxes))
    background = torch.full((40,), 3)
    losses = torch.nn.functional.cross_entropy(logits, background, reduction="none")
    assigned = head.assigner.assign(proposals.boxes, batch.gt, proposals.valid)[0]
    hardest = losses.masked_fill(assigned != -1, -1).topk(6).indices
    seen = []
    head.bbox_head.register_forward_hook(lambda module, args, output: seen.append(output[0]))
    head.loss(feats, proposals, batch)
    sampled = seen[-1]
    assert len(sampled) == 8
    torch.testing.assert_close(sampled[2:], logits[hardest])


def test_a_mask_extractor_without_a_mask_head_is_refused(tiny_config):
    cfg = tiny_config()
    with pytest.raises(ValueError, match="a mask_roi_extractor, but no mask_head"):
        _head(cfg, mask_head=None)
