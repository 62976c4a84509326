"""Numbers that must lie in a range: what a constructor says of those that do not."""

from __future__ import annotations

from collections.abc import Callable


def check_shares(owner: object | str, **values: float) -> None:
    """Numbers from 0 to 1: overlaps, scores, probabilities.

    Args:
        owner: whose arguments they are: an object, whose class the message names, or a name.
        **values: by the arguments' names.

    Raises:
        ValueError: one is outside.
    """
    _check(owner, values, lambda value: 0 <= value <= 1, "between 0 and 1")


def check_positive(owner: object | str, **values: float) -> None:
    """Numbers above 0; arguments as those of :func:`check_shares`."""
    _check(owner, values, lambda value: value > 0, "above 0")


def check_not_negative(owner: object | str, **values: float) -> None:
    """Numbers from 0 on; arguments as those of :func:`check_shares`."""
    _check(owner, values, lambda value: value >= 0, "0 or above")


def _check(
    owner: object | str, values: dict[str, float], fits: Callable[[float], bool], words: str
) -> None:
    whose = owner if isinstance(owner, str) else type(owner).__name__
    for name, value in values.items():
        if not fits(value):
            raise ValueError(f"{whose}: {name} must be {words}, got {value!r}")
