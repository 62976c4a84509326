"""Layers that are frozen or thawed between steps (several processes: tests/faults)."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

from mmdet_lite.engine.parallel import ParallelModel


@pytest.fixture
def model():
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1))


def backward(model):
    model(torch.randn(4, 2)).sum().backward()


def test_a_layer_that_is_frozen_between_two_batches_of_an_update_stays_as_it_is(model):
    parallel = ParallelModel(model)
    backward(model)
    model[0].requires_grad_(False)
    parallel.settle(lambda: pytest.fail("one process has nothing to settle"))
    assert model[0].weight.grad is None
    assert model[2].weight.grad is not None


def test_gradients_stay_while_nothing_is_frozen(model):
    parallel = ParallelModel(model)
    backward(model)
    before = model[0].weight.grad.clone()
    parallel.settle(lambda: pytest.fail("one process has nothing to settle"))
    assert torch.equal(model[0].weight.grad, before)


def test_the_step_that_settles_leaves_no_trace(model, monkeypatch):
    monkeypatch.setattr("mmdet_lite.engine.parallel.world_size", lambda: 2)
    parallel = ParallelModel(model)
    backward(model)
    gradients = [p.grad.clone() for p in model.parameters()]
    mean = model[1].running_mean.clone()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    steps = []

    def step():
        backward(model)
        steps.append((random.random(), np.random.rand()))

    parallel.settle(step)
    parallel.settle(step)
    assert len(steps) == 1
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), gradients, strict=True))
    assert torch.equal(model[1].running_mean, mean)
    after = torch.rand(1)
    assert torch.equal(after, torch.manual_seed(0) and torch.rand(1))
    assert (random.random(), np.random.rand()) == steps[0]
