"""The box head: shapes, losses by hand, and its predictions."""

from __future__ import annotations

import math

import pytest
import torch

from mmdet_lite.models.roi_heads import ConvFCBBoxHead
from mmdet_lite.models.targets import BoxTargets
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.samples import Proposals

K = 3


def _head(**settings) -> ConvFCBBoxHead:
    torch.manual_seed(0)
    cfg = dict(
        type="ConvFCBBoxHead",
        num_classes=K,
        in_channels=4,
        fc_out_channels=8,
        roi_feat_size=3,
        bbox_coder=dict(type="DeltaXYWHBBoxCoder"),
        loss_cls=dict(type="CrossEntropyLoss"),
        loss_bbox=dict(type="L1Loss"),
    )
    return build(cfg | settings, MODELS)


def _targets(labels: list[list[int]], num_valid: int | None = None) -> BoxTargets:
    """Positives where the label is an object's; every target is the prior itself."""
    labels = torch.tensor(labels)
    valid = torch.ones_like(labels, dtype=torch.bool)
    valid[:, num_valid:] = False if num_valid is not None else valid[:, num_valid:]
    is_pos = (labels < K) & valid
    priors = torch.tensor([0.0, 0, 10, 10]).expand(*labels.shape, 4)
    index = torch.zeros_like(labels)
    return BoxTargets(
        torch.where(valid[..., None], priors, 0),
        index,
        torch.where(valid, labels, K),
        valid.float(),
        torch.zeros(*labels.shape, 4),
        is_pos,
        valid,
        assigned_gt=index,
        ids=index,
    )


def test_four_convolutions_and_one_layer_with_group_norm():
    head = _head(
        num_shared_convs=4,
        conv_out_channels=6,
        num_shared_fcs=1,
        norm_cfg=dict(type="GN", num_groups=2),
    )
    logits, deltas = head(torch.randn(5, 4, 3, 3))
    assert (logits.shape, deltas.shape) == ((5, K + 1), (5, K, 4))
    assert [type(conv.norm) for conv in head.shared_convs] == [torch.nn.GroupNorm] * 4
    assert head.shared_convs[0].conv.bias is None
    assert len(head.shared_fcs) == 1


def test_convolutions_may_standardise_their_weights():
    head = _head(num_shared_convs=1, num_shared_fcs=0, conv_cfg=dict(type="ConvWS"))
    feats = torch.randn(5, 4, 3, 3)
    before = head(feats)[0]
    with torch.no_grad():
        head.shared_convs[0].conv.weight.mul_(2).add_(3)
    torch.testing.assert_close(head(feats)[0], before, rtol=1e-3, atol=1e-4)


def test_average_of_the_places_comes_before_the_layers():
    head = _head(with_avg_pool=True, num_shared_fcs=0)
    feats = torch.randn(5, 4, 3, 3)
    assert head.fc_cls.in_features == 4
    logits, deltas = head(feats)
    torch.testing.assert_close(logits, head.fc_cls(feats.mean((2, 3))))


def test_class_agnostic_head_has_one_box():
    head = _head(reg_class_agnostic=True)
    assert head(torch.randn(5, 4, 3, 3))[1].shape == (5, 1, 4)


def test_rows_that_grow_with_the_classes_are_named():
    rows = _head().class_rows()
    state = _head().state_dict()
    for name, layout in rows.items():
        assert len(state[name]) == layout.rows * (K + layout.has_background)
    assert set(rows) == {"fc_cls.weight", "fc_cls.bias", "fc_reg.weight", "fc_reg.bias"}
    assert set(_head(reg_class_agnostic=True).class_rows()) == {"fc_cls.weight", "fc_cls.bias"}


def test_losses_and_accuracy_of_known_output():
    targets = _targets([[0, 2, K, K]])
    logits = torch.zeros(4, K + 1)
    logits[0, 0] = logits[1, 1] = 1  # one right, one wrong; equal logits count as class 0
    deltas = torch.zeros(4, K, 4)
    deltas[0, 0], deltas[1, 2], deltas[1, 0], deltas[2] = 0.5, 0.25, 99, 99
    losses = _head().loss(logits, deltas, targets)
    total = math.log(math.e + 3)
    expected = (total - 1 + total + 2 * math.log(4)) / 4
    torch.testing.assert_close(losses["loss_cls"], torch.tensor(expected))
    torch.testing.assert_close(losses["loss_bbox"], torch.tensor((4 * 0.5 + 4 * 0.25) / 4))
    assert losses["acc"] == 25


def test_padded_rows_change_no_loss():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, K + 1, generator=generator)
    deltas = torch.randn(6, K, 4, generator=generator)
    head, plain, padded = _head(), _targets([[0, 2, K, 1]]), _targets([[0, 2, K, 1, 0, 1]], 4)
    expected = head.loss(logits[:4], deltas[:4], plain)
    for name, value in head.loss(logits, deltas, padded).items():
        torch.testing.assert_close(value, expected[name])


def test_class_agnostic_loss_reads_the_only_box():
    targets, deltas = _targets([[0, 2, K]]), torch.ones(3, 1, 4)
    losses = _head(reg_class_agnostic=True).loss(torch.zeros(3, K + 1), deltas, targets)
    torch.testing.assert_close(losses["loss_bbox"], torch.tensor(8 / 3))


def test_decoded_boxes_can_be_compared():
    head = _head(reg_decoded_bbox=True, loss_bbox=dict(type="GIoULoss"))
    targets, deltas = _targets([[1, K]]), torch.zeros(2, K, 4, requires_grad=True)
    targets.boxes[0, 0] = torch.tensor([0.0, 0, 10, 5])
    loss = head.loss(torch.zeros(2, K + 1), deltas, targets)["loss_bbox"]
    loss.backward()
    torch.testing.assert_close(loss.detach(), torch.tensor(0.5 / 2))
    assert bool(deltas.grad[0, 1].any())
    assert not deltas.grad[1].any()


@pytest.mark.parametrize("labels", [[[K, K]], [[K]]])
@pytest.mark.parametrize("num_valid", [None, 0])
def test_without_positives_or_samples_losses_are_finite_and_reach_every_parameter(
    labels, num_valid
):
    head = _head(num_shared_convs=1, conv_out_channels=4)
    targets = _targets(labels, num_valid)
    losses = head.loss(*head(torch.randn(len(labels[0]), 4, 3, 3)), targets)
    (losses["loss_cls"] + losses["loss_bbox"]).backward()
    assert losses["loss_bbox"] == 0
    assert all(bool(torch.isfinite(value)) for value in losses.values())
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


def test_output_is_float32_under_autocast():
    head, feats = _head(), torch.randn(5, 4, 3, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, deltas = head(feats)
    assert (logits.dtype, deltas.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(logits, head(feats)[0], rtol=0.05, atol=0.01)


def _proposals() -> Proposals:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [20, 20, 40, 40], [0, 0, 30, 30]]]).repeat(2, 1, 1)
    valid = torch.tensor([[True, True, False], [True, True, True]])
    return Proposals(boxes, valid.float(), valid, torch.zeros(2, 3).long())


def test_prediction_takes_the_box_of_each_class_and_clips_it():
    logits = torch.full((6, K + 1), -10.0)
    logits[[0, 1, 2], [1, 2, 0]] = 10
    logits[3:, K] = 10  # the second image has background only
    deltas = torch.zeros(6, K, 4)
    deltas[0, 1, 0] = 0.5  # moves by half a width
    shapes = torch.tensor([[30, 12], [30, 30]])
    detections = _head(max_per_img=5).predict(logits, deltas, _proposals(), shapes)
    assert detections.valid.sum(dim=1).tolist() == [2, 0]
    found = {
        int(label): box.tolist()
        for label, box in zip(detections.labels[0, :2], detections.boxes[0, :2], strict=True)
    }
    assert found == {1: [5, 0, 12, 10], 2: [12, 20, 12, 30]}


def test_prediction_of_a_batch_equals_its_single_images():
    generator = torch.Generator().manual_seed(0)
    logits, deltas = (
        torch.randn(6, K + 1, generator=generator),
        torch.randn(6, 1, 4, generator=generator),
    )
    shapes, proposals = torch.tensor([[30, 40], [25, 35]]), _proposals()
    head = _head(reg_class_agnostic=True, max_per_img=4)
    together = head.predict(logits, deltas, proposals, shapes)
    for i in range(2):
        rows, one = slice(3 * i, 3 * i + 3), slice(i, i + 1)
        single = Proposals(*(value[one] for value in vars(proposals).values()))
        alone = head.predict(logits[rows], deltas[rows], single, shapes[one])
        for name in ("boxes", "scores", "labels", "valid"):
            assert torch.equal(getattr(alone, name)[0], getattr(together, name)[i]), name
