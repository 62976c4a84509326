from dataclasses import replace

import numpy as np
import pytest

from mmdet_lite.data.mixing import CopyPaste, MixUp, Mosaic
from mmdet_lite.data.sample import Sample
from mmdet_lite.structures.masks import InstanceMasks, tight_boxes


def rng(seed=0):
    return np.random.default_rng(seed)


def make(size, boxes, grey, crowds=(), image_id=1, bitmaps=False, first_id=100):
    """An even image of (height, width) ``size`` whose masks are its boxes; labels 0, 1, ..."""
    boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    masks = InstanceMasks(
        [[box[[[0, 1], [2, 1], [2, 3], [0, 3]]].astype(float)] for box in boxes], size
    )
    return Sample(
        image=np.full((*size, 3), grey, dtype=np.uint8),
        boxes=boxes,
        labels=np.arange(len(boxes)),
        annotation_ids=first_id + np.arange(len(boxes)),
        ignore_boxes=np.array(crowds, dtype=np.float32).reshape(-1, 4),
        masks=InstanceMasks(masks.bitmaps(), size) if bitmaps else masks,
        image_id=image_id,
        file="",
        index=0,
        ori_shape=size,
    )


def paste(sample, partner, seed=0, **options):
    return CopyPaste(selected=False, **options)(sample, rng(seed), lambda: partner)


@pytest.mark.parametrize("bitmaps", [False, True])
def test_pasted_objects_hide_what_lies_below(bitmaps):
    sample = make((60, 80), [[10, 10, 50, 40], [60, 0, 80, 20]], 50, bitmaps=bitmaps)
    partner = make((60, 80), [[40, 20, 70, 60]], 200, image_id=2, bitmaps=bitmaps, first_id=7)
    pasted = paste(sample, partner)
    assert pasted.boxes.tolist() == [[10, 10, 50, 40], [60, 0, 80, 20], [40, 20, 70, 60]]
    assert pasted.labels.tolist() == [0, 1, 0] and pasted.annotation_ids.tolist() == [100, 101, 7]
    assert pasted.image_id == 1 and pasted.boxes.dtype == np.float32
    masks = pasted.masks.bitmaps()
    assert masks.sum(axis=(1, 2)).tolist() == [40 * 30 - 10 * 20, 20 * 20, 30 * 40]
    assert not masks[0, 20:40, 40:50].any() and masks[0, 10:20, 10:50].all()
    assert (pasted.image[masks[2] == 1] == 200).all() and (pasted.image[masks[2] == 0] == 50).all()
    assert not (masks.sum(axis=0) > 1).any()


def test_boxes_of_covered_objects_become_tight():
    sample = make((60, 80), [[10, 10, 50, 40]], 50)
    pasted = paste(sample, make((60, 80), [[30, 0, 80, 60]], 200))
    assert pasted.boxes.tolist() == [[10, 10, 30, 40], [30, 0, 80, 60]]
    np.testing.assert_array_equal(pasted.boxes, tight_boxes(pasted.masks.bitmaps()))


def test_untouched_objects_stay_as_they_are():
    sample = make((60, 80), [[1.25, 2.5, 20.75, 30.5]], 50)
    pasted = paste(sample, make((60, 80), [[40, 0, 80, 60]], 200))
    assert pasted.boxes[0].tolist() == [1.25, 2.5, 20.75, 30.5]
    assert isinstance(pasted.masks.shapes[0], list)  # still a polygon


@pytest.mark.parametrize(
    ("cover_from", "options", "stays"),
    [  # of a box of 40 x 30, x from 10 to 50; the edge moves by 50 - cover_from
        (30, {}, True),  # by 20, 600 pixels are left
        (20, {}, False),  # by 30, 300 are left
        (20, {"mask_occluded_thr": 299}, True),
        (20, {"bbox_occluded_thr": 30}, True),
        (20, {"bbox_occluded_thr": 29}, False),
        (10, {"bbox_occluded_thr": 100, "mask_occluded_thr": 0}, False),  # nothing is left
    ],
)
def test_objects_that_are_hidden_too_much_are_left_out(cover_from, options, stays):
    sample = make((60, 80), [[10, 10, 50, 40]], 50)
    partner = make((60, 80), [[cover_from, 0, 80, 60]], 200, first_id=7)
    pasted = paste(sample, partner, **options)
    assert pasted.annotation_ids.tolist() == ([100, 7] if stays else [7])
    assert len(pasted.masks) == len(pasted.boxes) == len(pasted.labels)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((30, 100), [40, 20, 70, 30]), ((100, 50), [40, 20, 50, 60]), ((100, 30), None)],
)
def test_a_partner_of_another_size_is_cut_off(size, expected):
    sample = make((60, 80), [], 50)
    partner = make(size, [np.minimum([40, 20, 70, 60], [size[1], size[0]] * 2)], 200)
    if size == (100, 30):  # the object lies outside of the picture
        partner = partner.select([])
    pasted = paste(sample, partner)
    assert pasted.size == (60, 80) and pasted.masks.size == (60, 80)
    assert pasted.boxes.tolist() == ([] if expected is None else [expected])
    np.testing.assert_array_equal(pasted.boxes, tight_boxes(pasted.masks.bitmaps()))


def test_what_a_larger_partner_has_outside_stays_outside():
    sample = make((60, 80), [], 50)
    pasted = paste(sample, make((200, 300), [[70, 50, 150, 90], [200, 100, 250, 150]], 200))
    assert pasted.boxes.tolist() == [[70, 50, 80, 60]]
    assert pasted.masks.bitmaps().sum() == 100 and (pasted.image[50:, 70:] == 200).all()


def test_crowds_stay_and_are_not_pasted():
    sample = make((60, 80), [], 50, crowds=[[0, 0, 10, 10]])
    pasted = paste(sample, make((60, 80), [[40, 20, 70, 60]], 200, crowds=[[30, 30, 80, 60]]))
    assert pasted.ignore_boxes.tolist() == [[0, 0, 10, 10]] and len(pasted.boxes) == 1


def test_a_partner_without_objects_changes_nothing():
    sample = make((60, 80), [[10, 10, 50, 40]], 50)
    partner = make((60, 80), [], 200, crowds=[[30, 30, 80, 60]])
    for selected in (True, False):
        result = CopyPaste(selected=selected)(sample, rng(), lambda: partner)
        assert (result.image == 50).all() and result.boxes.tolist() == sample.boxes.tolist()


def test_how_many_are_pasted_is_drawn():
    sample = make((60, 80), [], 50)
    partner = make((60, 80), [[10 * i, 0, 10 * i + 8, 8] for i in range(5)], 200)
    for most, expected in ((100, {0, 1, 2, 3, 4, 5}), (2, {0, 1, 2}), (0, {0})):
        transform = CopyPaste(max_num_pasted=most)
        found = [transform(sample, rng(seed), lambda: partner) for seed in range(60)]
        assert {len(pasted.boxes) for pasted in found} == expected
        assert all(len(set(pasted.annotation_ids)) == len(pasted.boxes) for pasted in found)


def test_boxes_are_pasted_where_there_are_no_masks():
    sample = replace(make((60, 80), [[10, 10, 50, 40]], 50), masks=None)
    partner = replace(make((60, 80), [[30, 0, 80, 60]], 200), masks=None)
    with pytest.raises(ValueError, match="image id 1 comes without masks: .*paste_by_box=True"):
        paste(sample, partner)
    pasted = paste(sample, partner, paste_by_box=True)
    assert pasted.masks is None
    assert pasted.boxes.tolist() == [[10, 10, 30, 40], [30, 0, 80, 60]]
    assert (pasted.image[:, 30:] == 200).all() and (pasted.image[:, :30] == 50).all()


def mosaic(samples, seed=0, **options):
    partners = iter(samples[1:])
    return Mosaic(**options)(samples[0], rng(seed), lambda: next(partners))


def test_four_images_meet_at_the_point():
    samples = [
        make((40, 40), [[0, 0, 40, 40]], grey, crowds=[[10, 10, 30, 30]], image_id=grey)
        for grey in (10, 20, 30, 40)
    ]
    result = mosaic(samples, size=(40, 40), center_ratio_range=(1.0, 1.0))
    assert result.size == result.masks.size == (80, 80) and result.image_id == 10
    greys = [[result.image[y, x, 0] for x in (0, 39, 40, 79)] for y in (0, 39, 40, 79)]
    assert greys == [[10, 10, 20, 20]] * 2 + [[30, 30, 40, 40]] * 2
    corners = [[0, 0, 40, 40], [40, 0, 80, 40], [0, 40, 40, 80], [40, 40, 80, 80]]
    assert result.boxes.tolist() == corners
    assert result.ignore_boxes.tolist() == [
        [10, 10, 30, 30],
        [50, 10, 70, 30],
        [10, 50, 30, 70],
        [50, 50, 70, 70],
    ]
    np.testing.assert_array_equal(tight_boxes(result.masks.bitmaps()), corners)


@pytest.mark.parametrize("bitmaps", [False, True])
def test_images_are_resized_to_fit_and_cut_at_the_edge(bitmaps):
    wide = make((20, 40), [[0, 0, 10, 10], [30, 10, 40, 20]], 10, bitmaps=bitmaps)
    empty = make((80, 80), [], 99)
    result = mosaic([wide, empty, empty, empty], size=(80, 80), center_ratio_range=(0.5, 0.5))
    # 80 x 40 with its lower right corner at (40, 40): the left half is cut off
    assert (result.image[:40, :40] == 10).all() and (result.image[:120, 40:120] == 99).all()
    assert (result.image[40:120, :40] == 99).all()
    assert (result.image[120:] == 114).all() and (result.image[:, 120:] == 114).all()
    assert result.boxes.tolist() == [[20, 20, 40, 40]] and result.labels.tolist() == [1]
    np.testing.assert_array_equal(result.boxes, tight_boxes(result.masks.bitmaps()))


def test_masks_stay_with_their_image_and_fit_their_boxes():
    samples = [make((50, 70), [[0, 5, 69, 30], [20, 20, 60, 50]], 0) for _ in range(4)]
    for seed in range(30):
        result = mosaic(samples, seed, size=(70, 50))
        fitted = tight_boxes(result.masks.bitmaps())
        np.testing.assert_allclose(result.boxes, fitted, atol=1)
        assert (result.boxes >= 0).all() and (result.boxes <= [140, 100, 140, 100]).all()
        assert len(result.masks) == len(result.boxes) == len(result.labels) <= 8


def test_a_mosaic_without_objects_or_masks():
    samples = [make((40, 40), [], 10)] * 4
    assert mosaic(samples, size=(40, 40)).masks.bitmaps().shape == (0, 80, 80)
    boxes = [replace(make((40, 40), [[0, 0, 40, 40]], 10), masks=None)] * 4
    assert mosaic(boxes, size=(40, 40)).masks is None
    with pytest.raises(ValueError, match=r"images \[1\] come with masks and images \[1, 1, 1\]"):
        mosaic([samples[0], *boxes[1:]], size=(40, 40))


def test_mosaic_keeps_to_its_probability():
    sample = make((40, 40), [], 10)
    transform, generator = Mosaic(size=(40, 40), prob=0.3), rng()
    sizes = [transform(sample, generator, lambda: sample).size for _ in range(300)]
    assert sizes.count((80, 80)) / 300 == pytest.approx(0.3, abs=0.06)
    assert sizes.count((40, 40)) + sizes.count((80, 80)) == 300


@pytest.mark.parametrize("bitmaps", [False, True])
def test_mixup_blends_and_keeps_the_objects_of_both(bitmaps):
    sample = make((60, 80), [[10, 10, 50, 40]], 100, [[0, 0, 9, 9]], bitmaps=bitmaps)
    partner = make((60, 80), [[40, 20, 70, 60], [0, 0, 9, 9]], 200, [[1, 1, 5, 5]], 2, first_id=7)
    result = MixUp()(sample, rng(), lambda: partner)
    assert result.boxes.tolist() == [[10, 10, 50, 40], [40, 20, 70, 60], [0, 0, 9, 9]]
    assert result.annotation_ids.tolist() == [100, 7, 8] and result.image_id == 1
    assert result.ignore_boxes.tolist() == [[0, 0, 9, 9], [1, 1, 5, 5]]
    np.testing.assert_array_equal(tight_boxes(result.masks.bitmaps()), result.boxes)
    assert len(np.unique(result.image)) == 1 and 120 < result.image[0, 0, 0] < 180


def test_shares_of_mixup_are_those_of_the_beta_distribution():
    sample, partner = make((2, 2), [], 0), make((2, 2), [], 200)
    greys = [MixUp()(sample, rng(seed), lambda: partner).image[0, 0, 0] for seed in range(400)]
    shares = 1 - np.array(greys) / 200
    assert shares.mean() == pytest.approx(0.5, abs=0.01)
    assert shares.std() == pytest.approx(0.5 / np.sqrt(65), abs=0.01)  # of beta(32, 32)


def test_mixup_keeps_to_its_probability_and_draws_no_partner_in_vain():
    sample, generator, drawn = make((4, 4), [], 0), rng(), []
    for _ in range(300):
        MixUp(prob=0.3)(sample, generator, lambda: drawn.append(1) or sample)
    assert len(drawn) / 300 == pytest.approx(0.3, abs=0.06)


def test_mixup_of_images_that_do_not_fit_is_an_error():
    sample = make((40, 60), [], 0)
    message = "image id 1 is 60 wide and 40 high and its partner, id 2, 40 wide and 60 high; put it"
    with pytest.raises(ValueError, match=f"MixUp: {message}"):
        MixUp()(sample, rng(), lambda: make((60, 40), [], 0, image_id=2))
    with pytest.raises(ValueError, match="cannot be put together"):
        MixUp()(sample, rng(), lambda: replace(sample, masks=None))


def test_inputs_are_not_changed():
    sample, partner = (make((60, 80), [[10, 10, 50, 40]], grey) for grey in (50, 200))
    partner = replace(partner, boxes=partner.boxes + 5)
    paste(sample, partner)
    mosaic([sample, partner, partner, partner])
    MixUp()(sample, rng(), lambda: partner)
    assert (sample.image == 50).all() and (partner.image == 200).all()
    assert sample.boxes.tolist() == [[10, 10, 50, 40]]
    assert sample.masks.bitmaps().sum() == partner.masks.bitmaps().sum() == 40 * 30


@pytest.mark.parametrize(
    ("make_transform", "message"),
    [
        (lambda: CopyPaste(max_num_pasted=-1), "max_num_pasted must be 0 or more, got -1"),
        (lambda: MixUp(prob=1.5), "MixUp: prob must be between 0 and 1, got 1.5"),
        (lambda: MixUp(alpha=0), "MixUp: alpha must be larger than 0, got 0"),
        (lambda: Mosaic(size=640), "Mosaic: size must be two positive integers, got 640"),
        (lambda: Mosaic(pad_val=0.5), "Mosaic: pad_val must be a whole number from 0 to 255"),
        (lambda: Mosaic(prob=2), "Mosaic: prob must be between 0 and 1, got 2"),
        (lambda: Mosaic(center_ratio_range=(1.5, 0.5)), "the smaller first, got"),
        (lambda: Mosaic(center_ratio_range=(0.5, 2.5)), "must end at 2 at most, got"),
    ],
)
def test_wrong_arguments_are_named(make_transform, message):
    with pytest.raises(ValueError, match=message):
        make_transform()
