"""Three stages: what each begins with, what is averaged, and that all of them are trained."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.roi_heads import CascadeRoIHead
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.samples import Proposals

BOXES = [[4.0, 4, 30, 40], [20, 10, 60, 60], [2, 40, 28, 62]]


def _head(cfg, masks: bool = True, **settings) -> CascadeRoIHead:
    """The tiny head of Mask R-CNN three times."""
    roi = cfg.roi_head
    roi.type = "CascadeRoIHead"
    roi.bbox_head.reg_class_agnostic = True
    for name in ("bbox_head", "assigner", "sampler", "mask_head"):
        if name in roi:
            roi[name] = [roi[name]] * 3
    roi.update(settings)
    torch.manual_seed(0)
    return build(roi, MODELS)


def _feats(num_images: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [16, 8, 4, 2, 1]
    return [torch.randn(num_images, 8, size, size, generator=generator) for size in sizes]


def _proposals(num_images: int, count: int = 40) -> Proposals:
    generator = torch.Generator().manual_seed(1)
    near = torch.tensor(BOXES)[torch.arange(count) % 3]
    boxes = near + torch.rand(num_images, count, 4, generator=generator) * 8 - 4
    valid = torch.ones(num_images, count, dtype=torch.bool)
    return Proposals(
        boxes.clamp(0, 64), valid.float(), valid, torch.arange(count).expand(num_images, -1)
    )


def _spy(head: CascadeRoIHead) -> list[torch.Tensor]:
    """The RoIs that the box branch pools, call by call."""
    pooled = []
    head.bbox_roi_extractor.register_forward_hook(lambda m, args, out: pooled.append(args[1]))
    return pooled


@pytest.mark.parametrize("images", [[BOXES, BOXES[:1]], [[], BOXES], [[], []]])
def test_all_stages_are_trained_whatever_the_ground_truth(tiny_config, tiny_batch, images):
    head = _head(tiny_config())
    losses = head.loss(_feats(2), _proposals(2), tiny_batch(images))
    assert list(losses) == [
        f"s{stage}.{name}"
        for stage in range(3)
        for name in ("loss_cls", "loss_bbox", "acc", "loss_mask")
    ]
    sum(value for name, value in losses.items() if "loss" in name).backward()
    for name, p in head.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name


def test_losses_are_weighted_by_stage_and_accuracies_are_not(tiny_config, tiny_batch):
    arguments = (_feats(1), _proposals(1), tiny_batch([BOXES]))
    plain = _head(tiny_config(), stage_loss_weights=[1, 1, 1]).loss(*arguments)
    weighted = _head(tiny_config(), stage_loss_weights=[1, 0.5, 0.25]).loss(*arguments)
    for name, value in plain.items():
        factor = 1 if "acc" in name else {"s0": 1, "s1": 0.5, "s2": 0.25}[name[:2]]
        torch.testing.assert_close(weighted[name], value * factor)


def test_a_stage_begins_with_the_refined_samples_and_the_ground_truths(tiny_config, tiny_batch):
    cfg = tiny_config(masks=False)
    cfg.roi_head.sampler.num = 200  # all
    head = _head(cfg)
    with torch.no_grad():
        for stage in head.bbox_head:
            stage.fc_reg.weight.zero_()
            stage.fc_reg.bias.copy_(torch.tensor([1.0, 0, 0, 0]))  # a tenth of the width right
    pooled = _spy(head)
    batch = tiny_batch([BOXES])
    head.loss(_feats(1), _proposals(1), batch)
    first, second = pooled[0][0], pooled[1][0]
    shift = (first[:, 2:3] - first[:, :1]) * torch.tensor([0.1, 0, 0.1, 0])
    moved = (first + shift).clamp(max=64)
    is_gt = (first[:, None] == batch.gt.boxes[0][None]).all(-1).any(-1)
    refined = {tuple(round(v, 3) for v in row) for row in moved[~is_gt].tolist()}
    truths = {tuple(row) for row in batch.gt.boxes[0].tolist()}
    seen = {tuple(round(v, 3) for v in row) for row in second.tolist()}
    assert is_gt.any()
    assert seen - {(0, 0, 0, 0)} == refined | truths


def test_each_stage_draws_its_own_samples(tiny_config, tiny_batch):
    cfg = tiny_config(masks=False)
    cfg.roi_head.sampler.num = 4
    head = _head(cfg)
    for stage in head.bbox_head:
        torch.nn.init.zeros_(stage.fc_reg.weight)
    pooled = _spy(head)
    batch = tiny_batch([BOXES])
    head.loss(_feats(1), _proposals(1), batch)
    again = _spy(head)
    head.loss(_feats(1), _proposals(1), batch)
    assert all(torch.equal(a, b) for a, b in zip(pooled[:3], again, strict=True))
    assert not torch.equal(pooled[0], pooled[1])


def test_scores_are_the_softmax_of_the_mean_logits(tiny_config, tiny_batch):
    head = _head(tiny_config(masks=False)).eval()
    with torch.no_grad():
        for i, stage in enumerate(head.bbox_head):
            for layer in (stage.fc_cls, stage.fc_reg):
                layer.weight.zero_()
                layer.bias.zero_()
            stage.fc_cls.bias.copy_(torch.tensor([3.0 * i, 1, 0, -1]))
    detections = head.predict(_feats(1), _proposals(1), tiny_batch([BOXES]))
    expected = torch.tensor([3.0, 1, 0, -1]).softmax(0)
    scores = detections.scores[0][detections.labels[0] == 0]
    torch.testing.assert_close(scores[scores > 0], expected[0].expand(int((scores > 0).sum())))


def test_boxes_pass_through_all_stages(tiny_config, tiny_batch):
    head = _head(tiny_config(masks=False)).eval()
    with torch.no_grad():
        for stage in head.bbox_head:
            stage.fc_reg.weight.zero_()
            stage.fc_reg.bias.copy_(torch.tensor([0.0, 0, 1, 0]))
    pooled = _spy(head)
    proposals = _proposals(1)
    proposals.boxes = torch.tensor([[[20.0, 20, 30, 30]]]).expand(1, 40, 4).clone()
    head.predict(_feats(1), proposals, tiny_batch([BOXES]))
    widths = [float(boxes[0, 0, 2] - boxes[0, 0, 0]) for boxes in pooled]
    growth = torch.tensor(0.2).exp().item()  # the deviation of the third delta
    assert widths == pytest.approx([10, 10 * growth, 10 * growth**2], rel=1e-5)


def test_masks_are_the_mean_of_the_stages(tiny_config, tiny_batch):
    head = _head(tiny_config()).eval()
    batch, feats = tiny_batch([BOXES]), _feats(1)
    together = head.predict(feats, _proposals(1), batch)
    rois = head.mask_roi_extractor(feats, together.boxes)
    alone = [m.predict(m(rois), together.labels.flatten()) for m in head.mask_head]
    torch.testing.assert_close(together.masks[0], sum(alone) / 3)
    assert not torch.allclose(alone[0], alone[1])


def test_lists_of_different_length_are_told(tiny_config):
    with pytest.raises(
        ValueError, match="3 bbox_head, 3 assigner, 3 sampler, 2 stage_loss_weights"
    ):
        _head(tiny_config(), stage_loss_weights=[1, 0.5])
