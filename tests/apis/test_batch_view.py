"""Run with: pytest tests/apis/test_batch_view.py"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch

from mmdet_lite.apis.batch_view import odd_inputs, save_pictures
from mmdet_lite.structures.masks import InstanceMasks
from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.samples import Batch, GroundTruth, ImageMeta

SHAPE, PADDED = (40, 50), (64, 64)


def make_batch(boxes, masks=None, ignore=((0.0, 0.0, 50.0, 40.0),), images=None):
    """One grey image of 40x50 in a padded 64x64."""
    boxes, ignore = torch.tensor([boxes]), torch.tensor([ignore])
    if images is None:
        images = torch.full((1, 3, *PADDED), 128, dtype=torch.uint8)
    return Batch(
        images=images,
        shapes=torch.tensor([SHAPE]),
        pad_shapes=torch.tensor([PADDED]),
        keys=torch.tensor([1]),
        gt=GroundTruth(
            boxes=boxes,
            labels=torch.zeros(boxes.shape[:2], dtype=torch.int64),
            valid=torch.ones(boxes.shape[:2], dtype=torch.bool),
            ignore_boxes=ignore,
            ignore_valid=torch.ones(ignore.shape[:2], dtype=torch.bool),
            masks=PackedBitmaps.pack(masks) if isinstance(masks, torch.Tensor) else masks,
        ),
        metas=[ImageMeta(7, "a.jpg", 0, 3, SHAPE, SHAPE)],
    )


def test_sound_batch_has_nothing_odd():
    # the whole picture, a small object, and a border that rounding moved
    boxes = [[0.0, 0.0, 50.0, 40.0], [3.0, 3.0, 3.5, 4.0], [-0.5, 0.0, 50.4, 40.9]]
    masks = torch.ones(1, 3, *PADDED, dtype=torch.uint8)
    assert odd_inputs(make_batch(boxes, masks)) == []


def test_every_odd_box_is_listed():
    boxes = [
        [5.0, 5.0, 5.0, 9.0],
        [9.0, 5.0, 5.0, 9.0],
        [51.0, 5.0, 60.0, 9.0],
        [5.0, -9.0, 8.0, 0.0],
        [-2.0, 5.0, 8.0, 9.0],
        [1.0, 1.0, 52.5, 9.0],
        [math.nan, 1.0, 2.0, math.inf],
        [1.0, 1.0, 2.0, 2.0],
    ]
    assert odd_inputs(make_batch(boxes, ignore=((3.0, 3.0, 3.0, 3.0),))) == [
        "image 7: box 0 (5, 5, 5, 9) has no area",
        "image 7: box 1 (9, 5, 5, 9) has no area",
        "image 7: box 2 (51, 5, 60, 9) lies outside of the picture (40x50)",
        "image 7: box 3 (5, -9, 8, 0) lies outside of the picture (40x50)",
        "image 7: box 4 (-2, 5, 8, 9) reaches out of the picture (40x50)",
        "image 7: box 5 (1, 1, 52.5, 9) reaches out of the picture (40x50)",
        "image 7: box 6 (nan, 1, 2, inf) is not finite",
        "image 7: ignore box 0 (3, 3, 3, 3) has no area",
    ]


def test_padded_rows_are_not_looked_at():
    batch = make_batch([[1.0, 1.0, 9.0, 9.0], [0.0, 0.0, 0.0, 0.0]])
    batch.gt.valid[0, 1] = False
    assert odd_inputs(batch) == []


def test_pixels_that_are_not_finite_are_counted():
    images = torch.zeros(1, 3, *PADDED)
    images[0, 0, 3, 4:6] = torch.tensor([math.nan, math.inf])
    found = odd_inputs(make_batch([[1.0, 1.0, 9.0, 9.0]], images=images))
    assert found == ["image 7: 2 values of its pixels are not finite"]


def test_empty_masks_are_listed_with_the_row_of_their_box():
    boxes = [[1.0, 1.0, 9.0, 9.0]] * 3
    bitmaps = torch.ones(1, 3, *PADDED, dtype=torch.uint8)
    bitmaps[0, 2] = 0
    assert odd_inputs(make_batch(boxes, bitmaps)) == ["image 7: the mask of box 2 has no pixel"]

    full, empty = np.ones(SHAPE, dtype=np.uint8), np.zeros(SHAPE, dtype=np.uint8)
    batch = make_batch(boxes, [InstanceMasks([empty, full], SHAPE)])
    batch.gt.valid[0, 1] = False  # masks of the host have no padded rows
    assert odd_inputs(batch) == ["image 7: the mask of box 0 has no pixel"]


def test_pictures_show_what_can_be_shown(tmp_path):
    images = torch.full((1, 3, *PADDED), 128.0)
    images[0, :, 50:, :] = math.nan
    images[0, :, :, 60:] = 1e9
    square = np.zeros(SHAPE, dtype=np.uint8)
    square[10:20, 10:20] = 1
    boxes = [[10.0, 10.0, 20.0, 20.0], [math.nan, 1.0, 2.0, 2.0], [30.0, 30.0, 30.0, 39.0]]
    masks = [InstanceMasks([square] * 3, SHAPE)]
    batch = make_batch(boxes, masks, ignore=((math.inf, 0.0, 1.0, 1.0),), images=images)
    save_pictures(batch, ["thing"], tmp_path)

    (file,) = tmp_path.iterdir()
    assert file.name == "slot_3_image_7.png"
    picture = cv2.imread(str(file))
    scale = picture.shape[0] // 64
    pixels = picture[::scale, ::scale].tolist()
    assert pixels[45][5] == pixels[5][5] == [128, 128, 128]
    assert pixels[57][5] == [0, 0, 0]  # was not a number
    assert pixels[45][62] == [255, 255, 255]  # was too large
    assert pixels[15][15] != [128, 128, 128]  # inside the mask
    assert pixels[35][30] != [128, 128, 128]  # the box without area is a line
    assert batch.gt.valid.all() and batch.images.isnan().any()  # the batch itself is as before
