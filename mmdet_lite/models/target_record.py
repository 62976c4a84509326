"""What the target functions decided, kept for whoever wants to look at it.

Letters: B images, A priors over all levels or RoIs of an image.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from mmdet_lite.models.priors.anchor_generator import Priors

if TYPE_CHECKING:
    from mmdet_lite.models.targets import BoxTargets, DenseTargets, EntryTargets

_open_records: list[list[Decision]] = []


@dataclass
class Decision:
    """One call of a target function: what it was asked about, and its answer.

    Attributes:
        targets: the answer, the very object that the head got.
        assigner: who decided.
        boxes: (A, 4) priors, or (B, A, 4) RoIs, ground truths that joined them included.
        ids: (A,) or (B, A) identity of each.
        assigned_gt: (B, A) int64 before the sampling: index into the ground truths, NEGATIVE or
            IGNORE; None where a prior may learn several (:class:`EntryTargets`).
        priors: of a dense head; None where RoIs were matched.
        predicted: (B, A, 4) boxes that a dense head predicts; None where it does not tell.
    """

    targets: BoxTargets | DenseTargets | EntryTargets
    assigner: object
    boxes: Tensor
    ids: Tensor
    assigned_gt: Tensor | None
    priors: Priors | None = None
    predicted: Tensor | None = None


@contextmanager
def recorded_decisions() -> Iterator[list[Decision]]:
    """Keep what the target functions decide, in their order, while this is open."""
    _open_records.append([])
    try:
        yield _open_records[-1]
    finally:
        _open_records.pop()


def is_recording() -> bool:
    """Whether anybody wants to know."""
    return bool(_open_records)


def record(decision: Decision) -> None:
    """Add a decision to all open records."""
    for one in _open_records:
        one.append(decision)
