"""Anchors, valid flags and the inside test."""

from __future__ import annotations

import pytest
import torch
from reference import Arrays, close_boxes

from mmdet_lite.models.priors import AnchorGenerator

REF = Arrays("anchors")
KINDS = {
    "rpn": dict(scales=[8.0], ratios=[0.5, 1.0, 2.0]),
    "retina": dict(octave_base_scale=4, scales_per_octave=3, ratios=[0.5, 1.0, 2.0]),
}


def _priors(kind: str):
    generator = AnchorGenerator(strides=REF[f"{kind}_strides"].tolist(), **KINDS[kind])
    shapes = [tuple(shape) for shape in REF[f"{kind}_featmap_sizes"].tolist()]
    return generator, generator(shapes, torch.device("cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_base_anchors_and_priors_equal_the_reference(kind):
    generator, priors = _priors(kind)
    start = 0
    for level, size in enumerate(priors.level_sizes):
        close_boxes(generator.base_anchors[level], REF[f"{kind}_base_{level}"])
        close_boxes(priors.boxes[start : start + size], REF[f"{kind}_priors_{level}"])
        start += size
    assert start == len(priors.boxes)


@pytest.mark.parametrize("kind", KINDS)
def test_valid_flags_of_a_smaller_padded_image_equal_the_reference(kind):
    _, priors = _priors(kind)
    pad_shape = REF["pad_shape_small"][None]
    valid = priors.valid_flags(pad_shape, pad_shape)[0]
    theirs = torch.cat([REF[f"{kind}_valid_{level}"] for level in range(len(priors.level_sizes))])
    assert torch.equal(valid, theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("border", [0, 16])
def test_inside_flags_equal_the_reference(kind, border):
    _, priors = _priors(kind)
    pad_shape = REF["pad_shape_small"]
    shape = pad_shape - torch.tensor([7, 5])
    inside = priors.valid_flags(shape[None], pad_shape[None], allowed_border=border)[0]
    assert torch.equal(inside, REF[f"{kind}_inside_border{border}"])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("multi_scale_base", {}),
        ("multi_scale_base_ratio_major", dict(scale_major=False)),
        ("multi_scale_base_center_offset_half", dict(center_offset=0.5)),
    ],
)
def test_order_and_offset_of_several_scales_equal_the_reference(name, options):
    generator = AnchorGenerator(strides=[16], ratios=[0.5, 1.0], scales=[2.0, 4.0], **options)
    close_boxes(generator.base_anchors[0], REF[name])
