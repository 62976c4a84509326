"""Run with: pytest tests/engine/test_schedule.py"""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.engine.optimizer import build_optimizer
from mmdet_lite.engine.schedule import (
    CosineSchedule,
    GroupWarmup,
    LinearSchedule,
    MomentumScheduler,
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


def test_linear_falls_in_a_line_after_the_warm_up():
    schedule = LinearSchedule(final_factor=0.1, warmup_iters=20, warmup_factor=0.0)
    assert factors(schedule, [0, 10, 20, 60, 100, 120]) == [0, 0.5, 1, 0.55, 0.1, 0.1]
    assert factors(LinearSchedule(0.01), [0, 50, 100]) == [1, 0.505, 0.01]


def test_groups_warm_up_to_the_schedule_that_has_begun_to_fall():
    schedule = GroupWarmup(LinearSchedule(0.0), warmup_epochs=2, warmup_iters=5)  # 20 iterations
    assert factors(schedule, [0, 10, 20, 60]) == [0, 0.45, 0.8, 0.4]
    biases = [schedule.bias_factor(step, 100, 10) for step in (0, 10, 20, 60)]
    assert biases == [10, pytest.approx(10 + (0.9 - 10) / 2), pytest.approx(0.8), 0.4]
    momenta = [schedule.momentum(step, 10, 0.937) for step in (0, 10, 20, 60)]
    assert momenta == [0.8, pytest.approx(0.8685), 0.937, 0.937]


@pytest.mark.parametrize(("epochs", "iterations", "length"), [(3, 7, 30), (0.5, 7, 7)])
def test_the_longer_warm_up_counts(epochs, iterations, length):
    schedule = GroupWarmup(LinearSchedule(1.0), epochs, iterations)
    shares = [schedule.factor(step, 100, 10) for step in range(40)]
    assert shares == pytest.approx([min(step / length, 1) for step in range(40)])


def test_a_warm_up_may_be_left_out():
    assert factors(GroupWarmup(LinearSchedule(1.0), 0, 0), [0, 1]) == [1, 1]


def sgd_with_biases(**param_groups):
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1))
    rules = {"norm_decay": 0.0, "bias_decay": 0.0, **param_groups}
    cfg = {"type": "SGD", "lr": 0.01, "momentum": 0.937, "weight_decay": 0.1}
    return build_optimizer(cfg, model, rules)


def test_biases_and_momentum_follow_their_own_warm_up():
    optimizer = sgd_with_biases(split_biases=True)
    schedule = GroupWarmup(LinearSchedule(1.0), warmup_epochs=1, warmup_iters=0)  # 10 iterations
    scheduler = build_lr_scheduler(schedule, optimizer, 100, 10, accumulate=5)
    momentum = MomentumScheduler(schedule, optimizer, 10, accumulate=5)
    seen = []
    for _ in range(4):
        by_name = {n: g["lr"] for g in optimizer.param_groups for n in g["param_names"]}
        seen.append((by_name["0.weight"], by_name["0.bias"], optimizer.param_groups[0]["momentum"]))
        assert by_name["1.weight"] == by_name["0.weight"] and by_name["1.bias"] == by_name["0.bias"]
        assert len({group["momentum"] for group in optimizer.param_groups}) == 1
        optimizer.step()
        scheduler.step()
        momentum.set(scheduler.last_epoch)
    expected = [(0, 0.1, 0.8), (0.005, 0.055, 0.8685), (0.01, 0.01, 0.937), (0.01, 0.01, 0.937)]
    assert seen == [pytest.approx(values) for values in expected]


def test_biases_in_a_group_with_others_are_told():
    optimizer = sgd_with_biases()
    with pytest.raises(ValueError, match="set param_groups.split_biases=True"):
        build_lr_scheduler(GroupWarmup(LinearSchedule()), optimizer, 100, 10, accumulate=1)


def test_a_warm_up_of_momentum_needs_momentum():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    with pytest.raises(ValueError, match="warmup_momentum is 0.8, but the optimizer has no momen"):
        MomentumScheduler(GroupWarmup(LinearSchedule()), optimizer, 10, 1)
    MomentumScheduler(GroupWarmup(LinearSchedule(), warmup_momentum=None), optimizer, 10, 1)
    MomentumScheduler(LinearSchedule(), optimizer, 10, 1)
    assert "initial_momentum" not in optimizer.param_groups[0]


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
    cfg = {"type": "GroupWarmup", "schedule": {"type": "LinearSchedule", "final_factor": 0.01}}
    assert build(cfg, SCHEDULES) == GroupWarmup(LinearSchedule(0.01))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MultiStepSchedule([1], unit="epochs"), "unit is 'epochs', not 'epoch' or 'iter'"),
        (lambda: CosineSchedule(warmup_factor=2.0), "warmup_factor is 2.0, not in 0..1"),
        (lambda: CosineSchedule(warmup_iters=-1), "warmup_iters is -1, expected 0 or more"),
        (
            lambda: LinearSchedule(warmup_factor=-1),
            "LinearSchedule: warmup_factor is -1, not in 0..",
        ),
        (lambda: GroupWarmup(None, -1), "GroupWarmup: warmup_epochs is -1, expected 0 or more"),
        (lambda: GroupWarmup(None, warmup_iters=-1), "warmup_iters is -1, expected 0 or more"),
        (lambda: GroupWarmup(None, warmup_bias_factor=-1), "warmup_bias_factor is -1, expected"),
        (lambda: GroupWarmup(None, warmup_momentum=1), "warmup_momentum is 1, not in 0..1"),
        (lambda: OneCycleSchedule(shape="exp"), "shape is 'exp', not 'cosine' or 'linear'"),
        (lambda: OneCycleSchedule(warmup_share=30), "warmup_share is 30, not in 0..1"),
        (lambda: OneCycleSchedule(initial_factor=-1), "initial_factor must be 0 or above, got -1"),
        (lambda: LinearSchedule(final_factor=-1), "final_factor must be 0 or above, got -1"),
        (lambda: MultiStepSchedule([8], gamma=-1), "gamma must be 0 or above, got -1"),
        (lambda: MultiStepSchedule([8, -1]), r"milestones\[1\] must be above 0, got -1"),
    ],
)
def test_wrong_settings_are_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()
