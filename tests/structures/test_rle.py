"""Masks are drawn as pycocotools decodes them."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmdet_lite.structures.masks import InstanceMasks, rasterize_polygons
from mmdet_lite.structures.rle import draw_rle, read_counts

HEIGHT, WIDTH = 23, 31


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


MASKS = {
    "nothing": box(0, 0, 0, 0),
    "everything": box(0, HEIGHT, 0, WIDTH),
    "inside": box(3, 9, 5, 30),
    "first pixel": box(0, 1, 0, 1),
    "last pixel": box(HEIGHT - 1, HEIGHT, WIDTH - 1, WIDTH),
    "whole columns": box(0, HEIGHT, 4, 7),  # one run through all of them
    "two touching runs": box(10, HEIGHT, 4, 5) | box(0, 5, 5, 6),
    "noise": np.random.default_rng(0).integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())
def test_masks_are_drawn_as_they_were_encoded(mask):
    drawn = np.zeros_like(mask)
    draw_rle(coco_mask.encode(np.asfortranarray(mask)), drawn)
    np.testing.assert_array_equal(drawn, mask)


@pytest.mark.parametrize("counts", [[713], [0, 713], [5, 0, 700, 8], [1, 2, 3, 700, 3, 4]])
def test_runs_of_any_length_are_read(counts):
    rle = coco_mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": counts}, HEIGHT, WIDTH)
    assert read_counts(rle["counts"]).tolist() == counts


def test_runs_of_no_length_are_drawn():
    counts = {"size": [HEIGHT, WIDTH], "counts": [0, 0, 30, 0, 10, 7, 0, 3, 663]}
    rle, drawn = coco_mask.frPyObjects(counts, HEIGHT, WIDTH), np.zeros((HEIGHT, WIDTH), np.uint8)
    draw_rle(rle, drawn)
    np.testing.assert_array_equal(drawn, coco_mask.decode(rle))


def test_polygons_become_pycocotools_pixels():
    """Stars of one to three parts, many of them partly or wholly outside."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        parts = [rng.normal(rng.uniform(-9, 40, 2), 9, (7, 2)) for _ in range(rng.integers(1, 4))]
        rles = coco_mask.frPyObjects([part.ravel().tolist() for part in parts], HEIGHT, WIDTH)
        expected = coco_mask.decode(coco_mask.merge(rles))
        np.testing.assert_array_equal(rasterize_polygons(parts, (HEIGHT, WIDTH)), expected)


def test_packing_into_a_part_leaves_the_rest_alone():
    square = [np.array([[2.0, 3], [9, 3], [9, 8], [2, 8]])]
    rle = coco_mask.encode(np.asfortranarray(MASKS["inside"]))
    masks = InstanceMasks([square, MASKS["inside"], rle, []], (HEIGHT, WIDTH))
    bits = np.zeros((5, 32, 8), dtype=np.uint8)
    masks.pack(bits[:4])
    padded = np.unpackbits(bits, axis=-1)
    np.testing.assert_array_equal(padded[:4, :HEIGHT, :WIDTH], masks.bitmaps())
    assert padded.sum() == masks.bitmaps().sum() == 35 + 2 * 6 * 25


def test_packed_masks_are_those_drawn_wherever_they_lie():
    rng = np.random.default_rng(1)
    for _ in range(200):
        parts = [rng.normal(rng.uniform(-9, 40, 2), 9, (7, 2)) for _ in range(rng.integers(1, 4))]
        masks = InstanceMasks([parts], (HEIGHT, WIDTH))
        bits = np.zeros((1, HEIGHT, -(-WIDTH // 8)), dtype=np.uint8)
        masks.pack(bits)
        np.testing.assert_array_equal(np.unpackbits(bits, axis=-1)[..., :WIDTH], masks.bitmaps())
