"""Run with: pytest tests/engine/test_progress.py"""

from __future__ import annotations

import math

import pytest
import torch

from mmdet_lite.engine.progress import HostCopy, Progress, total_loss


def run(progress: Progress, *steps: dict[str, float]) -> None:
    for step in steps:
        progress.add(step)


def test_averages_are_over_the_steps_that_gave_a_value():
    progress = Progress()
    run(progress, {"loss": 1.0}, {"loss": 2.0, "grad_norm": 5.0})
    progress.add_time(2.0, 0.5)
    progress.add_time(2.0, 0.5)
    averages = progress.take()
    assert averages == {"loss": 1.5, "grad_norm": 5.0, "time": 2.0, "data_time_share": 0.25}
    run(progress, {"loss": 7.0})
    assert progress.take()["loss"] == 7.0, "the interval starts anew"


def test_a_resumed_interval_continues_its_averages():
    progress, resumed = Progress(), Progress()
    run(progress, {"loss": 1.0})
    resumed.load_state_dict(progress.state_dict())
    run(resumed, {"loss": 4.0})
    assert resumed.take()["loss"] == 2.5


def test_the_interval_can_be_looked_at_before_it_ends():
    progress = Progress()
    assert math.isnan(progress.average("loss"))
    for seconds, loss in ((1.0, 2.0), (2.0, 4.0)):
        progress.add({"loss": loss})
        progress.add_time(seconds, 0.0)
    assert progress.average("loss") == 3.0
    assert math.isclose(progress.pace, 1.1), "the last iteration counts for a tenth"


def test_scalars_come_to_the_host_as_floats():
    copy = HostCopy({"a": torch.tensor(1.5, requires_grad=True), "b": torch.tensor(2)})
    assert copy.read() == {"a": 1.5, "b": 2.0}


def test_only_losses_are_summed_and_in_float32():
    losses = {
        "loss_cls": torch.tensor(1.0, dtype=torch.bfloat16),
        "aux_loss": torch.tensor(2.0**-10),
        "acc": torch.tensor(90.0),
    }
    assert total_loss(losses).item() == 1.0 + 2.0**-10


def test_anything_else_than_scalars_is_listed():
    with pytest.raises(TypeError, match=r"loss_a is \(2,\); loss_b is float"):
        total_loss({"loss_a": torch.zeros(2), "loss_b": 0.5, "loss_c": torch.zeros(())})
    with pytest.raises(ValueError, match="no name contains 'loss' among acc"):
        total_loss({"acc": torch.zeros(())})
