"""Whether a file's boxes look like another format than COCO's, by all of them together.

Letters: n boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmdet_lite.data.box_centers import center_evidence
from mmdet_lite.data.coco_columns import Annotations
from mmdet_lite.data.problems import Problems

_FAR = 0.1  # of the image's side: how far out of it a box must reach to count
_FEWEST_FAR = 3
_SHARE_FAR = 0.2
_SHARE_FITTING = 0.95
_LARGEST_SHARE = 1.5  # of the image's side: a box that is a share of it has no larger number
_SMALLEST_SIDE = 8  # pixels; of smaller images, numbers this small may be pixels
_SLACK = 1.0  # pixels

_FIX = (
    "Convert them: `mmdet-lite doctor --ann {file} --fix OUT` does. If they are right as they are: "
    "trust_boxes=True in the data set of the config, --trust-boxes for the doctor."
)


@dataclass
class XyxyEvidence:
    """How many boxes reach far out of their image as xywh, and fit into it as xyxy; (n,) bool."""

    is_far: np.ndarray
    fits: np.ndarray


def check_box_format(annotations: Annotations, sizes: np.ndarray, problems: Problems) -> bool:
    """Note it, once for the file, if the boxes look like corners, centres or shares of the image.

    Args:
        annotations: n of them.
        sizes: (n, 2) (height, width) of each one's image.
        problems: where it is noted.

    Returns:
        Whether they look so; other checks of boxes mean nothing then.
    """
    fix = _FIX.format(file=problems.file)
    if looks_normalized(annotations.boxes, sizes):
        found = (
            f"none of the numbers of {len(annotations)} boxes is above {_LARGEST_SHARE:g}: "
            f"{annotations.name(0)} has {annotations.boxes[0].tolist()} in an image "
            f"{sizes[0, 1]} wide and {sizes[0, 0]} high"
        )
        problems.add("error", "box_normalized_suspected", None, found, fix)
        return True
    evidence = xyxy_evidence(annotations.boxes, sizes)
    if not looks_like_xyxy(evidence):
        found = center_evidence(annotations, sizes)
        if found is not None:
            problems.add("error", "box_center_suspected", None, found, fix)
        return found is not None
    row = int(evidence.is_far.argmax())
    found = (
        f"{evidence.is_far.sum()} of {len(annotations)} boxes reach far out of their image, and "
        f"{evidence.fits.sum()} fit into it as [x1, y1, x2, y2]: {annotations.name(row)} has "
        f"{annotations.records[row]['bbox']} in an image {sizes[row, 1]} wide and "
        f"{sizes[row, 0]} high"
    )
    problems.add("error", "box_xyxy_suspected", None, found, fix)
    return True


def looks_normalized(boxes: np.ndarray, sizes: np.ndarray) -> bool:
    """Whether (n, 4) boxes look like shares of images of (n, 2) sizes."""
    if not len(boxes) or np.median(sizes) < _SMALLEST_SIDE:
        return False
    return bool((np.abs(boxes) <= _LARGEST_SHARE).all() and (boxes % 1 != 0).any())


def looks_like_xyxy(evidence: XyxyEvidence) -> bool:
    """Whether so many boxes speak for corners that the file means them."""
    is_far = evidence.is_far
    if is_far.sum() < _FEWEST_FAR:
        return False
    return bool(is_far.mean() >= _SHARE_FAR and evidence.fits.mean() >= _SHARE_FITTING)


def xyxy_evidence(boxes: np.ndarray, sizes: np.ndarray) -> XyxyEvidence:
    """What (n, 4) boxes in images of (n, 2) sizes are as xywh and as xyxy."""
    limits = np.flip(sizes, 1)
    start, other = boxes[:, :2], boxes[:, 2:]
    is_far = (start + other > (1 + _FAR) * limits + _SLACK).any(axis=1)
    fits = (start >= -_SLACK) & (other >= start) & (other <= limits + _SLACK)
    return XyxyEvidence(is_far, fits.all(axis=1))
