"""Mapping of RoIs to levels, and RoIAlign."""

from __future__ import annotations

import pytest
import torch
from reference import Arrays, close

from mmdet_lite.models.roi_heads import RoIExtractor

REF = Arrays("roi_extractor")
STRIDES = (4, 8, 16, 32)


def _pool(extractor: RoIExtractor, feats: list[torch.Tensor], rois: torch.Tensor) -> torch.Tensor:
    """Pool (N, 5) RoIs: every image pools all boxes, then each keeps its own."""
    batch = len(feats[0])
    pooled = extractor(feats, rois[:, 1:].expand(batch, -1, 4))
    pooled = pooled.reshape(batch, len(rois), *pooled.shape[1:])
    return pooled[rois[:, 0].long(), torch.arange(len(rois))]


@pytest.mark.parametrize(("levels", "name"), [(4, "map_levels"), (2, "map_levels_2")])
def test_levels_equal_the_reference(levels, name):
    extractor = RoIExtractor(7, STRIDES[:levels])
    assert torch.equal(extractor.map_levels(REF["map_rois"][:, 1:]), REF[name])


def test_levels_of_the_pooled_rois_equal_the_reference():
    assert torch.equal(RoIExtractor(7, STRIDES).map_levels(REF["rois"][:, 1:]), REF["levels"])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("roi_feats_7", dict(output_size=7)),
        ("roi_feats_14", dict(output_size=14)),
        ("roi_feats_7_sr2", dict(output_size=7, sampling_ratio=2)),
        ("roi_feats_7_scale1p5", dict(output_size=7, roi_scale_factor=1.5)),
    ],
)
def test_pooled_features_equal_the_reference(name, options):
    feats = [REF[f"feat_{stride}"] for stride in STRIDES]
    extractor = RoIExtractor(featmap_strides=STRIDES, **options)
    close(_pool(extractor, feats, REF["rois"][: len(REF[name])]), REF[name])


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("single_s8_aligned_sr0", dict(sampling_ratio=0, aligned=True)),
        ("single_s8_unaligned_sr2", dict(sampling_ratio=2, aligned=False)),
    ],
)
def test_pooling_from_one_level_equals_the_reference(name, options):
    extractor = RoIExtractor(7, [8], **options)
    close(_pool(extractor, [REF["feat_8"]], REF["rois"][: len(REF[name])]), REF[name])


def test_gradient_of_pooling_equals_the_reference():
    feat = REF["feat_8"].requires_grad_()
    grad_out = REF["single_s8_grad_out"]
    pooled = _pool(RoIExtractor(7, [8]), [feat], REF["rois"][: len(grad_out)])
    (pooled * grad_out).sum().backward()
    close(feat.grad, REF["single_s8_grad_in"])
