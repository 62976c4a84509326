"""Run with: pytest tests/engine/test_progress.py"""

from __future__ import annotations

import math

import pytest
import torch

from mmdet_lite.engine.progress import Progress, total_loss


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def run(progress: Progress, *steps: dict[str, torch.Tensor]) -> None:
    for iteration, step in enumerate(steps):
        progress.flush()
        progress.push(step, iteration, [10 * iteration, 10 * iteration + 1])


def test_averages_are_over_the_steps_that_gave_a_value():
    progress = Progress()
    run(progress, scalars(loss=1.0), scalars(loss=2.0, grad_norm=5.0))
    progress.add_time(2.0, 0.5)
    progress.add_time(2.0, 0.5)
    averages = progress.take()
    assert (averages["loss"], averages["grad_norm"]) == (1.5, 5.0)
    assert averages["time"] == pytest.approx(2.0, abs=0.01)
    assert averages["data_time_share"] == pytest.approx(0.25, abs=0.01)
    run(progress, scalars(loss=7.0))
    assert progress.take()["loss"] == 7.0, "the interval starts anew"


def test_a_bad_step_is_told_with_all_losses_the_iteration_and_the_images():
    progress = Progress()
    with pytest.raises(FloatingPointError) as error:
        run(progress, scalars(loss=0.5), scalars(loss_cls=math.nan, loss_box=0.25), scalars())
    assert str(error.value).startswith(
        "loss_cls not finite at iteration 1 (counted from 0): loss_cls nan, loss_box 0.25; "
        "image ids 10, 11."
    )


def test_a_gradient_that_is_not_finite_stops_the_run_unless_the_scaler_skips_it():
    step = scalars(loss=1.0, grad_norm=math.inf)
    progress = Progress()
    run(progress, step)
    with pytest.raises(FloatingPointError, match="grad_norm not finite"):
        progress.flush()
    progress = Progress(skips_overflow=True)
    run(progress, step, scalars(loss=1.0, grad_norm=3.0))
    averages = progress.take()
    assert (averages["skipped_steps"], averages["grad_norm"]) == (1, 3.0)


def test_what_is_only_logged_may_be_anything():
    progress = Progress()
    run(progress, scalars(loss=1.0, acc=math.nan))
    assert math.isnan(progress.take()["acc"])


def test_a_resumed_interval_continues_its_averages():
    progress, resumed = Progress(), Progress()
    run(progress, scalars(loss=1.0))
    progress.flush()
    resumed.load_state_dict(progress.state_dict())
    run(resumed, scalars(loss=4.0))
    assert resumed.take()["loss"] == 2.5


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
