"""Numbers out of their range are named."""

from __future__ import annotations

import math

import pytest

from mmdet_lite.engine.optimizer import ParamGroupRules
from mmdet_lite.ranges import check_not_negative, check_positive, check_shares
from mmdet_lite.registry import METRICS, MODELS, OPTIMIZERS, TRANSFORMS, build


class Owner:
    """Has numbers."""


@pytest.mark.parametrize(
    ("check", "good", "bad", "words"),
    [
        (check_shares, (0, 0.5, 1), (-0.1, 1.1, math.nan), "between 0 and 1"),
        (check_positive, (1, 1e-9), (0, -1, math.nan), "above 0"),
        (check_not_negative, (0, 3.5), (-1, -1e-9, math.nan), "0 or above"),
    ],
)
def test_values_outside_are_named(check, good, bad, words):
    for value in good:
        check(Owner(), first=value, second=value)
    for value in bad:
        with pytest.raises(ValueError, match=f"Owner: second must be {words}, got {value!r}"):
            check(Owner(), first=good[0], second=value)


def test_the_owner_may_be_a_name():
    with pytest.raises(ValueError, match="^config: optimizer.lr must be above 0, got 0$"):
        check_positive("config", **{"optimizer.lr": 0})


@pytest.mark.parametrize(
    ("cfg", "registry", "message"),
    [
        (dict(type="RandomSampler", num=0, pos_fraction=0.5), MODELS, "num must be above 0, got 0"),
        (dict(type="RandomSampler", num=8, pos_fraction=2), MODELS, "pos_fraction must be between"),
        (dict(type="SmoothL1Loss", beta=-1), MODELS, "beta must be 0 or above, got -1"),
        (
            dict(type="FPN", in_channels=[4], out_channels=0, num_outs=1),
            MODELS,
            "out_channels must",
        ),
        (
            dict(type="AnchorGenerator", strides=[4, 0], ratios=[1], scales=[8]),
            MODELS,
            r"AnchorGenerator: strides\[1\] must be above 0, got 0",
        ),
        (
            dict(type="AnchorGenerator", strides=[4], ratios=[0], scales=[8]),
            MODELS,
            r"ratios\[0\] must be above 0, got 0",
        ),
        (dict(type="Pad", size_divisor=0), TRANSFORMS, "Pad: size_divisor must be above 0, got 0"),
        (dict(type="CocoMetric", max_detections=[0, 9]), METRICS, r"max_detections\[0\] must be"),
        (
            dict(type=ParamGroupRules, bias_lr=-1),
            OPTIMIZERS,
            "param_groups.bias_lr must be",
        ),
    ],
)
def test_numbers_of_configs_that_make_no_sense_are_refused(cfg, registry, message):
    with pytest.raises(ValueError, match=message):
        build(cfg, registry)
