"""YOLOv5's head on maps of 4 x 4, 2 x 2 and 1 x 1 cells."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from reference import make_batch, make_gt
from torch import Tensor

from mmdet_lite.engine.weights import load_weights
from mmdet_lite.models.assigners import ShapeRatioAssigner
from mmdet_lite.models.dense_heads import YOLOv5Head, YOLOv5Output
from mmdet_lite.models.losses import CIoULoss, SigmoidCrossEntropyLoss
from mmdet_lite.models.priors import YOLOAnchorGenerator

SIZE = (32, 32)
BOX = torch.tensor([[2.0, 4, 14, 20]])
NO_BOX = BOX[:0]
CASES = {
    "no box in an image": [BOX, NO_BOX],
    "no box at all": [NO_BOX, NO_BOX],
    "a box that fits no anchor": [torch.tensor([[3.0, 3, 3.5, 30]]), NO_BOX],
    "a box around no anchor's centre": [torch.tensor([[5.0, 5, 7, 7]]), NO_BOX],
    "the same box twice": [torch.cat([BOX, BOX]), BOX],
    "a box larger than the image": [torch.tensor([[-40.0, -30, 80, 70]]), BOX],
    "a box of the image's size": [torch.tensor([[0.0, 0, 32, 32]]), BOX],
    "a corner outside": [torch.tensor([[24.0, 24, 40, 40]]), BOX],
}


def _head(num_classes: int = 2, strides=(8, 16, 32), **settings) -> YOLOv5Head:
    torch.manual_seed(0)
    return YOLOv5Head(
        num_classes=num_classes,
        in_channels=[4, 5, 6],
        prior_generator=YOLOAnchorGenerator(
            strides, [[(4, 4), (8, 12)], [(14, 10), (16, 20)], [(30, 20), (30, 30)]]
        ),
        assigner=ShapeRatioAssigner(),
        loss_cls=SigmoidCrossEntropyLoss(),
        loss_obj=SigmoidCrossEntropyLoss(loss_weight=0.5),
        loss_bbox=CIoULoss(min_iou=0),
        **settings,
    )


def _feats(num_images: int = 2) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = zip((4, 5, 6), (4, 2, 1), strict=True)
    return [torch.randn(num_images, c, side, side, generator=generator) for c, side in shapes]


def _batch(boxes: list[Tensor], size: tuple[int, int] = SIZE):
    labels = [torch.arange(len(each)) % 2 for each in boxes]
    shapes = [size] * len(boxes)
    return make_batch(torch.zeros(len(boxes), 3, *SIZE), shapes, shapes, make_gt(boxes, labels))


def _detect(head: YOLOv5Head, raw: Tensor):
    priors = head(_feats(1)).priors
    return head.predict(YOLOv5Output(raw, priors), torch.tensor([SIZE]))


@pytest.mark.parametrize("normalizer", ["rank", "global"])
@pytest.mark.parametrize("num_classes", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_losses_are_finite_and_every_parameter_is_trained(case, num_classes, normalizer):
    head = _head(num_classes, normalizer=normalizer, autobalance=True)
    losses = head.loss(head(_feats()), _batch(CASES[case]))
    assert all(value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_without_objects_only_objectness_is_trained():
    head = _head()
    losses = head.loss(head(_feats()), _batch([NO_BOX, NO_BOX]))
    assert losses["loss_cls"] == losses["loss_bbox"] == 0
    assert losses["loss_obj"] > 0


def test_the_sum_of_two_equal_images_is_four_times_one():
    """Means stay, and are multiplied by the number of images in a sum."""
    head, feats = _head(), _feats(1)
    one = head.loss(head(feats), _batch([BOX]))
    two = head.loss(head([feat.repeat(2, 1, 1, 1) for feat in feats]), _batch([BOX, BOX]))
    for name, value in two.items():
        torch.testing.assert_close(value, 2 * one[name])


def test_padded_ground_truths_change_nothing():
    head, feats = _head(), _feats(1)
    expected = head.loss(head(feats), _batch([BOX]))
    batch = _batch([BOX])
    wide = make_gt([BOX, BOX.repeat(5, 1)])
    batch.gt.boxes, batch.gt.valid = wide.boxes[:1], wide.valid[:1]
    batch.gt.labels = wide.labels[:1]
    for name, value in head.loss(head(feats), batch).items():
        torch.testing.assert_close(value, expected[name])


def test_cells_in_the_padding_are_not_trained():
    head, feats = _head(), _feats(1)
    output = head(feats)
    output.raw.retain_grad()
    sum(head.loss(output, _batch([BOX], (16, 32))).values()).backward()
    rows = output.priors.cells[:, 0] * output.priors.strides[:, 0]
    assert not output.raw.grad[0, rows >= 16].any()
    assert output.raw.grad[0, rows < 16, 4].all()


def test_biases_expect_few_objects():
    head, plain = _head(num_classes=20), torch.nn.Conv2d(4, 2 * 25, 1)
    torch.manual_seed(0)
    plain.reset_parameters()
    added = (head.convs[0].bias - plain.bias).detach().reshape(2, 25)
    assert not added[:, :4].any()
    torch.testing.assert_close(added[:, 4], torch.tensor(math.log(8 / 80**2)).expand(2))
    torch.testing.assert_close(added[:, 5:], torch.tensor(math.log(0.6 / 19.00001)).expand(2, 20))


def test_balances_are_loaded_and_followed_only_on_demand():
    head = _head(autobalance=True)
    batch, output = _batch([BOX, BOX]), head(_feats())
    head.loss(output, batch)
    assert head.obj_balance[1] == 1 and head.obj_balance[0] != 4
    resumed = _head(autobalance=True)
    resumed.load_state_dict(copy.deepcopy(head.state_dict()))
    for each in (head, resumed):
        each.loss(output, batch)
    assert torch.equal(head.obj_balance, resumed.obj_balance)
    before = head.obj_balance.clone()
    head.eval().loss(output, batch)
    assert torch.equal(head.obj_balance, before)
    plain = _head()  # nothing is missing, and the config's balance holds
    plain.load_state_dict(head.state_dict())
    assert torch.equal(plain.obj_balance, _head().obj_balance)


def test_a_loss_that_is_not_finite_leaves_the_balances_alone():
    head = _head(autobalance=True)
    output = head(_feats())
    output.raw.data[0, 0, 4] = math.nan
    head.loss(output, _batch([BOX, BOX]))
    assert head.obj_balance.tolist() == pytest.approx([4, 1, 0.4])


def test_the_entry_listed_last_decides_about_objectness():
    head = _head()
    output = head(_feats(1))
    small, large = BOX, BOX + torch.tensor([-2.0, -1, 2, 1])  # around the same centre
    orders = [torch.cat([small, large]), torch.cat([large, small])]
    losses = [head.loss(output, _batch([boxes]))["loss_obj"] for boxes in orders]
    alone = [head.loss(output, _batch([boxes]))["loss_obj"] for boxes in (large, small)]
    assert losses[0] != losses[1]
    torch.testing.assert_close(losses[0], alone[0])
    torch.testing.assert_close(losses[1], alone[1])


def test_detections_score_objectness_times_class():
    head = _head()
    raw = torch.full((1, 42, 7), -20.0)
    raw[0, 10, :4] = 0.0  # row 1, column 1, first anchor: 4 x 4 around (12, 12)
    raw[0, 10, 4:] = torch.tensor([2.0, 1.0, 0.5])
    found = _detect(head, raw)
    assert found.valid[0].tolist()[:3] == [True, True, False]
    assert found.labels[0, :2].tolist() == [0, 1]
    expected = torch.tensor(2.0).sigmoid() * torch.tensor([1.0, 0.5]).sigmoid()
    torch.testing.assert_close(found.scores[0, :2], expected)
    torch.testing.assert_close(found.boxes[0, :2], torch.tensor([[10.0, 10, 14, 14]] * 2))
    single = _detect(_head(multi_label=False), raw)
    assert single.valid[0].sum() == 1 and single.labels[0, 0] == 0


def test_of_one_class_the_score_is_objectness():
    raw = torch.full((1, 42, 6), -20.0)
    raw[0, 10, 4] = 1.0
    found = _detect(_head(num_classes=1), raw)
    torch.testing.assert_close(found.scores[0, 0], torch.tensor(1.0).sigmoid())


def test_classes_are_matched_by_name():
    old, new = _head(num_classes=3), _head(num_classes=2)
    checkpoint = {"model": old.state_dict(), "meta": {"classes": ["cat", "dog", "bird"]}}
    torch.nn.init.zeros_(new.convs[0].weight)
    load_weights(new, checkpoint, strict=False, classes=["bird", "cow"])
    ours, theirs = new.convs[0].weight.reshape(2, 7, 4), old.convs[0].weight.reshape(2, 8, 4)
    assert torch.equal(ours[:, :5], theirs[:, :5])  # boxes and objectness
    assert torch.equal(ours[:, 5], theirs[:, 7]) and not ours[:, 6].any()


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="one number for each of the 3 strides"):
        _head(obj_balance=[4.0, 1.0])
    with pytest.raises(ValueError, match="autobalance=True needs a level of stride 16"):
        _head(strides=(4, 8, 32), autobalance=True)
    with pytest.raises(ValueError, match="normalizer must be 'rank' or 'global'"):
        _head(normalizer="local")
