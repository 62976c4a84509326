"""What holds for all transforms, alone and in random pipelines, on random pictures.

Each object has its own colour, so that pixels tell whose they are. ``MMDET_LITE_EXAMPLES=100``
makes it a hundred times as many examples, other ones in every run.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from hypothesis import given, note
from hypothesis import strategies as st
from scenes import CROWD, colour_of, label_of, scenes

from mmdet_lite.data.collate import Collate
from mmdet_lite.data.geometry import clip
from mmdet_lite.data.pipeline import run_pipeline
from mmdet_lite.data.sample import Sample
from mmdet_lite.registry import TRANSFORMS, build
from mmdet_lite.structures.coordinates import to_network_boxes
from mmdet_lite.structures.masks import tight_boxes

LOW, HIGH = 30, 100  # edges of what transforms make of a picture
PIXEL = 1 + 1e-3  # float32 rounds

edges = st.integers(LOW, HIGH)
sizes = st.tuples(edges, edges)
seeds = st.integers(0, 2**32 - 1)


TRIED = set()


def transform(name, **arguments):
    """A strategy for the config of a transform."""
    TRIED.add(name)
    return st.fixed_dictionaries({"type": st.just(name), **arguments})


RESIZES = [
    transform("Resize", scale=sizes, keep_ratio=st.booleans()),
    transform("RandomChoiceResize", scales=st.lists(sizes, min_size=1, max_size=3)),
    transform("RandomResize", scale=st.tuples(sizes, sizes), keep_ratio=st.booleans()),
    # the large-scale jitter of copy-paste
    transform("RandomResize", scale=st.just((60, 60)), ratio_range=st.just((0.5, 1.5))),
]
FLIP = transform(
    "RandomFlip", prob=st.just(0.8), direction=st.sampled_from(["horizontal", "vertical"])
)
PADS = [
    transform("Pad", size=sizes),
    transform("Pad", size_divisor=st.sampled_from([7, 32])),
    transform("Letterbox", size=sizes, center=st.booleans(), enlarge=st.booleans()),
]
CROPS = [
    transform("RandomCrop", crop_size=sizes, allow_negative_crop=st.booleans()),
    transform("RandomCrop", crop_size=st.just((0.4, 0.6)), crop_type=st.just("relative_range")),
]
SHIFT = transform(
    "RandomAffine",
    size=st.none() | sizes,
    translate=st.just(0.3),
    stretch=st.just((0.8, 1.2)),
    min_area_ratio=st.sampled_from([0.0, 0.1]),
)
TURN = transform(
    "RandomAffine",
    size=st.none() | sizes,
    degrees=st.sampled_from([0.0, 30.0, 180.0]),
    shear=st.sampled_from([0.0, 10.0]),
)
MOSAIC = transform("Mosaic", size=sizes, prob=st.just(0.8))
PASTE = transform("CopyPaste", mask_occluded_thr=st.integers(0, 300), selected=st.booleans())
FILTER = transform("FilterAnnotations", min_size=st.tuples(st.integers(0, 4), st.integers(0, 4)))
MIXUP = [{"type": "Letterbox", "size": (64, 64)}, {"type": "MixUp", "prob": 0.8}]

STRAIGHT = [*RESIZES, FLIP, *PADS, *CROPS, SHIFT, MOSAIC, FILTER]  # rectangles stay rectangles
ALL = [*STRAIGHT, TURN, PASTE]


def pipelines(steps, max_size=4):
    return st.lists(st.one_of(steps), min_size=1, max_size=max_size)


def run(pipeline, seed, **options) -> tuple[Sample, Sample]:
    """The first picture before and after a pipeline; partners are other pictures."""
    pictures = scenes(seed, **options)
    first = next(pictures)
    transforms = [build(step, TRANSFORMS) for step in pipeline]
    rng = np.random.default_rng(seed)
    return first, run_pipeline(transforms, first, rng, lambda: next(pictures))


def check_form(sample: Sample) -> None:
    """Everything of a sample goes together, and lies in its image."""
    count = len(sample.boxes)
    assert sample.image.dtype == np.uint8 and sample.image.shape == (*sample.size, 3)
    assert sample.masks.size == sample.size
    assert count == len(sample.labels) == len(sample.annotation_ids) == len(sample.masks)
    assert sample.boxes.dtype == sample.ignore_boxes.dtype == np.float32
    for boxes in (sample.boxes, sample.ignore_boxes):
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        np.testing.assert_allclose(clip(boxes, *sample.size[::-1]), boxes, atol=1e-3)
    ids = sample.annotation_ids.tolist()
    assert len(set(ids)) == count
    assert sample.labels.tolist() == [label_of(key) for key in ids]


def check_boxes(sample: Sample, tolerance: float) -> None:
    """The box of each mask is the object's box; what is thinner may be too thin for pixels."""
    for box, found in zip(sample.boxes, tight_boxes(sample.masks.bitmaps()), strict=True):
        is_thin = not found.any() and (box[2:] - box[:2]).min() <= tolerance
        note(f"box {box}, box of the mask {found}, tolerance {tolerance}")
        assert is_thin or np.abs(box - found).max() <= tolerance


def growth(step: dict) -> float:
    """By how much a transform enlarges at most, if it does."""
    if step["type"] == "RandomAffine":
        return 1.5 * step.get("stretch", (1, 1))[1]
    sizes = [step[key] for key in ("size", "scale", "scales") if step.get(key)]
    return max(1.0, np.max(sizes) / LOW) if sizes and step["type"] != "Pad" else 1.0


def share_of_own_colour(sample: Sample, index: int, bitmap: np.ndarray) -> float:
    """Of the pixels of a mask without its rim, how many have the object's colour."""
    inner = cv2.erode(bitmap, np.ones((5, 5), np.uint8), borderValue=0) == 1
    if inner.sum() < 10:
        return 1.0
    palette = np.array([colour_of(int(key)) for key in sample.annotation_ids])
    greys = np.array([[g] * 3 for g in (0, 114, 128)])
    palette = np.concatenate([palette, greys, [CROWD]]).astype(float)
    pixels = sample.image[inner].astype(float)
    nearest = np.linalg.norm(pixels[:, None] - palette, axis=2).argmin(axis=1)
    return (nearest == index).mean()


def share_inside(sample: Sample, index: int, bitmap: np.ndarray) -> float:
    """Of the pixels that have an object's very colour, how many lie in its mask or beside it."""
    colour = colour_of(int(sample.annotation_ids[index])).astype(int)
    is_colour = np.abs(sample.image.astype(int) - colour).max(axis=2) <= 3
    wide = cv2.dilate(bitmap, np.ones((5, 5), np.uint8))
    return wide[is_colour].mean() if is_colour.sum() >= 10 else 1.0


def to_present(boxes: np.ndarray, sample: Sample) -> np.ndarray:
    """Boxes of the picture in its file, taken by the meta data to where they are now."""
    meta = Collate(size_divisor=1)([sample]).metas[0]
    moved = to_network_boxes(torch.from_numpy(boxes), meta).numpy()
    return clip(moved, *sample.size[::-1])


# One transform


@given(st.one_of(ALL), seeds)
def test_boxes_fit_masks_to_a_pixel_after_one_transform(step, seed):
    _, sample = run([step], seed)
    check_form(sample)
    check_boxes(sample, PIXEL)


@given(seeds)
def test_boxes_fit_masks_to_a_pixel_after_mixup(seed):
    _, sample = run(MIXUP, seed)
    check_form(sample)
    check_boxes(sample, PIXEL)


# Pipelines


@given(pipelines(STRAIGHT), seeds)
def test_boxes_of_rectangles_fit_in_pipelines(pipeline, seed):
    """To one pixel of the coarsest image on the way, and half a one for each time it is drawn."""
    _, sample = run(pipeline, seed, only_rectangles=True)
    check_form(sample)
    tolerance = PIXEL
    for step in pipeline[1:]:
        tolerance = tolerance * growth(step) + 0.5
    check_boxes(sample, tolerance)


@given(pipelines(ALL), seeds)
def test_pixels_and_labels_stay_with_their_object(pipeline, seed):
    _, sample = run(pipeline, seed)
    check_form(sample)
    for index, bitmap in enumerate(sample.masks.bitmaps()):
        note(f"object {sample.annotation_ids[index]}")
        assert share_of_own_colour(sample, index, bitmap) > 0.9
        assert share_inside(sample, index, bitmap) > 0.9


@given(pipelines(ALL, max_size=3), seeds)
def test_mixed_samples_stay_whole(pipeline, seed):
    _, sample = run([*pipeline, *MIXUP], seed)
    check_form(sample)


@given(pipelines([*RESIZES, FLIP, *PADS, *CROPS, FILTER]), seeds)
def test_meta_data_lead_from_the_file_to_the_sample(pipeline, seed):
    """Where nothing is cut, exactly; where something is, boxes are a part of what they were."""
    first, sample = run(pipeline, seed)
    moved = to_present(first.boxes, sample)
    rows = {key: row for row, key in enumerate(first.annotation_ids.tolist())}
    expected = moved[[rows[key] for key in sample.annotation_ids.tolist()]]
    assert (sample.boxes[:, :2] >= expected[:, :2] - 0.01).all()
    assert (sample.boxes[:, 2:] <= expected[:, 2:] + 0.01).all()
    if not any(step["type"] == "RandomCrop" for step in pipeline):
        np.testing.assert_allclose(sample.boxes, expected, atol=0.01)
        crowds = to_present(first.ignore_boxes, sample)
        np.testing.assert_allclose(sample.ignore_boxes, crowds, atol=0.01)


@given(pipelines([*STRAIGHT, TURN]), seeds)
def test_crowds_stay_in_ignore_boxes(pipeline, seed):
    _, sample = run(pipeline, seed)
    is_crowd = np.abs(sample.image.astype(int) - CROWD).max(axis=2) <= 3
    covered = np.zeros(sample.size, dtype=bool)
    for x1, y1, x2, y2 in sample.ignore_boxes:
        low, high = np.floor([x1 - 1, y1 - 1]).clip(0).astype(int), np.ceil([x2 + 1, y2 + 1])
        covered[low[1] : int(high[1]), low[0] : int(high[0])] = True
    assert is_crowd.sum() < 10 or covered[is_crowd].all()


@given(pipelines(ALL), seeds)
def test_a_pipeline_depends_on_its_seed_and_changes_no_input(pipeline, seed):
    first, one = run(pipeline, seed)
    _, other = run(pipeline, seed)
    untouched = next(scenes(seed))
    for a, b in ((one, other), (first, untouched)):
        np.testing.assert_array_equal(a.image, b.image)
        np.testing.assert_array_equal(a.boxes, b.boxes)
        np.testing.assert_array_equal(a.annotation_ids, b.annotation_ids)
        np.testing.assert_array_equal(a.masks.bitmaps(), b.masks.bitmaps())


def test_no_transform_is_forgotten():
    """What is not tried here only chooses among others, or changes colours."""
    others = {"UntilEpoch", "UntilIteration", "RandomChoice", "PhotometricDistortion", "HSVJitter"}
    ours = {n for n, c in TRANSFORMS.module_dict.items() if c.__module__.startswith("mmdet_lite.")}
    assert ours == TRIED | others | {"MixUp"}
