"""Run with: pytest tests/engine/test_ema.py"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from mmdet_lite.engine.ema import ExponentialMovingAverage


def test_weights_and_buffers_follow_with_the_ramped_decay():
    model = nn.BatchNorm1d(1)
    ema = ExponentialMovingAverage(model, decay=0.9, ramp_up=2)
    expected = 1.0
    for update, value in [(1, 5.0), (2, 3.0)]:
        nn.init.constant_(model.weight, value)
        model.running_mean.fill_(value)
        model.num_batches_tracked += 1
        ema.update_parameters(model)
        decay = 0.9 * (1 - math.exp(-update / 2))
        expected = decay * expected + (1 - decay) * value
    assert ema.module.weight.item() == pytest.approx(expected)
    assert ema.module.running_mean.item() != 0
    assert ema.module.num_batches_tracked.item() == 2, "counters are copied, not averaged"


def test_without_ramp_the_decay_is_constant():
    ema = ExponentialMovingAverage(nn.Linear(1, 1), decay=0.5, ramp_up=0)
    assert ema.decay_at(1) == 0.5


def test_the_model_itself_is_left_alone():
    model = nn.Linear(1, 1)
    ema = ExponentialMovingAverage(model)
    ema.module.weight.data.fill_(7.0)
    assert model.weight.item() != 7.0
    assert model.training


def test_state_includes_the_number_of_updates():
    model = nn.Linear(1, 1)
    ema = ExponentialMovingAverage(model, ramp_up=5)
    for _ in range(3):
        ema.update_parameters(model)
    other = ExponentialMovingAverage(nn.Linear(1, 1), ramp_up=5)
    other.load_state_dict(ema.state_dict())
    assert int(other.n_averaged) == 3
    assert torch.equal(other.module.weight, model.weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decay": 1.0}, "decay is 1.0, expected 0 <= decay < 1"),
        ({"ramp_up": -1}, "ramp_up is -1, expected 0 or more"),
    ],
)
def test_wrong_settings_are_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        ExponentialMovingAverage(nn.Linear(1, 1), **arguments)
