"""How a head's tensors are laid out by class, so that weights can be matched to other classes."""

from __future__ import annotations

from typing import NamedTuple


class ClassRows(NamedTuple):
    """A tensor of ``groups`` blocks, each with ``rows`` rows a class, class after class.

    Attributes:
        rows: rows a class.
        has_background: whether the background's rows follow those of the classes.
        groups: how often all that is repeated (the anchors of a dense head).
        shared: rows before the classes of each group that belong to none (boxes, objectness).
    """

    rows: int
    has_background: bool = False
    groups: int = 1
    shared: int = 0
