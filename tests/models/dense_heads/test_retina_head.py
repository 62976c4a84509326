"""RetinaNet's head: the order of its output, and what the reference numbers do not show."""

from __future__ import annotations

import pytest
import torch
from reference import make_batch, make_gt

from mmdet_lite.models.assigners import MaxIoUAssigner
from mmdet_lite.models.coders import DeltaXYWHBBoxCoder
from mmdet_lite.models.dense_heads import DenseOutput, RetinaHead
from mmdet_lite.models.losses import FocalLoss, GIoULoss, L1Loss
from mmdet_lite.models.priors import AnchorGenerator

SIZE = (32, 48)
BOXES = torch.tensor([[2.0, 3, 20, 19], [20, 5, 44, 30]])
K = 3


def _head(**settings) -> RetinaHead:
    torch.manual_seed(0)
    arguments = dict(
        num_classes=K,
        in_channels=4,
        feat_channels=4,
        stacked_convs=1,
        anchor_generator=AnchorGenerator([8, 16], [0.5, 1.0], scales=[2, 3]),
        bbox_coder=DeltaXYWHBBoxCoder(),
        assigner=MaxIoUAssigner(0.5, 0.4, 0),
        loss_cls=FocalLoss(),
        loss_bbox=L1Loss(),
        max_per_img=6,
    )
    return RetinaHead(**arguments | settings)


def _feats(num_images: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(4, 6), (2, 3)]
    return [torch.randn(num_images, 4, *size, generator=generator) for size in sizes]


def _batch(*boxes: torch.Tensor):
    labels = [torch.arange(len(each)) for each in boxes]
    shapes = [SIZE] * len(boxes)
    return make_batch(torch.zeros(len(boxes), 3, *SIZE), shapes, shapes, make_gt(boxes, labels))


def test_output_has_the_order_of_the_anchors():
    head, feats = _head(), _feats(2)
    output = head(feats)
    assert output.logits.shape == (2, 4 * 30, K)
    scored = head.retina_cls(head.cls_convs(feats[1]))
    deltas = head.retina_reg(head.reg_convs(feats[1]))
    for row, column, anchor in [(0, 0, 0), (0, 2, 1), (1, 1, 3)]:
        place = 4 * 24 + (row * 3 + column) * 4 + anchor
        channels = slice(anchor * K, anchor * K + K)
        assert torch.equal(output.logits[:, place], scored[:, channels, row, column])
        four = slice(anchor * 4, anchor * 4 + 4)
        assert torch.equal(output.deltas[:, place], deltas[:, four, row, column])


def test_it_begins_with_scores_of_one_percent():
    scores = _head()(_feats()).logits.sigmoid()
    assert (scores - 0.01).abs().max() < 0.002


def test_losses_of_a_batch_are_those_of_its_images_by_positives():
    head, feats = _head(), _feats(2)
    together = head.loss(head(feats), _batch(BOXES, BOXES[:1]))
    totals = dict.fromkeys(together, 0.0)
    positives = 0
    for i, boxes in enumerate((BOXES, BOXES[:1])):
        batch, output = _batch(boxes), head([f[i : i + 1] for f in feats])
        count = int((head.assigner.assign(output.priors.boxes, batch.gt) >= 0).sum())
        positives += count
        for name, value in head.loss(output, batch).items():
            totals[name] += value * count
    for name, value in together.items():
        torch.testing.assert_close(value, totals[name] / positives)


def test_without_objects_every_parameter_has_a_gradient():
    head = _head()
    losses = head.loss(head(_feats()), _batch(BOXES[:0]))
    assert losses["loss_bbox"] == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_padding_of_the_ground_truth_changes_nothing():
    head, feats = _head(), _feats(2)
    output = head(feats)
    few = head.loss(output, _batch(BOXES[:1], BOXES[:1]))
    batch = _batch(BOXES[:1], BOXES)
    batch.gt.valid[1, 1] = False
    for name, value in head.loss(output, batch).items():
        assert torch.equal(value, few[name])


def test_an_anchor_may_be_detected_as_several_classes():
    head = _head()
    priors = head(_feats()).priors
    logits = torch.full((1, 120, K), -9.0)
    logits[0, 10] = torch.tensor([2.0, -9, 1])
    logits[0, 11, 0] = 0.5
    output = DenseOutput(logits, torch.zeros(1, 120, 4), priors)
    detections = head.predict(output, torch.tensor([SIZE]))
    assert detections.labels[0].tolist()[:2] == [0, 2]
    torch.testing.assert_close(detections.scores[0, :2], torch.sigmoid(torch.tensor([2.0, 1.0])))


def test_candidates_are_limited_by_level():
    head = _head(nms_pre=1, score_thr=0)
    detections = head.predict(head(_feats()), torch.tensor([SIZE]))
    assert int(detections.valid.sum()) == 2


def test_every_level_can_have_its_own_score_threshold():
    head = _head(nms_pre=2, score_thr=[1.0, 0.0])
    output = head(_feats())
    detections = head.predict(output, torch.tensor([SIZE]))
    assert int(detections.valid.sum()) == 2
    of_last_level = output.logits[:, -24:].sigmoid().flatten().topk(2).values
    assert torch.equal(detections.scores[0, :2], of_last_level)
    with pytest.raises(ValueError, match="RetinaHead: score_thr .* each of the 2 levels, got .0.1"):
        _head(score_thr=[0.1])


def test_images_without_objects_need_not_count_as_a_positive():
    feats, empty = _feats(2), BOXES[:0]
    losses = {}
    for count in (0, 1):
        head = _head(min_pos_per_img=count)
        losses[count] = [
            head.loss(head(feats), _batch(*images))["loss_bbox"]
            for images in ((BOXES, empty), (empty, empty))
        ]
    num_pos = int((head.assigner.assign(head(feats).priors, _batch(BOXES).gt) >= 0).sum())
    torch.testing.assert_close(losses[0][0], losses[1][0] * (num_pos + 1) / num_pos)
    assert losses[0][1] == losses[1][1] == 0


def test_rows_of_each_class_are_known():
    head = _head()
    rows = head.class_rows()["retina_cls.weight"]
    assert len(head.retina_cls.weight) == rows.groups * rows.rows * K


def test_a_loss_on_boxes_is_refused():
    with pytest.raises(ValueError, match="RetinaHead: loss_bbox=GIoULoss works on boxes"):
        _head(loss_bbox=GIoULoss())
