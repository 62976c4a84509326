"""Run with: pytest tests/engine/test_settings.py"""

from __future__ import annotations

import re

import pytest

from mmdet_lite.engine.settings import TrainSettings


def test_all_problems_are_listed_at_once():
    with pytest.raises(ValueError) as error:
        TrainSettings(
            max_epochs=12,
            max_iters=100,
            accumulate=0,
            clip_grad_norm=-1.0,
            precision="half",
            ema={"decya": 0.9},
        )
    for problem in (
        "accumulate is 0, expected more than 0",
        "clip_grad_norm is -1.0, expected more than 0",
        "exactly one of max_epochs and max_iters must be set, they are 12 and 100",
        "precision is 'half', expected 'float32', 'bf16', 'fp16'",
        "ema has ['decya'], expected only 'decay' and 'ramp_up'",
    ):
        assert problem in str(error.value)


def test_a_length_is_needed():
    with pytest.raises(ValueError, match="exactly one of max_epochs and max_iters"):
        TrainSettings()


@pytest.mark.parametrize(
    ("given", "validation", "checkpoint"),
    [
        ({"max_epochs": 12}, 1, 1),
        ({"max_epochs": 12, "val_interval": 3}, 3, 3),
        ({"max_iters": 500}, 500, 500),
        ({"max_iters": 500, "checkpoint_interval": 50}, 500, 50),
    ],
)
def test_intervals_default_to_an_epoch_or_the_end(given, validation, checkpoint):
    settings = TrainSettings(**given)
    assert (settings.val_interval, settings.checkpoint_interval) == (validation, checkpoint)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_iters": "abc"}, "max_iters is 'abc', expected a whole number"),
        ({"max_iters": 5.5}, "max_iters is 5.5, expected a whole number"),
        ({"max_iters": True}, "max_iters is True, expected a whole number"),
        ({"max_iters": 5, "clip_grad_norm": "abc"}, "clip_grad_norm is 'abc', expected a number"),
        ({"max_iters": 5, "channels_last": "no"}, "channels_last is 'no', expected True or False"),
        ({"max_iters": 5, "ema": 0.99}, "ema is 0.99, expected dict"),
    ],
)
def test_values_of_another_type_are_told(settings, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        TrainSettings(**settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"compile": True}, "compile is True, expected None, 'default', 'reduce-overhead'"),
        ({"compile": "max"}, "compile is 'max', expected None, 'default', 'reduce-overhead'"),
        (
            {"compile": "reduce-overhead", "accumulate": 2},
            "which cannot add up gradients, and accumulate is 2: use compile='default'",
        ),
    ],
)
def test_what_cannot_be_compiled_so_is_told(settings, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        TrainSettings(max_iters=5, **settings)
