"""NanoDet-Plus's heads on a map of 4 x 4 points and one of 2 x 2."""

from __future__ import annotations

import pytest
import torch
from reference import make_batch, make_gt

from mmdet_lite.models.assigners import DynamicSoftLabelAssigner
from mmdet_lite.models.coders import DistributionCoder
from mmdet_lite.models.dense_heads import NanoDetOutput, NanoDetPlusHead, SimpleConvHead
from mmdet_lite.models.losses import DistributionFocalLoss, GIoULoss, QualityFocalLoss

SIZE = (32, 32)
BOX = torch.tensor([[4.0, 4, 20, 20]])  # two strides from the point (8, 8), 6, to a side at most


def _head(**settings) -> NanoDetPlusHead:
    torch.manual_seed(0)
    return NanoDetPlusHead(
        num_classes=2,
        in_channels=4,
        feat_channels=4,
        strides=[8, 16],
        bbox_coder=DistributionCoder(8, margin=0.1),
        assigner=DynamicSoftLabelAssigner(),
        loss_cls=QualityFocalLoss(),
        loss_bbox=GIoULoss(loss_weight=2.0),
        loss_dfl=DistributionFocalLoss(loss_weight=0.25),
        **settings,
    )


def _feats(num_images: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(num_images, 4, side, side, generator=generator) for side in (4, 2)]


def _batch(*boxes: torch.Tensor):
    labels = [torch.ones(len(each), dtype=torch.long) for each in boxes]
    shapes = [SIZE] * len(boxes)
    return make_batch(torch.zeros(len(boxes), 3, *SIZE), shapes, shapes, make_gt(boxes, labels))


def _exact_output(head: NanoDetPlusHead, logit: float = 20.0) -> NanoDetOutput:
    """Point 5, (8, 8), predicts the box (4, 4, 20, 20) as class 1; nothing else is there."""
    priors = head(_feats()).priors
    logits, sides = torch.full((1, 20, 2), -20.0), torch.zeros(1, 20, 4, 8)
    sides[..., 0] = 40  # empty boxes
    logits[0, 5, 1] = logit
    sides[0, 5] = -40
    for side, bins in enumerate(((0, 1), (0, 1), (1, 2), (1, 2))):  # 0.5, 0.5, 1.5, 1.5 strides
        sides[0, 5, side, list(bins)] = 0
    return NanoDetOutput(logits, sides.flatten(2), priors)


def test_output_has_the_order_of_the_points():
    head, feats = _head().eval(), _feats(2)
    output = head(feats)
    assert output.logits.shape == (2, 20, 2) and output.sides.shape == (2, 20, 32)
    hidden = head.convs[1](feats[1])
    torch.testing.assert_close(output.logits[:, 16 + 2], head.conv_cls[1](hidden)[:, :, 1, 0])
    torch.testing.assert_close(output.sides[:, 16 + 2], head.conv_reg[1](hidden)[:, :, 1, 0])
    assert output.priors.centers[16 + 2].tolist() == [0, 16]  # corners of cells, not their centres


def test_exact_output_has_only_the_entropy_between_two_bins():
    head = _head()
    losses = head.loss(_exact_output(head), _batch(BOX))
    assert losses["loss_cls"] < 1e-6 and losses["loss_bbox"] < 1e-5
    assert float(losses["loss_dfl"]) == pytest.approx(0.25 * 0.6931, abs=1e-4)


def test_a_positive_weighs_as_much_as_its_best_class():
    head = _head()
    sure, unsure = (head.loss(_exact_output(head, x), _batch(BOX)) for x in (20.0, 0.0))
    assert float(unsure["loss_dfl"]) == pytest.approx(float(sure["loss_dfl"]) / 2, rel=1e-4)


def test_the_guide_decides_unless_the_head_does():
    head = _head()
    good = _exact_output(head)
    bad = head(_feats())
    by_guide = head.loss(bad, _batch(BOX), aux=good)
    assert by_guide["aux_loss_bbox"] < 1e-5  # the only positive is the one that it fits
    assert head.targets(good, _batch(BOX)).scores.sum() == pytest.approx(1, abs=1e-4)
    by_head = head.loss(bad, _batch(BOX), aux=good, aux_assigns=False)
    alone = head.loss(bad, _batch(BOX))
    assert all(torch.equal(by_head[name], value) for name, value in alone.items())
    assert not torch.equal(by_head["loss_cls"], by_guide["loss_cls"])


CASES = {
    "no objects": [BOX[:0], BOX[:0]],
    "no objects in one image": [BOX, BOX[:0]],
    "a box without a point": [torch.tensor([[1.0, 1, 5, 5]]), BOX],
    "duplicate boxes": [BOX.repeat(3, 1), BOX],
    "a box larger than the image": [torch.tensor([[-99.0, -99, 200, 200]]), BOX],
}


@pytest.mark.parametrize("boxes", CASES.values(), ids=CASES)
def test_losses_are_finite_and_every_parameter_has_a_gradient(boxes):
    head = _head()
    losses = head.loss(head(_feats(2)), _batch(*boxes))
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    if not any(len(rows) for rows in boxes):
        assert losses["loss_bbox"] == losses["loss_dfl"] == 0


def test_padding_of_the_batch_is_not_trained():
    head, batch = _head(), _batch(BOX, BOX)
    batch.pad_shapes[1] = torch.tensor([16, 32])
    weights = head.targets(head(_feats(2)), batch).weights
    assert weights[0].all()
    assert weights[1].tolist() == [1.0] * 8 + [0.0] * 8 + [1.0] * 2 + [0.0] * 2


def test_detections_are_clipped_and_above_the_threshold():
    head = _head(max_per_img=3)
    output = _exact_output(head, logit=3.0)
    output.logits[0, 15, 0] = 2.0  # the last point, (24, 24), whose box is empty
    output.sides.unflatten(2, (4, 8))[0, 15, 2:] = torch.tensor([-40.0] * 7 + [40])  # 7 strides
    detections = head.predict(output, torch.tensor([SIZE]))
    assert detections.valid[0].tolist() == [True, True, False]
    assert detections.labels[0, :2].tolist() == [1, 0]
    expected = torch.tensor([[4.0, 4, 20, 20], [24, 24, 32, 32]])
    torch.testing.assert_close(detections.boxes[0, :2], expected)
    torch.testing.assert_close(detections.scores[0, :2], torch.tensor([3.0, 2.0]).sigmoid())


def test_boxes_are_exact_under_autocast():
    coder, generator = DistributionCoder(8), torch.Generator().manual_seed(0)
    points, logits = (torch.randn(9, count, generator=generator) for count in (2, 32))
    expected = coder.decode(points, torch.full((9, 1), 64), logits)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(coder.decode(points, torch.full((9, 1), 64), logits), expected)


def test_tensors_that_grow_with_the_classes_are_named():
    aux = SimpleConvHead(2, 4, num_levels=2, feat_channels=4, num_groups=2)
    for head in (_head(), aux):
        state, rows = head.state_dict(), head.class_rows()
        by_class = {name for name, value in state.items() if len(value.shape) and len(value) == 2}
        assert set(rows) == by_class
