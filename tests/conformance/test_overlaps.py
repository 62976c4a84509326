"""Pairwise and aligned IoU, IoF and GIoU."""

from __future__ import annotations

import pytest
from reference import Arrays, close

from mmdet_lite.structures import boxes as box_ops

REF = Arrays("overlaps")


@pytest.mark.parametrize("kind", ["iou", "iof", "giou"])
def test_overlaps_equal_the_reference(kind):
    boxes1, boxes2 = REF["boxes1"], REF["boxes2"]
    close(getattr(box_ops, f"pairwise_{kind}")(boxes1, boxes2), REF[kind])
    aligned = getattr(box_ops, f"aligned_{kind}")(boxes1, boxes2[: len(boxes1)])
    close(aligned, REF[f"{kind}_aligned"])
