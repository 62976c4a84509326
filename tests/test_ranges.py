"""Numbers out of their range are named."""

from __future__ import annotations

import math

import pytest

from mmdet_lite.ranges import check_not_negative, check_positive, check_shares


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
