"""Whether a file's boxes look like [center x, center y, width, height], by all of them together.

Letters: n boxes, m of them with a mask that tells.
"""

from __future__ import annotations

import numpy as np

from mmdet_lite.data.coco_columns import Annotations
from mmdet_lite.data.problems import Problems, show
from mmdet_lite.data.segmentation_checks import check_segmentations

_SAMPLED = 500  # annotations whose masks are looked at
_FEWEST_MASKS, _SHARE_OF_MASKS = 3, 0.8
_OFF, _OFF_SHARE = 1.5, 0.05  # pixels, and a share of the longer side, that a mask may be off
_FEWEST_OUT, _SHARE_OUT = 5, 0.05
_OUT = 0.1  # of the box's side: how far out of the image a box must reach to count
_SHARE_FITTING = 0.98
_SLACK = 1.0  # pixels


def center_evidence(annotations: Annotations, sizes: np.ndarray) -> str | None:
    """What speaks for centres: masks if there are some, else boxes at the sides of the images.

    Boxes alone tell where some reach out at the right or the bottom, as a centre plus a whole width
    does, while none comes as near to the left and the top as a corner does.

    Args:
        annotations: n of them.
        sizes: (n, 2) (height, width) of each one's image.

    Returns:
        What was found; None if it is not enough.
    """
    rows, extents = _sampled_extents(annotations, sizes)
    boxes = annotations.boxes[rows]
    starts, ends = np.split(extents, 2, axis=1)
    allowed = np.maximum(_OFF, _OFF_SHARE * boxes[:, 2:].max(axis=1, keepdims=True))
    is_of_box = (np.abs(ends - starts - boxes[:, 2:]) <= allowed).all(axis=1)
    tells = is_of_box & (boxes[:, 2:] > 4 * allowed).all(axis=1)
    if tells.sum() < _FEWEST_MASKS:
        return _evidence_of_boxes(annotations, sizes)
    is_center = tells & (np.abs((starts + ends) / 2 - boxes[:, :2]) <= allowed).all(axis=1)
    if is_center.sum() < _SHARE_OF_MASKS * tells.sum():
        return None
    place = int(is_center.argmax())
    mask = [round(value, 2) for value in (*starts[place], *(ends - starts)[place])]
    return (
        f"{is_center.sum()} of {tells.sum()} masks that were looked at have their centre where the "
        f"box begins: {_example(annotations, int(rows[place]))}, and its mask is "
        f"[x, y, width, height] = {[float(value) for value in mask]}"
    )


def _sampled_extents(annotations: Annotations, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of some annotations that have a sound mask, and (m, 4) xyxy extents of these."""
    rows = np.unique(np.linspace(0, len(annotations) - 1, _SAMPLED).astype(np.int64).clip(min=0))
    rows = rows[: len(annotations)]
    some, quiet = annotations.select(rows), Problems("")
    masks, has_mask = check_segmentations(some, sizes[rows], None, quiet)
    return rows[has_mask], masks.extents()[has_mask]


def _evidence_of_boxes(annotations: Annotations, sizes: np.ndarray) -> str | None:
    limits = np.flip(sizes, 1)
    start, extent = np.split(annotations.boxes, 2, axis=1)
    is_out = (start + extent - limits > np.maximum(_SLACK, _OUT * extent)).any(axis=1)
    if is_out.sum() < max(_FEWEST_OUT, _SHARE_OUT * len(annotations)):
        return None
    first, last = start - extent / 2, start + extent / 2
    fits = ((extent > 0) & (first >= -_SLACK) & (last <= limits + _SLACK)).all(axis=1)
    if fits.mean() < _SHARE_FITTING:
        return None
    row = int((is_out & fits).argmax())
    return (
        f"{is_out.sum()} of {len(annotations)} boxes reach out of their image at the right or the "
        f"bottom, and {fits.sum()} fit into it as [center x, center y, width, height]: "
        f"{_example(annotations, row)} in an image {sizes[row, 1]} wide and {sizes[row, 0]} high"
    )


def _example(annotations: Annotations, row: int) -> str:
    return f"{annotations.name(row)} has {show(annotations.records[row]['bbox'])}"
