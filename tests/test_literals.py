"""Literals are read, and nothing is run."""

from __future__ import annotations

import math

import pytest

from mmdet_lite.literals import read_assignments, read_literal


def test_literals_dict_calls_and_infinity_are_read():
    text = "dict(a=[1, -2.5, (3,)], b={'c': None, 4: True}, d=(-inf, inf), e='x')"
    assert read_literal(text) == {
        "a": [1, -2.5, (3,)],
        "b": {"c": None, 4: True},
        "d": (-math.inf, math.inf),
        "e": "x",
    }
    assert math.isnan(read_literal("nan"))


@pytest.mark.parametrize("text", ["f()", "dict([1])", "dict(**a)", "{**a}", "a", "[x for x in y]"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError):
        read_literal(text)


def test_assignments_are_read():
    assert read_assignments("a = 1\nb = dict(c=[2])\n") == {"a": 1, "b": {"c": [2]}}


@pytest.mark.parametrize("line", ["import os", "a.b = 1", "a = b = 1", "c = open('x')", "a += 1"])
def test_programs_are_refused_with_their_line(line):
    with pytest.raises(ValueError, match=r"line 2 is not NAME = LITERAL"):
        read_assignments(f"a = 1\n{line}\n")
