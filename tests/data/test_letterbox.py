"""Letterbox; and that what is found in a padded image comes back to where it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmdet_lite.data.geometry import crop, flip, place, resize
from mmdet_lite.data.letterbox import Letterbox
from mmdet_lite.data.loader import build_eval_loader
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.data.transforms import Resize
from mmdet_lite.data.views import MultiViewDataset, build_view_loader, view_pipelines
from mmdet_lite.evaluation import CocoMetric
from mmdet_lite.models.nms import NMS
from mmdet_lite.models.tta import merge_detections
from mmdet_lite.structures.coordinates import to_network_boxes, to_original_boxes
from mmdet_lite.structures.masks import tight_boxes
from mmdet_lite.structures.samples import Detections, ImageMeta


def rng():
    return np.random.default_rng(0)


def meta_of(sample):
    return ImageMeta(
        sample.image_id,
        sample.file,
        sample.index,
        sample.slot,
        sample.ori_shape,
        sample.size,
        sample.scale_factor,
        sample.flip,
        sample.offset,
    )


@pytest.mark.parametrize(
    ("size", "options", "picture", "corner"),
    [  # of an image 60 wide and 40 high
        ((120, 120), {}, (120, 80), (0, 20)),
        ((120, 121), {}, (120, 80), (0, 20)),
        ((120, 120), {"center": False}, (120, 80), (0, 0)),
        ((100, 90), {"enlarge": False}, (60, 40), (20, 25)),
        ((30, 90), {"enlarge": False}, (30, 20), (0, 35)),
        ((60, 40), {}, (60, 40), (0, 0)),
    ],
)
def test_the_picture_is_fitted_and_padded(sample, size, options, picture, corner):
    boxed = Letterbox(size, **options)(sample, rng())
    (width, height), (x, y) = picture, corner
    assert boxed.size == boxed.masks.size == size[::-1] and boxed.offset == corner
    assert boxed.scale_factor == (width / 60, height / 40)
    inside = boxed.image[y : y + height, x : x + width]
    np.testing.assert_array_equal(inside, resize(sample, picture).image)
    padding = np.ones(size[::-1], dtype=bool)
    padding[y : y + height, x : x + width] = False
    assert (boxed.image[padding] == 114).all()
    expected = sample.boxes * ([width / 60, height / 40] * 2) + [x, y, x, y]
    np.testing.assert_allclose(boxed.boxes, expected, rtol=1e-6)
    crowds = sample.ignore_boxes * ([width / 60, height / 40] * 2) + [x, y, x, y]
    np.testing.assert_allclose(boxed.ignore_boxes, crowds, rtol=1e-6)
    np.testing.assert_allclose(tight_boxes(boxed.masks.bitmaps()), boxed.boxes, atol=1)


def test_the_sample_is_not_changed(sample):
    image, boxes = sample.image.copy(), sample.boxes.copy()
    Letterbox((60, 90), pad_val=0)(sample, rng())
    assert (sample.image == image).all() and (sample.boxes == boxes).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 640}, "Letterbox: size must be two positive integers, got 640"),
        ({"size": (640, 0)}, "size must be two positive integers"),
        ({"size": (9, 9), "pad_val": 256}, "Letterbox: pad_val must be a whole number from 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Letterbox(**arguments)


def _leaves_a_border(sample):
    height, width = sample.size
    return (sample.boxes >= 2).all() and (sample.boxes <= [width - 2, height - 2] * 2).all()


@pytest.mark.parametrize("seed", range(20))
def test_any_resize_flip_crop_and_padding_is_undone(sample, seed):
    """The boxes of a sample after random steps, taken back, are those before them."""
    draw, moved = np.random.default_rng(seed), replace(sample, masks=None)
    for _ in range(6):
        step = draw.integers(4)
        width, height = moved.size[::-1]
        if step == 0:
            moved = resize(moved, tuple(draw.integers(30, 130, 2).tolist()))
        elif step == 1:
            moved = flip(moved, draw.choice(["horizontal", "vertical"]))
        elif step == 2 and _leaves_a_border(moved):
            moved = crop(moved, 2, 1, width - 4, height - 2)
        else:
            canvas = np.zeros((height + 30, width + 40, 3), dtype=np.uint8)
            moved = place(moved, canvas, *draw.integers(5, 30, 2).tolist())
    original = to_original_boxes(torch.from_numpy(moved.boxes), meta_of(moved))
    np.testing.assert_allclose(original, sample.boxes, atol=1e-3)
    back = to_network_boxes(original, meta_of(moved))
    np.testing.assert_allclose(back, moved.boxes, atol=1e-3)


SIZES = [(97, 64), (64, 97), (200, 133)]
CASES = [Letterbox((160, 128)), Letterbox((99, 255), center=False), Letterbox((320, 320), 0)]
CASES += [Letterbox((320, 352), enlarge=False)]


def detect_truth(batch):
    """The ground truth as a perfect detector's output, each box's mask being its whole mask."""
    gt = batch.gt
    scores = torch.linspace(0.9, 0.5, gt.valid.shape[1]).expand(gt.valid.shape)
    masks = None
    if gt.masks is not None:
        masks = torch.zeros(*gt.valid.shape, 56, 56)
        for i, g in gt.valid.nonzero().tolist():
            x1, y1, x2, y2 = gt.boxes[i, g].tolist()
            u = x1 + (x2 - x1) * (torch.arange(56) + 0.5) / 56
            v = y1 + (y2 - y1) * (torch.arange(56) + 0.5) / 56
            masks[i, g] = gt.masks[i][g].unpack()[v.long()][:, u.long()].float()
    return Detections(gt.boxes, scores, gt.labels, gt.valid, masks)


@pytest.mark.parametrize("letterbox", CASES, ids=["wide", "tall, corner", "square", "no larger"])
@pytest.mark.parametrize("size", SIZES)
def test_ground_truth_as_detections_has_a_perfect_score(letterbox, size):
    dataset = ShapesDataset(4, size, pipeline=[letterbox])
    metric = CocoMetric()
    metric.prepare(dataset)
    for batch in build_eval_loader(dataset, 2, 0, masks="bitmaps"):
        metric.process(detect_truth(batch), batch.metas)
    results = metric.results()
    values = metric.compute(results)
    assert values["bbox_mAP"] == 1.0
    assert values["segm_mAP_50"] == 1.0 and values["segm_mAP"] > 0.7  # of 56 x 56 cells
    truth = np.array([a["bbox"] for a in dataset.coco_dict()["annotations"]])
    np.testing.assert_allclose(np.sort(results.boxes_xywh, 0), np.sort(truth, 0), atol=1e-3)


def test_views_with_padding_meet_in_the_original_image():
    dataset = ShapesDataset(3, (97, 64), pipeline=[Letterbox((160, 128))])
    views = MultiViewDataset(dataset, [None, (192, 256)], [None, "horizontal", "vertical"])
    metric = CocoMetric(metrics=("bbox",))
    metric.prepare(dataset)
    for batch in build_view_loader(views, 3, 0):
        found = []
        for view in batch.batches:
            truth = detect_truth(view)
            boxes = [to_original_boxes(b, m) for b, m in zip(truth.boxes, view.metas, strict=True)]
            found.append(replace(truth, boxes=torch.stack(boxes)))
            seen, first = (one.boxes[one.valid] for one in (found[-1], found[0]))
            torch.testing.assert_close(seen, first, rtol=0, atol=1e-3)
        metric.process(merge_detections(found, NMS(0.9), 100), batch.metas)
    assert metric.compute(metric.results())["bbox_mAP"] == 1.0


def test_a_letterbox_is_replaced_by_one_of_the_view():
    own = Letterbox((160, 128), pad_val=7, center=False)
    ((view,),) = view_pipelines([own], [(64, 96)], [None])
    assert (view.size, view.pad_val, view.center) == ((64, 96), 7, False)
    with pytest.raises(ValueError, match="tta.keep_ratio=False.*Letterbox"):
        view_pipelines([own], [(64, 96)], [None], keep_ratio=False)
    with pytest.raises(ValueError, match="has Resize, Letterbox: leave one"):
        view_pipelines([Resize((64, 64)), own], [(64, 96)], [None])


def test_a_mask_in_the_padding_does_not_shrink_the_others():
    """A box that reaches into the padding is clipped, but its mask is not squeezed into it."""
    dataset = ShapesDataset(1, (100, 100), pipeline=[Letterbox((200, 100))])
    (batch,) = build_eval_loader(dataset, 1, 0)
    assert batch.metas[0].offset == (50, 0)
    box = torch.tensor([[[0.0, 20, 100, 60]]])  # its left half is padding
    mask = torch.zeros(1, 1, 28, 28)
    mask[..., 14:] = 1  # and so is the left half of its mask
    ones = torch.ones(1, 1)
    metric = CocoMetric(metrics=("segm",))
    metric.prepare(dataset)
    metric.process(Detections(box, ones, ones.long(), ones.bool(), mask), batch.metas)
    results = metric.results()
    assert results.boxes.tolist() == [[0, 20, 50, 60]]
    np.testing.assert_array_equal(tight_boxes(results.bitmaps()), [[0, 20, 50, 60]])
