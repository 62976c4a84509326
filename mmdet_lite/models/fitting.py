"""Whether the parts of a head fit it: its losses, its assigner, its coder.

Every part of ours says by ``works_on``, some words for people, what it works on; a head says which
of these it gives. So a part of a user's own that derives from one of ours fits where that one does.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmdet_lite.registry import MODELS

# Losses on what a one-stage head predicts for each class. The first is called element by element
# and divided by what the head says; a ranking has a scale of its own.
CLASS_SCORES, CLASS_RANKING = "the scores of classes", "the ranking of all classes' scores"
SINGLE_SCORES = "a single score"
CLASS_LABELS = "one class out of all and the background"
BOXES, DELTAS = "boxes", "box deltas"
DISTRIBUTIONS = "distributions of distances"
MASKS = "masks"

# Assigners.
OVERLAPS = "the overlaps of priors"
INCLUSIVE_OVERLAPS = "the overlaps of inclusive anchors (AnchorGenerator, inclusive=True)"
POINTS = "points"
PREDICTIONS = "the predictions of the step"
SHAPES = "the shapes of several anchors a cell"

# Coders.
FROM_ANCHORS, FROM_POINTS = "offsets from anchors", "distances from points"


def check_fit(
    owner: object, argument: str, part: object, kinds: Sequence[str], remedy: str = ""
) -> None:
    """Refuse a part of ours that works on something else than the head has for it.

    A part of a user's own that says nothing of what it works on is taken.

    Args:
        owner: the head; the message names its class.
        argument: the part's name among its arguments.
        part: the part.
        kinds: what the head has, of the constants above.
        remedy: what else can be done about it than to take another part.

    Raises:
        ValueError: the part does not fit; the message names those that do.
    """
    works_on = getattr(part, "works_on", None)
    is_ours = type(part).__module__.startswith("mmdet_lite.")
    if works_on in kinds or (works_on is None and not is_ours):
        return
    does = "is no such part" if works_on is None else f"works on {works_on}"
    fitting = [n for n, c in MODELS.module_dict.items() if getattr(c, "works_on", None) in kinds]
    raise ValueError(
        f"{type(owner).__name__}: {argument}={type(part).__name__} {does}, but this head needs one "
        f"for {' or '.join(kinds)}: {', '.join(sorted(fitting))}"
        + (f"; or {remedy}" if remedy else "")
    )
