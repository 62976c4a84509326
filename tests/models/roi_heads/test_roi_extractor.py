"""Which level a RoI is pooled from, and what comes out."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import MultiScaleRoIAlign, roi_align

from mmdet_lite.models.roi_heads import RoIExtractor

STRIDES = [4, 8, 16, 32]


@pytest.fixture(params=["by level", "all on each level"])
def both_ways(request, monkeypatch) -> None:
    """On the CPU RoIs are sorted by level; on a GPU and in compiled code shapes are fixed."""
    if request.param == "all on each level":
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)


def _feats(num_images: int = 2, size: int = 256) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(num_images, 3, size // s, size // s, generator=generator) for s in STRIDES]


def _rois(num_images: int = 2, count: int = 40) -> torch.Tensor:
    """Boxes of all sizes, some reaching out of the image."""
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(num_images, count, 2, generator=generator) * 150
    side = 2 ** (torch.rand(num_images, count, 2, generator=generator) * 7 + 1.5)
    return torch.cat([corner, corner + side], dim=-1)


@pytest.mark.parametrize(
    ("side", "level"),
    [(0, 0), (1, 0), (111.9, 0), (112, 1), (223, 1), (224, 2), (447, 2), (448, 3), (5000, 3)],
)
def test_level_doubles_with_the_side(side, level):
    assert (
        int(RoIExtractor(7, STRIDES).map_levels(torch.tensor([10.0, 20, 10 + side, 20 + side])))
        == level
    )


def test_level_depends_on_the_area_and_the_finest_scale():
    boxes = torch.tensor([[0.0, 0, 56, 224], [0, 0, 28, 28]])
    assert RoIExtractor(7, STRIDES).map_levels(boxes).tolist() == [1, 0]
    assert RoIExtractor(7, STRIDES, finest_scale=14).map_levels(boxes).tolist() == [3, 1]


@pytest.mark.parametrize("sampling_ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_each_roi_is_pooled_from_its_level(both_ways, sampling_ratio, aligned):
    feats, rois = _feats(), _rois()
    extractor = RoIExtractor(5, STRIDES, sampling_ratio, aligned)
    pooled = extractor(feats, rois).reshape(2, 40, 3, 5, 5)
    levels = extractor.map_levels(rois)
    assert levels.unique().tolist() == [0, 1, 2]
    for i in range(2):
        for j in range(40):
            level = int(levels[i, j])
            expected = roi_align(
                feats[level][i : i + 1],
                [rois[i, j : j + 1]],
                5,
                1 / STRIDES[level],
                sampling_ratio,
                aligned,
            )
            assert torch.equal(pooled[i, j], expected[0])


def test_pooled_features_equal_torchvision(both_ways):
    feats, rois = _feats(), _rois()
    theirs = MultiScaleRoIAlign(["0", "1", "2", "3"], output_size=7, sampling_ratio=2)
    maps = {str(i): feat for i, feat in enumerate(feats)}
    expected = theirs(maps, list(rois), [(256, 256)] * 2)
    ours = RoIExtractor(7, STRIDES, sampling_ratio=2, aligned=False)(feats, rois)
    torch.testing.assert_close(ours, expected)


def test_batch_equals_its_single_images_and_later_maps_are_not_used(both_ways):
    feats, rois = _feats(), _rois()
    extractor = RoIExtractor(7, STRIDES)
    together = extractor([*feats, torch.zeros(2, 3, 1, 1)], rois)
    for i in range(2):
        alone = extractor([feat[i : i + 1] for feat in feats], rois[i : i + 1])
        assert torch.equal(alone, together[i * 40 : (i + 1) * 40])


def test_padding_rows_change_nothing_and_pool_to_zero(both_ways):
    feats, rois = _feats(), _rois()
    extractor = RoIExtractor(7, STRIDES)
    padded = extractor(feats, torch.cat([rois, torch.zeros(2, 6, 4)], dim=1)).reshape(2, 46, -1)
    assert torch.equal(padded[:, :40], extractor(feats, rois).reshape(2, 40, -1))
    assert not padded[:, 40:].any()


def test_no_rois_pool_to_nothing(both_ways):
    assert RoIExtractor(7, STRIDES)(_feats(), torch.zeros(2, 0, 4)).shape == (0, 3, 7, 7)


def test_gradient_reaches_the_pooled_level_and_image_alone(both_ways):
    feats = [feat.requires_grad_() for feat in _feats()]
    rois = torch.zeros(2, 1, 4)
    rois[1, 0] = torch.tensor([10.0, 10, 140, 140])  # second level
    RoIExtractor(7, STRIDES)(feats, rois).sum().backward()
    reached = [[bool(feat.grad[i].any()) for feat in feats] for i in range(2)]
    assert reached == [[False] * 4, [False, True, False, False]]


def test_region_can_be_enlarged_around_its_centre_without_changing_its_level():
    feats, rois = _feats(), torch.tensor([[[40.0, 40, 120, 100]]] * 2)
    enlarged = torch.tensor([[[20.0, 25, 140, 115]]] * 2)
    plain, scaled = RoIExtractor(7, STRIDES[:1]), RoIExtractor(7, STRIDES[:1], roi_scale_factor=1.5)
    torch.testing.assert_close(scaled(feats, rois), plain(feats, enlarged))
    several = RoIExtractor(7, STRIDES, roi_scale_factor=2)
    assert int(several.map_levels(rois)[0]) == 0


def test_pooling_is_float32_under_autocast_and_for_half_maps(both_ways):
    feats, rois = [feat.bfloat16() for feat in _feats()], _rois()
    extractor = RoIExtractor(7, STRIDES)
    expected = extractor([feat.float() for feat in feats], rois)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = extractor(feats, rois)
    assert pooled.dtype == torch.float32
    assert torch.equal(pooled, expected)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_boxes_that_are_not_finite_pool_to_zeros_in_their_places(both_ways, bad):
    feats, rois = _feats(), _rois()
    expected = RoIExtractor(7, STRIDES)(feats, rois)
    rois[0, 0, 2], rois[1, -1, 1] = bad, bad
    pooled = RoIExtractor(7, STRIDES)(feats, rois)
    assert not pooled[[0, -1]].any()
    assert torch.equal(pooled[1:-1], expected[1:-1])
