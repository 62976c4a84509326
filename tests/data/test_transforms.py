from dataclasses import replace

import numpy as np
import pytest

from mmdet_lite.data.geometry import crop
from mmdet_lite.data.transforms import (
    FilterAnnotations,
    Pad,
    RandomChoiceResize,
    RandomCrop,
    RandomFlip,
    RandomResize,
    Resize,
)
from mmdet_lite.structures.masks import tight_boxes


def rng(seed=0):
    return np.random.default_rng(seed)


def assert_boxes_fit_masks(sample, tolerance):
    np.testing.assert_allclose(sample.boxes, tight_boxes(sample.masks.bitmaps()), atol=tolerance)


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [  # (height, width), (long, short), (height, width) by hand
        ((480, 640), (1333, 800), (800, 1067)),  # short edge: 800 / 480
        ((427, 640), (1333, 800), (800, 1199)),
        ((640, 427), (1333, 800), (1199, 800)),
        ((200, 1000), (1333, 800), (267, 1333)),  # long edge: 1.333
        ((200, 1000), (800, 1333), (267, 1333)),  # the order of the edges does not matter
        ((1, 5000), (100, 100), (1, 100)),
    ],
)
def test_resize_keeps_the_ratio_within_the_scale(sample, size, scale, expected):
    empty = np.zeros((*size, 3), dtype=np.uint8)
    sample = replace(sample, image=empty, masks=None)
    assert Resize(scale)(sample, rng()).size == expected


def test_resize_without_keeping_the_ratio_is_exact(sample):
    resized = Resize((30, 50), keep_ratio=False)(sample, rng())
    assert resized.size == (50, 30)
    assert resized.scale_factor == (0.5, 1.25)


def test_random_choice_resize_uses_every_scale(sample):
    transform = RandomChoiceResize([(90, 60), (120, 80)])
    widths = {transform(sample, rng(seed)).size for seed in range(20)}
    assert widths == {(60, 90), (80, 120)}


def test_random_resize_draws_between_two_scales(sample):
    transform = RandomResize([(60, 43), (60, 40)])  # the short edge decides: 40..43 stay 40
    assert transform(sample, rng()).size == (40, 60)
    transform = RandomResize([(600, 30), (600, 33)])
    heights = {transform(sample, rng(seed)).size[0] for seed in range(40)}
    assert heights == {30, 31, 32, 33}


def test_random_resize_multiplies_one_scale_by_a_ratio(sample):
    transform = RandomResize((65, 41), ratio_range=(2.5, 2.5))
    assert transform(sample, rng()).size == (102, 153)  # int(102.5); int(162.5) is not reached
    transform = RandomResize((65, 41), keep_ratio=False, ratio_range=(2.5, 2.5))
    assert transform(sample, rng()).size == (102, 162)
    jitter = RandomResize((60, 40), ratio_range=(0.1, 2.0))  # the image's own size, times the ratio
    generator = rng()
    edges = np.array([jitter(sample, generator).size for _ in range(300)])
    assert edges.min(axis=0).tolist() == [4, 6] and (edges.max(axis=0) >= [78, 117]).all()
    assert np.mean(edges[:, 1] < 60 * 1.05) == pytest.approx(0.5, abs=0.08)
    assert RandomResize((4, 4), ratio_range=(0.01, 0.01))(sample, rng()).size == (1, 1)


@pytest.mark.parametrize("prob", [0.0, 0.3, 1.0])
def test_random_flip_keeps_to_its_probability(sample, prob):
    transform = RandomFlip(prob, ["horizontal", "vertical"])
    generator = rng()
    flips = [transform(sample, generator).flip for _ in range(300)]
    assert abs(sum(f != "" for f in flips) / 300 - prob) < 0.08
    assert (flips.count("horizontal") > 30) == (flips.count("vertical") > 30) == (prob > 0)


def test_random_crop_is_cut_to_the_image(sample):
    cropped = RandomCrop((1000, 20))(sample, rng())
    assert cropped.size == (20, 60)


def test_random_crop_of_a_share_of_the_image(sample):
    assert RandomCrop((0.5, 0.25), "relative")(sample, rng()).size == (10, 30)


def test_random_crop_draws_its_size_between_two_numbers_of_pixels(sample):
    transform = RandomCrop((38, 42), "absolute_range")
    sizes = {transform(sample, rng(seed)).size for seed in range(200)}
    # the height is cut to the image's 40
    assert sizes == {(height, width) for height in (38, 39, 40) for width in range(38, 43)}
    assert RandomCrop((100, 200), "absolute_range")(sample, rng()).size == (40, 60)


def test_random_crop_draws_shares_up_to_the_whole(sample):
    transform = RandomCrop((0.9, 0.5), "relative_range")
    sizes = np.array([transform(sample, rng(seed)).size for seed in range(300)])
    assert sizes.min(axis=0).tolist() == [20, 54] and sizes.max(axis=0).tolist() == [40, 60]
    assert sizes.mean(axis=0) == pytest.approx([30, 57], abs=1)
    assert abs(np.corrcoef(sizes.T)[0, 1]) < 0.2  # each axis on its own


def test_filter_leaves_out_objects_that_are_too_narrow_or_too_low(sample):
    sample = replace(sample, boxes=np.array([[10, 5, 30, 25], [40, 10, 56, 30]], np.float32))
    for min_size, expected in (
        ((1, 1), [11, 12]),
        ((16, 1), [11]),  # the second is 16 wide, which is not wider
        ((15.5, 19.5), [11, 12]),
        ((1, 20), []),
    ):
        filtered = FilterAnnotations(min_size)(sample, rng())
        assert filtered.annotation_ids.tolist() == expected
        assert len(filtered.masks) == len(filtered.labels) == len(filtered.boxes) == len(expected)
        assert filtered.ignore_boxes.tolist() == [[0, 30, 20, 40]]
        assert (filtered.image == sample.image).all()


def test_random_crop_never_loses_all_objects_unless_allowed(sample):
    sample = sample.select(np.array([0]))
    tight, loose = RandomCrop((6, 6)), RandomCrop((6, 6), allow_negative_crop=True)
    assert all(len(tight(sample, rng(seed)).boxes) == 1 for seed in range(50))
    assert {len(loose(sample, rng(seed)).boxes) for seed in range(50)} == {0, 1}


def test_random_crop_of_an_image_without_objects(sample):
    cropped = RandomCrop((10, 10))(sample.select(np.array([], dtype=int)), rng())
    assert cropped.size == (10, 10) and len(cropped.masks) == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"size": (70, 30)}, (40, 70)),
        ({"size_divisor": 32}, (64, 64)),
        ({"pad_to_square": True}, (60, 60)),
    ],
)
def test_pad_extends_to_the_right_and_below(sample, options, expected):
    padded = Pad(**options)(sample, rng())
    assert padded.size == padded.masks.size == expected
    assert (padded.image[:40, :60] == sample.image).all()
    assert padded.image[40:].sum() == 0 and padded.image[:, 60:].sum() == 0
    assert (padded.boxes == sample.boxes).all()
    assert_boxes_fit_masks(padded, 0)


def test_pad_is_as_grey_as_asked_for(sample):
    padded = Pad(size=(70, 50), pad_val=114)(sample, rng())
    assert (padded.image[40:] == 114).all() and (padded.image[:, 60:] == 114).all()


def test_padding_after_a_crop_does_not_bring_masks_back(sample):
    cropped = crop(sample, x=0, y=0, width=20, height=20)
    padded = Pad(pad_to_square=True)(cropped, rng())
    padded = Pad(size=(40, 40))(padded, rng())
    assert isinstance(padded.masks.shapes[0], list)  # still a polygon
    assert padded.masks.bitmaps()[0, 5:20, 10:20].all()
    assert padded.masks.bitmaps().sum() == 15 * 10


def test_polygons_stay_polygons(sample):
    sample = sample.select(np.array([0]))
    for transform in (Resize((90, 80)), RandomFlip(1.0), RandomCrop((30, 30)), Pad(size=(99, 99))):
        sample = transform(sample, rng())
    assert all(isinstance(shape, list) for shape in sample.masks.shapes)
    assert_boxes_fit_masks(sample, 1)


def test_samples_without_objects_pass_through(sample):
    sample = replace(
        sample.select(np.zeros(2, dtype=bool)), ignore_boxes=np.zeros((0, 4), dtype=np.float32)
    )
    for transform in (Resize((90, 80)), RandomFlip(1.0), RandomCrop((30, 30)), Pad(size=(99, 99))):
        sample = transform(sample, rng())
    assert sample.boxes.shape == sample.ignore_boxes.shape == (0, 4)
    assert sample.masks.bitmaps().shape == (0, 99, 99)


def test_the_input_sample_is_not_changed(sample):
    before = (sample.image.copy(), sample.boxes.copy(), sample.masks.bitmaps())
    for transform in (Resize((90, 80)), RandomFlip(1.0), RandomCrop((30, 30)), Pad(size=(99, 99))):
        transform(sample, rng())
    after = (sample.image, sample.boxes, sample.masks.bitmaps())
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Resize(800), "Resize: scale must be two positive integers, got 800"),
        (lambda: Resize((0.5, 1)), r"Resize: scale must be two positive integers, got \(0.5, 1\)"),
        (lambda: RandomChoiceResize([]), "scales is empty"),
        (lambda: RandomChoiceResize([(8, 8), 3]), "scales must be two positive integers, got 3"),
        (lambda: RandomResize([(8, 8)]), "must be two scales to draw between"),
        (lambda: RandomResize((8, 8)), "scale must be two positive integers, got 8"),
        (
            lambda: RandomResize([(8, 8), (9, 9)], ratio_range=(1, 2)),
            "with ratio_range, scale must be two positive integers",
        ),
        (
            lambda: RandomResize((8, 8), ratio_range=(2, 0.1)),
            r"ratio_range must be two positive numbers, the smaller first, got \(2, 0.1\)",
        ),
        (lambda: RandomCrop((9, 8), "absolute_range"), "the smaller first, got"),
        (lambda: RandomCrop((0, 1), "relative_range"), r"must be in \(0, 1\], got \(0, 1\)"),
        (lambda: FilterAnnotations(3), "min_size must be two numbers from 0 on, got 3"),
        (lambda: RandomFlip(1.5), "prob must be between 0 and 1, got 1.5"),
        (lambda: RandomFlip(direction="left"), "'horizontal' or 'vertical', got 'left'"),
        (lambda: RandomCrop((9, 9), "share"), "'absolute' or 'relative' or .*, got 'share'"),
        (lambda: RandomCrop((2, 0.5), "relative"), r"must be in \(0, 1\], got \(2, 0.5\)"),
        (lambda: Pad(size_divisor=32, pad_val=256), "whole number from 0 to 255, got 256"),
        (lambda: Pad(size_divisor=32, pad_val=(1, 2, 3)), r"from 0 to 255, got \(1, 2, 3\)"),
        (lambda: Pad(), "exactly one of size, size_divisor and pad_to_square"),
        (lambda: Pad(size=(8, 8), size_divisor=32), "exactly one of"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
