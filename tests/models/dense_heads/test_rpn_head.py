"""RPN: the order of its output, its losses and its proposals."""

from __future__ import annotations

import pytest
import torch
from reference import make_batch, make_gt

from mmdet_lite.models.dense_heads import RPNHead, RPNOutput
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.samples import Batch

SIZE = (32, 48)
BOXES = torch.tensor([[2.0, 3, 20, 19], [20, 5, 44, 30]])


@pytest.fixture
def head(tiny_config) -> RPNHead:
    torch.manual_seed(0)
    cfg = tiny_config().rpn_head
    cfg.anchor_generator.update(strides=[4, 8], scales=[3])
    return build(cfg, MODELS)


def _feats(num_images: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = [(8, 12), (4, 6)]
    return [torch.randn(num_images, 8, *size, generator=generator) for size in sizes]


def _batch(*boxes: torch.Tensor) -> Batch:
    images = torch.zeros(len(boxes), 3, *SIZE)
    return make_batch(images, [SIZE] * len(boxes), [SIZE] * len(boxes), make_gt(list(boxes)))


def _losses(head: RPNHead, feats: list[torch.Tensor], batch: Batch) -> dict[str, torch.Tensor]:
    return head.loss(head(feats), batch)


def test_output_has_the_order_of_the_anchors(head):
    feats = _feats(2)
    output = head(feats)
    assert output.logits.shape == (2, 3 * (96 + 24))
    assert output.deltas.shape == (2, 3 * (96 + 24), 4)
    hidden = torch.relu(head.rpn_conv(feats[1]))
    maps, boxes = head.rpn_cls(hidden), head.rpn_reg(hidden)
    for row, column, anchor in [(0, 0, 0), (0, 1, 2), (3, 2, 1)]:
        place = 3 * 96 + (row * 6 + column) * 3 + anchor
        assert torch.equal(output.logits[:, place], maps[:, anchor, row, column])
        expected = boxes[:, anchor * 4 : anchor * 4 + 4, row, column]
        assert torch.equal(output.deltas[:, place], expected)
        assert output.priors.cells[place].tolist() == [row, column]


def test_perfect_output_has_almost_no_loss(head):
    batch = _batch(BOXES)
    priors = head(_feats(1)).priors
    assigned = head.assigner.assign(priors.boxes, batch.gt)
    deltas = head.bbox_coder.encode(priors.boxes, batch.gt.boxes[0][assigned[0].clamp(min=0)])
    logits = torch.where(assigned >= 0, 20.0, -20.0)
    losses = head.loss(RPNOutput(logits, deltas[None], priors), batch)
    assert losses["loss_rpn_cls"] < 1e-6
    assert losses["loss_rpn_bbox"] == 0
    shifted = head.loss(RPNOutput(-logits, deltas[None] + 1, priors), batch)
    assert shifted["loss_rpn_cls"] > 10
    # every positive is wrong by 1 in four coordinates, divided by all samples
    num_pos = min(int((assigned >= 0).sum()), 128)
    expected = torch.tensor(4 * num_pos / 256)
    torch.testing.assert_close(shifted["loss_rpn_bbox"], expected)


def test_two_equal_images_have_the_loss_of_one(head):
    feats, batch = _feats(1), _batch(BOXES)
    double = _batch(BOXES, BOXES)
    double.keys = batch.keys.repeat(2)
    alone = _losses(head, feats, batch)
    together = _losses(head, [feat.repeat(2, 1, 1, 1) for feat in feats], double)
    for name in alone:
        torch.testing.assert_close(together[name], alone[name])


def test_loss_of_a_batch_is_the_weighted_mean_of_its_images(head):
    feats, batch = _feats(2), _batch(BOXES, BOXES[:1] + 3)
    together = _losses(head, feats, batch)
    # 256 samples an image, both kinds present: equal weights
    for name in together:
        parts = []
        for i, boxes in enumerate([BOXES, BOXES[:1] + 3]):
            single = _batch(boxes)
            single.keys = batch.keys[i : i + 1]
            parts.append(_losses(head, [feat[i : i + 1] for feat in feats], single)[name])
        torch.testing.assert_close(together[name], (parts[0] + parts[1]) / 2)


@pytest.mark.parametrize("num_images", [1, 2])
def test_without_ground_truth_the_loss_is_finite_and_reaches_every_parameter(head, num_images):
    losses = _losses(head, _feats(num_images), _batch(*[torch.zeros(0, 4)] * num_images))
    sum(losses.values()).backward()
    assert losses["loss_rpn_bbox"] == 0
    assert losses["loss_rpn_cls"] > 0
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


def test_where_everything_is_ignored_the_loss_is_zero_and_has_a_gradient(head):
    head.assigner.ignore_iof_thr = 0.0
    batch = _batch(BOXES)
    batch.gt.ignore_boxes = torch.tensor([[[-99.0, -99, 99, 99]]])
    batch.gt.ignore_valid = torch.tensor([[True]])
    losses = _losses(head, _feats(1), batch)
    sum(losses.values()).backward()
    assert [value.item() for value in losses.values()] == [0, 0]
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_positives_may_weigh_more(head):
    feats, batch = _feats(1), _batch(BOXES)
    plain = _losses(head, feats, batch)
    head.pos_weight = 3.0
    heavy = _losses(head, feats, batch)
    assert heavy["loss_rpn_cls"] > plain["loss_rpn_cls"]
    assert heavy["loss_rpn_bbox"] == plain["loss_rpn_bbox"]


def test_anchors_outside_the_allowed_border_are_not_trained(head):
    head.allowed_border = 0
    batch, output = _batch(BOXES), head(_feats(1))
    output.logits.retain_grad()
    sum(head.loss(output, batch).values()).backward()
    boxes, trained = output.priors.boxes, output.logits.grad[0] != 0
    assert trained.any()
    assert float(boxes[trained].min()) >= 0
    assert float(boxes[trained][:, 2].max()) < 48
    assert float(boxes[trained][:, 3].max()) < 32


def test_proposals_carry_no_gradient_and_use_the_selector_of_the_mode(head):
    head.train_selector.max_per_img, head.test_selector.max_per_img = 20, 5
    output = head(_feats(2))
    shapes = torch.tensor([list(SIZE), [16, 24]])
    training = head.propose(output, shapes, training=True)
    assert training.boxes.shape == (2, 20, 4)
    assert not training.boxes.requires_grad
    assert float(training.boxes[1].max()) <= 24
    assert head.propose(output, shapes, training=False).boxes.shape == (2, 5, 4)


def test_losses_under_autocast_are_float32_and_close(head):
    feats, batch = _feats(2), _batch(BOXES, torch.zeros(0, 4))
    expected = _losses(head, feats, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = _losses(head, feats, batch)
    for name, value in losses.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[name], rtol=2e-2, atol=1e-3)


def test_unknown_normalizer_is_refused(tiny_config):
    cfg = tiny_config().rpn_head
    cfg.normalizer = "mean"
    with pytest.raises(ValueError, match="normalizer must be 'rank' or 'global', got 'mean'"):
        build(cfg, MODELS)


def test_several_hidden_convolutions(tiny_config):
    cfg = tiny_config().rpn_head
    cfg.anchor_generator.update(strides=[4, 8], scales=[3])
    cfg.num_convs = 2
    head = build(cfg, MODELS)
    names = {name for name, _ in head.named_parameters()}
    assert {"rpn_conv.0.conv.weight", "rpn_conv.1.conv.bias"} <= names
    hidden = torch.relu(head.rpn_conv[1].conv(torch.relu(head.rpn_conv[0].conv(_feats(1)[0]))))
    expected = head.rpn_cls(hidden).permute(0, 2, 3, 1).reshape(1, -1)
    torch.testing.assert_close(head(_feats(1)).logits[:, : 3 * 96], expected)
