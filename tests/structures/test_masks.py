"""Masks through transforms, and cropped to boxes."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmdet_lite.structures.masks import (
    InstanceMasks,
    crop_and_resize,
    rasterize_polygons,
    tight_boxes,
)

SIZE = (12, 16)  # height, width


def _bitmap(x1: int, y1: int, x2: int, y2: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    bitmap = np.zeros(size, dtype=np.uint8)
    bitmap[y1:y2, x1:x2] = 1
    return bitmap


def _polygon(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def _rle(bitmap: np.ndarray) -> dict:
    return coco_mask.encode(np.asfortranarray(bitmap))


def _uncompressed(bitmap: np.ndarray) -> dict:
    flat = bitmap.T.reshape(-1)  # column by column
    edges = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *edges, len(flat)]).tolist()
    return {"size": list(bitmap.shape), "counts": counts if flat[0] == 0 else [0, *counts]}


def _text_counts(bitmap: np.ndarray) -> dict:
    rle = _rle(bitmap)
    return {"size": rle["size"], "counts": rle["counts"].decode()}


def _as_polygon(bitmap: np.ndarray) -> list[list[float]]:
    x1, y1, x2, y2 = tight_boxes(bitmap[None])[0].tolist()
    return [_polygon(x1, y1, x2, y2)]


KINDS = {
    "polygon": _as_polygon,
    "compressed RLE": _rle,
    "compressed RLE from JSON": _text_counts,
    "uncompressed RLE": _uncompressed,
}
kinds = pytest.mark.parametrize("kind", KINDS)


def _masks(kind: str) -> InstanceMasks:
    bitmaps = [_bitmap(2, 3, 9, 8), _bitmap(0, 0, 5, 12), _bitmap(10, 6, 16, 12)]
    return InstanceMasks.from_coco([KINDS[kind](b) for b in bitmaps], SIZE)


EXPECTED = np.stack([_bitmap(2, 3, 9, 8), _bitmap(0, 0, 5, 12), _bitmap(10, 6, 16, 12)])


@kinds
def test_every_coco_form_gives_the_same_pixels(kind):
    bitmaps = _masks(kind).bitmaps()
    assert bitmaps.dtype == np.uint8
    np.testing.assert_array_equal(bitmaps, EXPECTED)


@kinds
@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_flip_mirrors_and_two_flips_are_none(kind, direction):
    masks = _masks(kind)
    axis = {"horizontal": 2, "vertical": 1}[direction]
    flipped = masks.flip(direction)
    np.testing.assert_array_equal(flipped.bitmaps(), np.flip(EXPECTED, axis))
    np.testing.assert_array_equal(flipped.flip(direction).bitmaps(), EXPECTED)
    np.testing.assert_array_equal(masks.bitmaps(), EXPECTED)


@kinds
def test_crop_cuts_out_the_window(kind):
    cropped = _masks(kind).crop(x=3, y=2, width=10, height=7)
    assert cropped.size == (7, 10)
    np.testing.assert_array_equal(cropped.bitmaps(), EXPECTED[:, 2:9, 3:13])


@kinds
def test_what_a_crop_cut_off_does_not_come_back_with_padding(kind):
    padded = _masks(kind).crop(x=0, y=0, width=6, height=5).pad((10, 12))
    expected = np.zeros((3, 10, 12), dtype=np.uint8)
    expected[:, :5, :6] = EXPECTED[:, :5, :6]
    np.testing.assert_array_equal(padded.bitmaps(), expected)


@kinds
def test_place_moves_masks_into_a_larger_image(kind):
    placed = _masks(kind).crop(x=0, y=0, width=6, height=5).place(3, 2, (10, 12))
    expected = np.zeros((3, 10, 12), dtype=np.uint8)
    expected[:, 2:7, 3:9] = EXPECTED[:, :5, :6]
    np.testing.assert_array_equal(placed.bitmaps(), expected)


@kinds
def test_resize_by_two_repeats_pixels(kind):
    resized = _masks(kind).resize((24, 32))
    np.testing.assert_array_equal(resized.bitmaps(), EXPECTED.repeat(2, 1).repeat(2, 2))


def test_bitmaps_are_resized_around_the_centres_of_pixels():
    """Not towards the lower right: edges of a mask stay half a pixel from those of its box."""
    for width in range(5, 60):
        resized = InstanceMasks([_bitmap(3, 2, 12, 9)], SIZE).resize((12, width)).bitmaps()
        left, _, right, _ = tight_boxes(resized)[0]
        factor = width / SIZE[1]
        assert abs(left - 3 * factor) <= 0.5 and abs(right - 12 * factor) <= 0.5


@kinds
def test_select_keeps_the_given_order(kind):
    np.testing.assert_array_equal(_masks(kind).select([2, 0]).bitmaps(), EXPECTED[[2, 0]])
    assert len(_masks(kind).select(np.array([], dtype=int))) == 0


def test_polygons_stay_polygons_and_keep_fractions():
    masks = InstanceMasks.from_coco([[[1.25, 2.5, 7.75, 2.5, 4, 9.125]]], SIZE)
    moved = masks.flip("horizontal").resize((24, 32)).flip("horizontal").resize(SIZE)
    np.testing.assert_allclose(moved.shapes[0][0], masks.shapes[0][0])


def test_several_polygons_of_one_object_are_united():
    masks = InstanceMasks.from_coco([[_polygon(1, 1, 4, 4), _polygon(3, 3, 8, 8)]], SIZE)
    expected = _bitmap(1, 1, 4, 4) | _bitmap(3, 3, 8, 8)
    np.testing.assert_array_equal(masks.bitmaps()[0], expected)


def test_no_objects_are_no_masks():
    masks = InstanceMasks.from_coco([], SIZE)
    moved = masks.flip("vertical").resize((6, 8)).crop(0, 0, 4, 4).pad((8, 8))
    assert moved.bitmaps().shape == (0, 8, 8)


@pytest.mark.parametrize("points", [[], [[2.0, 2.0]], [[1.0, 1.0], [5.0, 5.0]]])
def test_polygon_of_less_than_three_points_has_no_pixels(points):
    polygon = np.array(points, dtype=np.float64).reshape(-1, 2)
    assert rasterize_polygons([polygon], SIZE).sum() == 0


def test_polygon_outside_the_image_has_no_pixels():
    outside = InstanceMasks.from_coco([[_polygon(20, 2, 30, 9)]], SIZE)
    assert outside.bitmaps().sum() == 0
    assert outside.pad((20, 40)).bitmaps().sum() == 0


@pytest.mark.parametrize("far", [1e5, 1e9, 1e30, 1e308])
def test_polygons_that_reach_far_out_are_drawn_in_their_image(far):
    """pycocotools ends the process, or takes gigabytes for the outline."""
    square = [np.array([[-far, -far], [far, -far], [far, far], [-far, far]])]
    assert rasterize_polygons(square, SIZE).all()
    beside = [np.array([[far / 2, 0], [far, 0], [far, 9], [far / 2, 9]])]
    assert not rasterize_polygons(beside, SIZE).any()
    half = [np.array([[8, -far], [far, -far], [far, far], [8, far]])]
    np.testing.assert_array_equal(rasterize_polygons(half, SIZE), _bitmap(8, 0, 16, 12))
    zigzag = [np.tile([[-far, -far], [far, far], [-far, far]], (300, 1))]
    for masks in (InstanceMasks([zigzag], SIZE), InstanceMasks([zigzag], SIZE).pad((20, 20))):
        assert masks.bitmaps().shape[0] == 1


def test_tight_boxes_end_after_the_last_pixel():
    bitmaps = np.stack([_bitmap(2, 3, 9, 8), _bitmap(5, 6, 6, 7), _bitmap(0, 0, 0, 0)])
    assert tight_boxes(bitmaps).tolist() == [[2, 3, 9, 8], [5, 6, 6, 7], [0, 0, 0, 0]]
    assert tight_boxes(np.zeros((0, *SIZE))).shape == (0, 4)


@pytest.mark.parametrize("rule", ["polygon", "legacy"])
def test_crop_of_a_rectangle_around_itself_is_full(rule):
    masks = InstanceMasks.from_coco([[_polygon(2, 3, 9, 8)]], SIZE)
    box = np.array([[2, 3, 9, 8]], dtype=np.float32)
    # the old rule includes the pixels at the box's end, so its box is one smaller
    box = box - (np.array([0, 0, 1, 1], dtype=np.float32) if rule == "legacy" else 0)
    cropped = crop_and_resize(masks, box, np.array([0]), 14, rule)
    assert cropped.shape == (1, 14, 14)
    assert cropped.all()


@pytest.mark.parametrize("rule", ["polygon", "legacy"])
def test_crop_takes_the_mask_that_each_box_names(rule):
    masks = InstanceMasks.from_coco([[_polygon(0, 0, 8, 12)], [_polygon(8, 0, 16, 12)]], SIZE)
    boxes = np.array([[0, 0, 16, 12]] * 2, dtype=np.float32)
    right, left = crop_and_resize(masks, boxes, np.array([1, 0]), 8, rule)
    expected = _bitmap(4, 0, 8, 8, (8, 8))
    np.testing.assert_array_equal(right, expected)
    np.testing.assert_array_equal(left, 1 - expected)


@pytest.mark.parametrize("rule", ["polygon", "legacy"])
def test_crop_of_boxes_outside_or_empty_does_not_fail(rule):
    masks = InstanceMasks.from_coco([[_polygon(2, 3, 9, 8)]], SIZE)
    boxes = np.array([[-9, -9, -5, -5], [50, 50, 60, 60], [12, 1, 12, 1]], dtype=np.float32)
    assert crop_and_resize(masks, boxes, np.zeros(3, dtype=int), 7, rule).sum() == 0


def test_polygon_rule_says_what_an_rle_needs():
    masks = InstanceMasks.from_coco([_rle(_bitmap(2, 3, 9, 8))], SIZE)
    box = np.array([[2, 3, 9, 8]], dtype=np.float32)
    with pytest.raises(
        ValueError, match="'polygon' needs polygon annotations.*use rule 'roi_align'"
    ):
        crop_and_resize(masks, box, np.array([0]), 14, "polygon")
