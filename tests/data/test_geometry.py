from dataclasses import replace

import numpy as np
import pytest

from mmdet_lite.data.geometry import crop, flip, resize
from mmdet_lite.structures.masks import tight_boxes


def assert_boxes_fit_masks(sample, tolerance):
    np.testing.assert_allclose(sample.boxes, tight_boxes(sample.masks.bitmaps()), atol=tolerance)


def test_resize_scales_boxes_masks_and_factors(sample):
    resized = resize(resize(sample, (120, 80)), (60, 120))
    assert resized.size == (120, 60) and resized.masks.size == (120, 60)
    assert resized.scale_factor == (1.0, 3.0)
    assert resized.boxes.tolist() == [[10, 15, 30, 75], [40, 30, 56, 90]]
    assert resized.ignore_boxes.tolist() == [[0, 90, 20, 120]]
    assert resized.boxes.dtype == np.float32
    assert_boxes_fit_masks(resized, 1)


@pytest.mark.parametrize("direction", ["horizontal", "vertical"])
def test_flipping_twice_is_the_identity(sample, direction):
    once = flip(sample, direction)
    twice = flip(once, direction)
    assert once.flip == direction and twice.flip == ""
    assert (once.image != sample.image).any() and (twice.image == sample.image).all()
    assert (twice.boxes == sample.boxes).all() and (twice.ignore_boxes == sample.ignore_boxes).all()
    assert (twice.masks.bitmaps() == sample.masks.bitmaps()).all()


def test_flip_moves_everything_together(sample):
    flipped = flip(flip(sample, "horizontal"), "vertical")
    assert flipped.flip == "both"
    assert flipped.boxes.tolist() == [[30, 15, 50, 35], [4, 10, 20, 30]]
    assert flipped.ignore_boxes.tolist() == [[40, 0, 60, 10]]
    assert (flipped.image == sample.image[::-1, ::-1]).all()
    assert_boxes_fit_masks(flipped, 0)


def test_crop_clips_boxes_and_drops_what_is_outside(sample):
    cropped = crop(sample, x=20, y=10, width=20, height=25)
    assert cropped.size == (25, 20)
    assert (cropped.image == sample.image[10:35, 20:40]).all()
    assert cropped.boxes.tolist() == [[0, 0, 10, 15]]
    assert cropped.labels.tolist() == [3] and cropped.annotation_ids.tolist() == [11]
    assert len(cropped.ignore_boxes) == 0
    assert_boxes_fit_masks(cropped, 0)


def test_crop_fits_boxes_to_what_is_visible(sample):
    cropped = crop(sample, x=38, y=0, width=22, height=20)  # the L's foot is cut off
    assert cropped.boxes.tolist() == [[2, 10, 6, 20]]
    cropped = crop(sample, x=46, y=0, width=14, height=20)  # its box remains, the L does not
    assert len(cropped.boxes) == 0
    without_masks = crop(replace(sample, masks=None), x=46, y=0, width=14, height=20)
    assert without_masks.boxes.tolist() == [[0, 10, 10, 20]]
