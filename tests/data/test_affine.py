"""RandomAffine: where pixels, boxes, masks and crowds go, and what is left out."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from mmdet_lite.data.affine import RandomAffine
from mmdet_lite.data.geometry import move_boxes, resize, warp
from mmdet_lite.data.sample import Sample
from mmdet_lite.structures.masks import InstanceMasks, tight_boxes

STILL = {"scale": (1, 1), "translate": 0}


def rng(seed=0):
    return np.random.default_rng(seed)


def make(size, boxes, bitmaps=False, crowds=()):
    """A black image of (height, width) ``size``, white where the boxes, its masks, are."""
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    corners = [[box[[[0, 1], [2, 1], [2, 3], [0, 3]]].astype(float)] for box in boxes]
    masks = InstanceMasks(corners, size)
    pixels = masks.bitmaps().max(axis=0, initial=0) * 255
    return Sample(
        image=np.repeat(pixels[..., None], 3, axis=2).astype(np.uint8),
        boxes=boxes,
        labels=np.arange(len(boxes)),
        annotation_ids=100 + np.arange(len(boxes)),
        ignore_boxes=np.array(crowds, dtype=np.float32).reshape(-1, 4),
        masks=InstanceMasks(masks.bitmaps(), size) if bitmaps else masks,
        image_id=1,
        file="",
        index=0,
        ori_shape=size,
    )


def bright(sample):
    """The box around what is white in the image."""
    return tight_boxes(sample.image[None, ..., 0] > 127)[0].tolist()


def test_without_any_change_nothing_changes(sample):
    still = RandomAffine(**STILL)(sample, rng())
    assert (still.image == sample.image).all() and (still.boxes == sample.boxes).all()
    assert (still.masks.bitmaps() == sample.masks.bitmaps()).all()
    assert (still.ignore_boxes == sample.ignore_boxes).all()


@pytest.mark.parametrize("bitmaps", [False, True])
def test_a_part_is_cut_out_of_the_middle(bitmaps):
    sample = make((40, 80), [[10, 10, 50, 30], [0, 0, 18, 40]], bitmaps, [[30, 0, 80, 40]])
    part = RandomAffine((40, 20), **STILL, min_area_ratio=0)(sample, rng())
    assert part.size == part.masks.size == (20, 40)
    assert part.boxes.tolist() == [[0, 0, 30, 20]] and part.annotation_ids.tolist() == [100]
    assert part.ignore_boxes.tolist() == [[10, 0, 40, 20]]
    assert bright(part) == [0, 0, 30, 20] == tight_boxes(part.masks.bitmaps())[0].tolist()


def test_pixels_and_boxes_grow_around_the_centre():
    doubled = RandomAffine(scale=(2, 2), translate=0)(make((40, 40), [[15, 10, 25, 25]]), rng())
    assert doubled.boxes.tolist() == [[10, 0, 30, 30]] and bright(doubled) == [10, 0, 30, 30]


def test_a_quarter_turn_is_exact():
    turned = RandomAffine(degrees=180, **STILL)
    turned._matrix = lambda old, new, rng: np.array([[0, -1, 40], [1, 0, 0]], dtype=float)
    sample = make((40, 40), [[5, 10, 25, 16]])
    result = turned(sample, rng())
    assert result.boxes.tolist() == [[24, 5, 30, 25]] and bright(result) == [24, 5, 30, 25]
    np.testing.assert_array_equal(result.image, np.rot90(sample.image, -1))
    assert turned(replace(sample, masks=None), rng()).boxes.tolist() == [[24, 5, 30, 25]]


def test_a_stretch_is_a_resize_that_does_not_keep_the_ratio():
    image = cv2.resize(rng().integers(0, 256, (12, 16, 3), dtype=np.uint8), (64, 48))
    sample = replace(make((48, 64), [[8, 4, 40, 40]]), image=image)
    factors = np.array([[1.25, 0, 0], [0, 0.75, 0]])
    stretched, expected = warp(sample, factors, (80, 36), 0), resize(sample, (80, 36))
    np.testing.assert_allclose(stretched.boxes, expected.boxes)
    inner = slice(2, -2)
    difference = stretched.image.astype(int) - expected.image
    assert np.abs(difference[inner, inner]).max() <= 3


def test_random_numbers_stay_in_their_bounds():
    transform = RandomAffine(
        (100, 50), scale=(0.5, 2), stretch=(0.8, 1.25), translate=0.2, degrees=0, shear=0
    )
    matrices = np.array([transform._matrix((200, 100), (100, 50), rng(s)) for s in range(300)])
    centres = matrices @ [100, 50, 1]
    assert (np.abs(centres / [100, 50] - 0.5) <= 0.2).all()
    assert np.abs(centres / [100, 50] - 0.5).max() > 0.19
    factors = matrices[:, [0, 1], [0, 1]]
    assert factors.min() > 0.4 and factors.max() < 2.5
    ratio = factors[:, 0] / factors[:, 1]
    assert ratio.min() > 0.64 and ratio.max() < 1.5625 and ratio.std() > 0.1


def test_turns_and_shears_stay_in_their_bounds():
    turn = np.array([RandomAffine(degrees=30)._matrix((9, 9), (9, 9), rng(s)) for s in range(99)])
    angles = np.degrees(np.arctan2(turn[:, 1, 0], turn[:, 0, 0]))
    assert 25 < angles.max() <= 30 and -30 <= angles.min() < -25
    shear = np.array([RandomAffine(shear=10)._matrix((9, 9), (9, 9), rng(s)) for s in range(99)])
    slopes = shear[:, [0, 1], [1, 0]] / shear[:, [1, 0], [1, 0]]
    assert 9 < np.degrees(np.arctan(np.abs(slopes))).max() <= 10


class AtMost:
    """Stands for a generator that draws the most of every range."""

    def uniform(self, low, high, size=None):
        return high if size is None else np.full(size, high)


def test_masks_make_boxes_of_turned_objects_tight():
    diamond = [np.array([[50, 30], [70, 50], [50, 70], [30, 50]], dtype=float)]
    masks = InstanceMasks([diamond], (100, 100))
    sample = replace(make((100, 100), [[30, 30, 70, 70]]), masks=masks)
    transform = RandomAffine(degrees=45, **STILL)
    half = 20 / np.sqrt(2)  # of the diamond's side
    tight = transform(sample, AtMost()).boxes[0]
    np.testing.assert_allclose(tight, [50 - half] * 2 + [50 + half] * 2, atol=1)
    loose = transform(replace(sample, masks=None), AtMost()).boxes[0]
    np.testing.assert_allclose(loose, [50 - 2 * half] * 2 + [50 + 2 * half] * 2, atol=1e-4)


@pytest.mark.parametrize(
    ("box", "options", "stays"),
    [  # in a result of 40 x 40, the middle of an image of 80 x 80
        ([10, 30, 30, 50], {}, True),  # half of it is seen
        ([0, 30, 22, 50], {}, False),  # 2 of 22
        ([0, 30, 22, 50], {"min_area_ratio": 0.09}, False),  # but a side of 2 only
        ([0, 30, 22, 50], {"min_area_ratio": 0.09, "min_size": 1}, True),
        ([30, 30, 32, 60], {}, False),
        ([30, 30, 33, 60], {}, True),
        ([30, 30, 33, 60], {"max_aspect_ratio": 10}, False),
        ([30, 30, 60, 33], {"max_aspect_ratio": 10.1}, True),
        ([61, 30, 80, 50], {"min_area_ratio": 0, "min_size": 0}, False),  # nothing is seen
    ],
)
@pytest.mark.parametrize("with_masks", [True, False])
def test_objects_are_left_out_by_the_thresholds(box, options, stays, with_masks):
    sample = make((80, 80), [box])
    sample = sample if with_masks else replace(sample, masks=None)
    result = RandomAffine((40, 40), **STILL, **options)(sample, rng())
    assert len(result.boxes) == len(result.labels) == stays
    assert result.masks is None or len(result.masks) == stays


def test_an_image_may_be_empty_and_crowds_that_are_not_seen_go():
    sample = make((80, 80), [], crowds=[[0, 0, 10, 10], [30, 30, 90, 50]])
    result = RandomAffine((40, 40), **STILL, pad_val=7)(sample, rng())
    assert result.boxes.shape == (0, 4) and result.ignore_boxes.tolist() == [[10, 10, 40, 30]]
    moved = RandomAffine((40, 40), scale=(0.1, 0.1), translate=0, pad_val=7)(sample, rng())
    assert (moved.image[0] == 7).all() and not moved.image[20, 20].any()


def test_boxes_of_corners():
    boxes = np.array([[1, 2, 3, 6]], dtype=np.float32)
    assert move_boxes(boxes, np.array([[0, -2, 0], [1, 0, 5]])).tolist() == [[-12, 6, -4, 8]]
    assert move_boxes(boxes[:0], np.eye(2, 3)).shape == (0, 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": (640,)}, "size must be two positive integers"),
        ({"scale": (1.5, 0.5)}, "scale must be two positive numbers, the smaller first"),
        ({"stretch": 1}, "stretch must be two positive numbers"),
        ({"degrees": 200}, "degrees must be between 0 and 180, got 200"),
        ({"shear": 90}, "shear must be between 0 and 89, got 90"),
        ({"translate": -0.1}, "translate must be between 0 and 1, got -0.1"),
        ({"pad_val": "grey"}, "pad_val must be a whole number from 0 to 255"),
        ({"min_size": -1}, "min_size must be between 0 and inf, got -1"),
        ({"min_area_ratio": 1.1}, "min_area_ratio must be between 0 and 1, got 1.1"),
        ({"max_aspect_ratio": 1}, "max_aspect_ratio must be larger than 1, got 1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=f"RandomAffine: {message}"):
        RandomAffine(**arguments)
