"""Run with: pytest tests/engine/test_schedule.py"""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.engine.schedule import (
    CosineSchedule,
    MultiStepSchedule,
    OneCycleSchedule,
    build_lr_scheduler,
)
from mmdet_lite.registry import SCHEDULES, build


def factors(schedule, steps, total=100, per_epoch=10):
    return [pytest.approx(schedule.factor(step, total, per_epoch)) for step in steps]


def test_milestones_in_epochs_are_where_the_rate_falls():
    schedule = MultiStepSchedule(milestones=[8, 11], gamma=0.1)
    assert factors(schedule, [0, 79, 80, 109, 110]) == [1, 1, 0.1, 0.1, 0.01]


def test_milestones_in_iterations_ignore_the_epoch():
    schedule = MultiStepSchedule(milestones=[8], unit="iter", gamma=0.5)
    assert factors(schedule, [7, 8]) == [1, 0.5]


def test_warm_up_is_linear_from_its_factor_to_one():
    schedule = MultiStepSchedule(milestones=[], warmup_iters=4, warmup_factor=0.2)
    assert factors(schedule, [0, 1, 2, 4, 5]) == [0.2, 0.4, 0.6, 1, 1]


def test_cosine_falls_after_the_warm_up():
    schedule = CosineSchedule(final_factor=0.1, warmup_iters=20, warmup_factor=0.0)
    assert factors(schedule, [0, 10, 20, 60, 100, 120]) == [0, 0.5, 1, 0.55, 0.1, 0.1]


@pytest.mark.parametrize(("shape", "quarter"), [("linear", 0.25), ("cosine", 0.14644661)])
def test_one_cycle_goes_up_and_down(shape, quarter):
    schedule = OneCycleSchedule(warmup_share=0.2, initial_factor=0, final_factor=0, shape=shape)
    assert factors(schedule, [0, 5, 10, 20, 60, 80, 100]) == [0, quarter, 0.5, 1, 0.5, quarter, 0]


def test_accumulation_does_not_stretch_the_schedule():
    """Optimizer step 2 of groups of 4 batches is iteration 8."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = MultiStepSchedule(milestones=[8], unit="iter")
    scheduler = build_lr_scheduler(schedule, optimizer, 100, 10, accumulate=4)
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == [2.0, 2.0, pytest.approx(0.2)]


def test_schedules_are_built_from_configs():
    cfg = {"type": "MultiStepSchedule", "milestones": [8, 11], "warmup_iters": 500}
    assert build(cfg, SCHEDULES) == MultiStepSchedule([8, 11], warmup_iters=500)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiStepSchedule([1], unit="epochs"), "unit is 'epochs', not 'epoch' or 'iter'"),
        (lambda: CosineSchedule(warmup_factor=2.0), "warmup_factor is 2.0, not in 0..1"),
        (lambda: CosineSchedule(warmup_iters=-1), "warmup_iters is -1, expected 0 or more"),
        (lambda: OneCycleSchedule(shape="exp"), "shape is 'exp', not 'cosine' or 'linear'"),
        (lambda: OneCycleSchedule(warmup_share=30), "warmup_share is 30, not in 0..1"),
    ],
)
def test_wrong_settings_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()
