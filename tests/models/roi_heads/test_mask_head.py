"""The mask head: shapes, the channel of a class, and masks that do not count."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmdet_lite.models.roi_heads import FCNMaskHead
from mmdet_lite.registry import MODELS, build

K = 3


def _head(**settings) -> FCNMaskHead:
    torch.manual_seed(0)
    cfg = dict(
        type="FCNMaskHead",
        num_classes=K,
        in_channels=4,
        num_convs=2,
        conv_out_channels=6,
        roi_feat_size=5,
        loss_mask=dict(type="MaskCrossEntropyLoss"),
    )
    return build(cfg | settings, MODELS)


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("class_agnostic", "channels"), [(False, K), (True, 1)])
@pytest.mark.parametrize("norm_cfg", [None, dict(type="GN", num_groups=2)])
def test_masks_are_twice_the_pooled_size(class_agnostic, channels, norm_cfg):
    head = _head(class_agnostic=class_agnostic, norm_cfg=norm_cfg)
    assert head(torch.randn(7, 4, 5, 5)).shape == (7, channels, 10, 10)
    assert head(torch.randn(0, 4, 5, 5)).shape == (0, channels, 10, 10)
    assert head.mask_size == 10
    assert all(conv.with_norm == (norm_cfg is not None) for conv in head.convs)


def test_loss_is_that_of_the_true_class_over_valid_masks():
    logits, target = _random(4, K, 10, 10), (_random(4, 10, 10) > 0).float()
    labels, valid = torch.tensor([2, 0, K, K]), torch.tensor([True, True, False, False])
    loss = _head().loss(logits, target, labels, valid)["loss_mask"]
    expected = F.binary_cross_entropy_with_logits(logits[[0, 1], [2, 0]], target[:2])
    torch.testing.assert_close(loss, expected)


def test_class_agnostic_loss_reads_the_only_channel():
    logits, target = _random(3, 1, 10, 10), (_random(3, 10, 10) > 0).float()
    loss = _head(class_agnostic=True).loss(
        logits, target, torch.tensor([2, 1, K]), torch.tensor([True, True, True])
    )["loss_mask"]
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(logits[:, 0], target))


def test_without_a_valid_mask_the_loss_is_zero_and_reaches_every_parameter():
    head = _head()
    logits = head(_random(2, 4, 5, 5))
    loss = head.loss(logits, torch.ones(2, 10, 10), torch.tensor([K, K]), torch.zeros(2).bool())
    loss["loss_mask"].backward()
    assert loss["loss_mask"] == 0
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert not parameter.grad.any(), name


def test_prediction_is_the_probability_of_the_predicted_class():
    logits, labels = _random(3, K, 10, 10).bfloat16(), torch.tensor([2, 0, 1])
    masks = _head().predict(logits, labels)
    assert masks.dtype == torch.float32
    assert torch.equal(masks, logits[[0, 1, 2], [2, 0, 1]].float().sigmoid())
    agnostic = _head(class_agnostic=True).predict(logits[:, :1], labels)
    assert torch.equal(agnostic, logits[:, 0].float().sigmoid())


def test_rows_that_grow_with_the_classes_are_named():
    state = _head().state_dict()
    assert {len(state[name]) for name in _head().class_rows()} == {K}
    assert _head(class_agnostic=True).class_rows() == {}
