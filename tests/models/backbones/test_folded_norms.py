"""Convolutions into which norms with fixed statistics are folded give what both gave."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mmdet_lite.models.backbones.folded_norms import conv_norm, fold_norms
from mmdet_lite.models.backbones.resnet import ResNet


def _pair(in_channels: int = 3, channels: int = 4, **kwargs) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False, **kwargs)
    norm = nn.BatchNorm2d(channels).eval()
    for values in (norm.weight.data, norm.running_var):
        values.uniform_(0.5, 2)
    norm.bias.data.normal_()
    norm.running_mean.normal_()
    return conv, norm


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def _chain(pairs, folded, x):
    for pair, of_pair in zip(pairs, folded, strict=True):
        x = conv_norm(pair, of_pair, x)
    return x


def test_values_and_gradients_are_those_of_the_norm():
    pairs = [_pair(), _pair(4, 6, stride=2), _pair(6, 6, groups=2)]
    plain = copy.deepcopy(pairs)
    x = torch.randn(2, 3, 8, 8)
    out = _chain(pairs, fold_norms(pairs, [64] * len(pairs)), x)
    expected = _chain(plain, [None] * 3, x)
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn_like(out)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    for (conv, norm), (plain_conv, plain_norm) in zip(pairs, plain, strict=True):
        for ours, theirs in (
            (conv.weight, plain_conv.weight),
            (norm.weight, plain_norm.weight),
            (norm.bias, plain_norm.bias),
        ):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


def test_gradients_are_right_by_finite_differences():
    pairs = [tuple(module.double() for module in _pair(2, 2))]
    conv, norm = pairs[0]

    x = torch.randn(1, 2, 3, 3, dtype=torch.float64)

    def out(*_):
        return conv_norm(pairs[0], fold_norms(pairs, [64] * len(pairs))[0], x)

    parameters = (conv.weight, norm.weight, norm.bias)
    assert torch.autograd.gradcheck(out, parameters, check_undefined_grad=False)


def test_only_what_is_trained_gets_a_gradient():
    pairs = [_pair(), _pair(4, 4), _pair(4, 4)]
    for module in pairs[0]:
        module.requires_grad_(False)
    pairs[1][1].requires_grad_(False)
    folded = fold_norms(pairs, [64] * len(pairs))
    assert [w.requires_grad for w, _ in folded] == [False, True, True]
    _chain(pairs, folded, torch.randn(1, 3, 4, 4)).sum().backward()
    has_gradient = [[p.grad is not None for m in pair for p in m.parameters()] for pair in pairs]
    assert has_gradient == [[False] * 3, [True, False, False], [True] * 3]


def test_a_pair_that_is_not_used_gets_none():
    pairs = [_pair(), _pair(4, 4)]
    conv_norm(
        pairs[0], fold_norms(pairs, [64] * len(pairs))[0], torch.randn(1, 3, 4, 4)
    ).sum().backward()
    assert pairs[0][0].weight.grad is not None and pairs[1][0].weight.grad is None


def test_norms_that_average_the_batch_and_other_layers_stay_apart():
    conv, norm = _pair()
    pairs = [(conv, norm.train()), (conv, nn.GroupNorm(2, 4)), (nn.Conv2d(3, 4, 3), _pair()[1])]
    assert fold_norms(pairs, [64] * len(pairs)) == [None] * 3


def test_what_has_more_weights_than_positions_is_not_folded():
    pairs = [_pair()] * 2  # 3 * 3 * 3 weights an output channel
    first, second = fold_norms(pairs, [27, 26])
    assert first is not None and second is None


def test_nothing_is_folded_without_gradients():
    with torch.no_grad():
        assert fold_norms([_pair()], [64]) == [None]


def test_a_network_folds_what_keeps_its_statistics():
    model = ResNet(18, base_channels=8, frozen_stages=1, norm_eval=True).train()
    plain = copy.deepcopy(model).eval()
    x = torch.randn(2, 3, 128, 128)
    outs = model(x)
    with torch.no_grad():
        expected = plain(x)
    for out, feature in zip(outs, expected, strict=True):
        torch.testing.assert_close(out, feature, rtol=1e-4, atol=1e-5)
    sum(out.sum() for out in outs).backward()
    for name, parameter in model.named_parameters():
        is_frozen = name.startswith(("conv1", "bn1", "layer1"))
        assert (parameter.grad is None) == is_frozen, name
