"""Anchors by hand: their sizes, order, identity and where they are valid."""

from __future__ import annotations

import pytest
import torch

from mmdet_lite.models.priors import AnchorGenerator, Priors

CPU = torch.device("cpu")


def _priors(shapes: list[tuple[int, int]], **settings) -> Priors:
    strides = [4 * 2**i for i in range(len(shapes))]
    return AnchorGenerator(**(dict(strides=strides, ratios=[1.0], scales=[2]) | settings))(
        shapes, CPU
    )


def test_anchor_stands_at_its_cell_without_half_stride_offset():
    boxes = _priors([(2, 2)]).boxes
    assert boxes.tolist() == [[-4, -4, 4, 4], [0, -4, 8, 4], [-4, 0, 4, 8], [0, 0, 8, 8]]


def test_ratio_is_height_over_width_at_the_same_area():
    boxes = _priors([(1, 1)], ratios=[0.25, 4.0]).boxes
    assert boxes.tolist() == [[-8, -2, 8, 2], [-2, -8, 2, 8]]


def test_anchors_of_a_cell_run_over_scales_within_ratios_or_the_other_way():
    settings = dict(ratios=[1.0, 4.0], scales=[2, 4])
    widths = (_priors([(1, 1)], **settings).boxes[:, 2] * 2).tolist()
    assert widths == [8, 16, 4, 8]
    widths = (_priors([(1, 1)], scale_major=False, **settings).boxes[:, 2] * 2).tolist()
    assert widths == [8, 4, 16, 8]


def test_octaves_divide_a_doubling_evenly():
    octaves = dict(scales=None, octave_base_scale=4, scales_per_octave=2)
    sides = _priors([(1, 1)], **octaves).boxes[:, 2] * 2
    torch.testing.assert_close(sides, torch.tensor([16, 16 * 2**0.5]))


def test_levels_follow_each_other_with_their_own_stride_and_size():
    priors = _priors([(2, 1), (1, 1)], base_sizes=[4, 32])
    assert priors.level_sizes == (2, 1)
    assert priors.boxes[2].tolist() == [-32, -32, 32, 32]
    assert priors.strides.tolist() == [[4, 4], [4, 4], [8, 8]]
    assert priors.cells.tolist() == [[0, 0], [1, 0], [0, 0]]


def test_offset_moves_anchors_by_a_share_of_the_stride():
    assert _priors([(1, 1)], center_offset=0.5).boxes.tolist() == [[-2, -2, 6, 6]]


def test_inclusive_sides_end_at_their_last_pixel_in_float64():
    boxes = _priors([(1, 2)], center_offset=0.5, inclusive=True).boxes
    assert boxes.dtype == torch.float64
    assert boxes.tolist() == [[-2, -2, 5, 5], [2, -2, 9, 5]]


def test_corners_can_be_rounded_before_they_are_moved():
    settings = dict(ratios=[0.5], center_offset=0)
    exact = _priors([(1, 1)], **settings).boxes
    assert not torch.equal(exact, exact.round())
    assert torch.equal(_priors([(1, 1)], round_base_anchors=True, **settings).boxes, exact.round())


def test_identity_does_not_depend_on_the_size_of_the_map():
    small, large = _priors([(3, 4), (2, 2)]), _priors([(40, 70), (20, 35)])
    by_id = dict(zip(large.ids.tolist(), large.boxes.tolist(), strict=True))
    assert len(by_id) == len(large.ids)
    for identity, box in zip(small.ids.tolist(), small.boxes.tolist(), strict=True):
        assert by_id[identity] == box


def test_prior_is_valid_where_its_cell_begins_in_the_padded_image():
    priors = _priors([(3, 3)])
    shapes = torch.tensor([[12, 12], [3, 9]])
    valid = priors.valid_flags(shapes, torch.tensor([[12, 12], [8, 9]]))
    assert valid[0].all()
    assert valid[1].reshape(3, 3).tolist() == [[True] * 3, [True] * 3, [False] * 3]


def test_allowed_border_tests_the_box_against_the_picture():
    priors = _priors([(3, 3)])  # boxes reach 4 pixels to each side of (0, 4, 8)
    shapes = torch.tensor([[12, 12]])
    inside = priors.valid_flags(shapes, shapes, allowed_border=0)[0]
    # The far side must be less than 12: the boxes from 0 to 8 only.
    assert inside.nonzero()[:, 0].tolist() == [4]
    assert priors.valid_flags(shapes, shapes, allowed_border=1)[0].reshape(3, 3).tolist() == [
        [False, False, False],
        [False, True, True],
        [False, True, True],
    ]
    assert priors.valid_flags(shapes, shapes, allowed_border=4).all()


def test_same_sizes_give_the_same_tensors_and_the_cache_is_bounded():
    generator = AnchorGenerator([4], [1.0], scales=[2])
    first = generator([(2, 2)], CPU)
    for size in range(3, 40):
        generator([(size, size)], CPU)
        assert generator([(2, 2)], CPU) is first
    assert len(generator._cache) < 20
    assert generator([(3, 3)], CPU).boxes.shape == (9, 4)


@pytest.mark.parametrize(
    "scales",
    [
        dict(),
        dict(scales=[8], octave_base_scale=4, scales_per_octave=3),
        dict(octave_base_scale=4),
        dict(scales=[8], scales_per_octave=3),
    ],
)
def test_scales_are_given_in_exactly_one_form(scales):
    with pytest.raises(
        ValueError, match="either scales, or octave_base_scale and scales_per_octave"
    ):
        AnchorGenerator([4], [1.0], **scales)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="got 1 base_sizes for 2 strides"):
        AnchorGenerator([4, 8], [1.0], scales=[8], base_sizes=[4])
    with pytest.raises(ValueError, match="has 1 strides but got 2 feature maps.*num_outs"):
        AnchorGenerator([4], [1.0], scales=[8])([(2, 2), (1, 1)], CPU)


def test_sizes_are_given_in_pixels_for_each_level():
    boxes = _priors([(1, 1), (1, 1)], scales=None, sizes=[[8, 10], [16, 20]]).boxes
    assert (boxes[:, 2] * 2).tolist() == [8, 10, 16, 20]
    with pytest.raises(ValueError, match="got 1 sizes for 2 strides"):
        _priors([(1, 1), (1, 1)], scales=None, sizes=[[8, 10]])
    with pytest.raises(ValueError, match=r"needs either scales, .*or sizes; got scales=\[2\]"):
        _priors([(1, 1)], sizes=[[8]])


def test_distances_are_spread_over_the_padded_image_where_asked_for():
    """20 x 12 pixels, padded to the first stride: 3 and 2 rows and columns above, 20 // 3 = 6."""
    shapes, of_level = [(5, 3), (3, 2)], slice(15, None)
    plain, fitted = _priors(shapes), _priors(shapes, fit_strides=True)
    assert torch.equal(plain.boxes[:15], fitted.boxes[:15])
    centers = (fitted.boxes[of_level, :2] + fitted.boxes[of_level, 2:]) / 2
    assert centers.tolist() == [[0, 0], [6, 0], [0, 6], [6, 6], [0, 12], [6, 12]]
    assert fitted.strides[of_level].unique(dim=0).tolist() == [[6, 6]]
    assert torch.equal(plain.ids, fitted.ids)
