"""FCOS on a map of 4 x 4 points 8 pixels apart, where its targets can be read off."""

from __future__ import annotations

import math

import pytest
import torch
from reference import make_batch, make_gt

from mmdet_lite.models.assigners import NEGATIVE, FCOSAssigner
from mmdet_lite.models.dense_heads import FCOSHead, FCOSOutput
from mmdet_lite.models.losses import BinaryCrossEntropyLoss, FocalLoss, IoULoss
from mmdet_lite.models.postprocess import ProposalSelector

SIZE = (32, 32)
BOX = torch.tensor([[2.0, 2, 30, 14]])  # around the points (4, 12, 20, 28) x (4, 12)


def _head(num_classes: int = 2, **settings) -> FCOSHead:
    torch.manual_seed(0)
    selector = ProposalSelector(nms_pre=10, max_per_img=5)
    return FCOSHead(
        num_classes=num_classes,
        in_channels=4,
        feat_channels=4,
        num_groups=2,
        stacked_convs=1,
        strides=[8, 16],
        assigner=FCOSAssigner([(-1, 30), (30, math.inf)]),
        loss_cls=FocalLoss(),
        loss_bbox=IoULoss(),
        loss_centerness=BinaryCrossEntropyLoss(),
        train_selector=selector,
        test_selector=selector,
        **settings,
    )


def _feats(num_images: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(num_images, 4, side, side, generator=generator) for side in (4, 2)]


def _batch(*boxes: torch.Tensor):
    labels = [torch.ones(len(each), dtype=torch.long) for each in boxes]
    shapes = [SIZE] * len(boxes)
    return make_batch(torch.zeros(len(boxes), 3, *SIZE), shapes, shapes, make_gt(boxes, labels))


def _assign(*boxes: torch.Tensor, ranges=((-1, 30), (30, math.inf))) -> torch.Tensor:
    return FCOSAssigner(ranges).assign(_head()(_feats()).priors, _batch(*boxes).gt)


def test_points_inside_a_box_are_positive():
    expected = torch.full((20,), NEGATIVE)
    expected[:8] = 0
    assert _assign(BOX)[0].tolist() == expected.tolist()


def test_the_level_is_that_of_the_farthest_side():
    # From x = 4 and 28 it is 26 pixels to the farther side, from 12 and 20 it is 18; on the second
    # level the points are (8, 24) x (8, 24), and it is 22 pixels.
    assigned = _assign(BOX, ranges=((-1, 20), (20, math.inf)))[0]
    assert assigned[:8].tolist() == [-1, 0, 0, -1, -1, 0, 0, -1]
    assert assigned[16:].tolist() == [0, 0, -1, -1]


def test_the_smallest_box_wins_whatever_the_order():
    small = torch.tensor([[10.0, 2, 22, 14]])
    assert _assign(torch.cat([BOX, small]))[0, :4].tolist() == [0, 1, 1, 0]
    assert _assign(torch.cat([small, BOX]))[0, :4].tolist() == [1, 0, 0, 1]


def test_an_image_without_objects_and_padding_match_nothing():
    assigned = _assign(BOX, BOX[:0])
    assert (assigned[1] == NEGATIVE).all()


def test_other_number_of_levels_is_told():
    with pytest.raises(ValueError, match="3 regress_ranges, but there are 2 levels"):
        _assign(BOX, ranges=[(-1, 8), (8, 16), (16, 32)])


def test_output_has_the_order_of_the_points():
    head, feats = _head(), _feats(2)
    output = head(feats)
    assert output.logits.shape == (2, 20, 2)
    hidden = head.cls_convs(feats[1])
    sides = (head.conv_reg(head.reg_convs(feats[1])) * head.scales[1].scale).exp()
    assert torch.equal(output.logits[:, 16 + 2], head.conv_cls(hidden)[:, :, 1, 0])
    torch.testing.assert_close(output.distances[:, 16 + 2], sides[:, :, 1, 0])
    assert output.priors.boxes[16 + 2].tolist() == [0, 16, 16, 32]


def test_centerness_target_is_the_papers():
    head = _head()
    points = torch.tensor([[4.0, 4], [16, 8]])
    boxes = BOX[None].expand(1, 2, 4)
    target = head._target_centerness(points, boxes, torch.tensor([[True, True]]))
    assert target[0, 0] == pytest.approx(math.sqrt(2 / 26 * 2 / 10))
    assert target[0, 1] == pytest.approx(1)
    assert not head._target_centerness(points, boxes, torch.tensor([[False, False]])).any()


def test_perfect_output_has_almost_no_loss():
    head, batch = _head(), _batch(BOX)
    priors = head(_feats()).priors
    assigned = head.assigner.assign(priors, batch.gt)
    points = (priors.boxes[:, :2] + priors.boxes[:, 2:]) / 2
    distances = torch.cat([points - BOX[0, :2], BOX[0, 2:] - points], dim=1)
    logits = torch.full((1, 20, 2), -20.0)
    logits[0, assigned[0] >= 0, 1] = 20
    target = head._target_centerness(points, BOX[None].expand(1, 20, 4), assigned >= 0)
    output = FCOSOutput(logits, distances[None], torch.logit(target, eps=1e-6), priors)
    losses = head.loss(output, batch)
    assert losses["loss_cls"] < 1e-6
    assert losses["loss_bbox"] < 1e-5
    entropy = -(target * target.log() + (1 - target) * (1 - target).log()).nan_to_num().sum() / 8
    assert losses["loss_centerness"] == pytest.approx(float(entropy), abs=1e-4)


def test_without_objects_only_classification_is_trained_and_every_parameter_has_a_gradient():
    head = _head()
    losses = head.loss(head(_feats()), _batch(BOX[:0]))
    assert losses["loss_bbox"] == losses["loss_centerness"] == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_a_batch_has_the_mean_of_its_images_losses_weighted_by_positives():
    head, feats = _head(), _feats(2)
    both = head.loss(head(feats), _batch(BOX, BOX))
    alone = [head.loss(head([f[i : i + 1] for f in feats]), _batch(BOX)) for i in range(2)]
    for name, value in both.items():
        torch.testing.assert_close(value, (alone[0][name] + alone[1][name]) / 2)


def test_as_proposals_all_objects_are_one_class_and_all_levels_compete():
    head = _head(num_classes=1)
    priors = head(_feats()).priors
    distances = torch.full((1, 20, 4), 1.0)  # 2 x 2 pixels around each point
    distances[0, 0] = torch.tensor([4.0, 4, 12, 12])  # (0, 0) to (16, 16)
    distances[0, 16] = torch.tensor([8.0, 8, 8, 8])  # the same box, from the second level
    logits = torch.full((1, 20, 1), -5.0)
    logits[0, 0], logits[0, 16], logits[0, 3] = 3, 2, 1
    centerness = torch.zeros(1, 20)
    shapes = torch.tensor([SIZE])
    output = FCOSOutput(logits, distances, centerness, priors)
    proposals = head.propose(output, shapes, training=True)
    assert proposals.boxes[0, :2].tolist() == [[0, 0, 16, 16], [27, 3, 29, 5]]
    expected = torch.sigmoid(torch.tensor([3.0, 1.0])) / 2
    torch.testing.assert_close(proposals.scores[0, :2], expected)
    assert torch.equal(proposals.ids[0, :2], priors.ids[[0, 3]])
    losses = head.loss(head(_feats()), _batch(BOX))
    assert all(value.isfinite() for value in losses.values())


def test_as_a_detector_it_keeps_classes_apart():
    head = _head(max_per_img=3)
    priors = head(_feats()).priors
    logits = torch.full((1, 20, 2), -9.0)
    logits[0, 0] = torch.tensor([3.0, 2.0])
    output = FCOSOutput(logits, torch.full((1, 20, 4), 2.0), torch.full((1, 20), 9.0), priors)
    detections = head.predict(output, torch.tensor([SIZE]))
    assert detections.labels[0].tolist() == [0, 1, 0]
    assert detections.valid[0].tolist() == [True, True, False]
    assert detections.boxes[0, 0].tolist() == [2, 2, 6, 6]
