"""Encoding and decoding of boxes."""

from __future__ import annotations

import pytest
from reference import Arrays, close, close_boxes

from mmdet_lite.models.coders import DeltaXYWHBBoxCoder

REF = Arrays("box_coder")
CODERS = {
    "std1": {},
    "std01": dict(target_stds=(0.1, 0.1, 0.2, 0.2)),
    "means_nonzero": dict(target_means=(0.05, -0.05, 0.1, 0.2), target_stds=(0.1, 0.1, 0.2, 0.2)),
}


def _coder(name: str) -> DeltaXYWHBBoxCoder:
    return DeltaXYWHBBoxCoder(max_ratio=1 / float(REF["wh_ratio_clip"]), **CODERS[name])


@pytest.mark.parametrize("name", CODERS)
def test_encode_equals_the_reference(name):
    close(_coder(name).encode(REF["rois"], REF["gts"]), REF[f"{name}_encode"])


@pytest.mark.parametrize("name", CODERS)
def test_decode_equals_the_reference(name):
    coder, rois, deltas = _coder(name), REF["rois"][None], REF["deltas"][None]
    clipped = coder.decode(rois, deltas, REF["max_shape"][None])
    close_boxes(clipped[0], REF[f"{name}_decode_clip"])
    if f"{name}_decode_noclip" in REF:
        close_boxes(coder.decode(rois, deltas)[0], REF[f"{name}_decode_noclip"])


@pytest.mark.parametrize("name", ["std1", "std01"])
def test_decode_of_class_specific_deltas_equals_the_reference(name):
    deltas = REF["cls_deltas"].reshape(1, len(REF["rois"]), -1, 4)
    boxes = _coder(name).decode(REF["rois"][None, :, None], deltas, REF["max_shape"][None])
    close_boxes(boxes[0].flatten(1), REF[f"{name}_decode_cls_clip"])
