"""What build() says of values that are not of the type that a signature names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from torch import nn

from mmdet_lite.models.assigners import MaxIoUAssigner
from mmdet_lite.registry import MODELS, build

if TYPE_CHECKING:
    from elsewhere import Unknown

Mode = Literal["log", "linear"]


class Typed:
    """Has an argument of every kind."""

    def __init__(
        self,
        switch: bool = False,
        count: int = 1,
        factor: float = 1.0,
        limit: float | None = None,
        name: str = "",
        mode: Mode = "log",
        sizes: Sequence[int] = (),
        pair: tuple[float, float] = (0.0, 1.0),
        pairs: Sequence[tuple[int, int]] | tuple[int, int] = (),
        part: nn.Module | None = None,
        parts: Sequence[nn.Module] = (),
        assigner: MaxIoUAssigner = "default",
        call: Callable[[int], int] = len,
        settings: dict | None = None,
        anything: Any = None,
        implicit: int = None,
        unhinted=0,
    ):
        self.arguments = dict(locals())


class Unreadable:
    """Its hints exist for type checkers only."""

    def __init__(self, count: int, other: Unknown):
        self.count = count


class Duck:
    """Derives from nothing."""


@pytest.fixture(autouse=True)
def _registered():
    for cls in (Typed, Unreadable, Duck):
        MODELS.register_module(module=cls)
    yield
    for cls in (Typed, Unreadable, Duck):
        MODELS.module_dict.pop(cls.__name__)


L1 = dict(type="L1Loss")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("switch", [True]),
        ("count", [3, np.int64(3)]),
        ("factor", [3, 2.5, np.float32(1), float("inf")]),
        ("limit", [None, 2]),
        ("mode", ["linear"]),
        ("sizes", [[1, 2], (3,), [], np.arange(3), range(2)]),
        ("pair", [[0, 1.5]]),
        ("pairs", [[(1, 2), (3, 4)], (5, 6)]),
        ("part", [None, L1, dict(type="Duck")]),
        ("parts", [[L1, dict(type="Duck")]]),
        ("assigner", [dict(type="Duck"), "default"]),
        ("settings", [None, {}, dict(a=1)]),
        ("anything", ["x", 3, [1]]),
        ("implicit", [None, 3]),
        ("unhinted", ["x", None, {}]),
    ],
)
def test_values_of_the_type_are_taken(name, values):
    for value in values:
        build(dict(type="Typed", **{name: value}), MODELS)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("switch", "false", "True or False: write False, without quotes"),
        ("switch", 1, "True or False"),
        ("switch", None, "True or False"),
        ("count", 2.5, "a whole number"),
        ("count", True, "a whole number"),
        ("count", "3", "a whole number"),
        ("factor", "1.0", "a number"),
        ("factor", False, "a number"),
        ("factor", None, "a number"),
        ("limit", [1], "a number or None"),
        ("name", 3, "text"),
        ("mode", "square", "'log' or 'linear'"),
        ("sizes", 8, "a list of whole numbers"),
        ("sizes", [8, "16"], "a list of whole numbers"),
        ("pair", ["0", 1], "a list of numbers"),
        ("pairs", [[1, 2.5]], "a list of lists of whole numbers or a list of whole numbers"),
        ("part", "L1Loss", "a dict with a 'type' or None: write dict(type='L1Loss', ...)"),
        ("part", dict(loss_weight=1), "a dict with a 'type' or None"),
        ("parts", ["L1Loss"], "a list of dicts with a 'type'"),
        ("parts", [None], "a list of dicts with a 'type'"),
        ("assigner", None, "a dict with a 'type'"),
        ("call", 3, "a dict with a 'type'"),
        ("settings", "x", "a dict or None"),
    ],
)
def test_values_of_other_types_are_named(name, value, expected):
    with pytest.raises(TypeError) as error:
        build(dict(type="Typed", **{name: value}), MODELS)
    assert str(error.value) == f"Typed: {name} is {value!r}, expected {expected}"


def test_all_wrong_values_are_listed():
    with pytest.raises(TypeError, match="Typed: count is 'a', expected .*; factor is 'b', expect"):
        build(dict(type="Typed", count="a", factor="b"), MODELS)


def test_hints_that_cannot_be_read_are_left_alone():
    assert build(dict(type="Unreadable", count="3", other=1), MODELS).count == "3"
