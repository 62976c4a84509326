"""What must hold of every sample that leaves the pipelines of the one-stage configs."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmdet_lite.data.sample import SampleRef
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.registry import TRANSFORMS, build
from mmdet_lite.structures.masks import InstanceMasks, tight_boxes

BASES = Path(__file__).parents[2] / "configs/_base_/datasets"
SIDE = 160  # in place of the configs' sides, which would take longer


def shipped(name, side):
    """The training pipeline of a base config for images of another side."""
    pipeline = copy.deepcopy(Config.fromfile(BASES / name).train_data.dataset.pipeline)

    def shrink(value):
        if isinstance(value, dict):
            return {key: shrink(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)) and tuple(value) == (side, side):
            return (SIDE, SIDE)
        return [shrink(item) for item in value] if isinstance(value, list) else value

    return [shrink(transform) for transform in pipeline]


TURNED = [
    dict(type="Mosaic", size=(SIDE, SIDE)),
    dict(type="RandomAffine", size=(SIDE, SIDE), degrees=30, shear=10, stretch=(0.7, 1.4)),
    dict(type="MixUp"),
]
PIPELINES = {
    "yolo": shipped("coco_yolo_640.py", 640),
    "nanodet 320": shipped("coco_nanodet_320.py", 320),
    "nanodet 416": shipped("coco_nanodet_416.py", 416),
    "turned": TURNED,
    "letterboxed": [dict(type="Letterbox", size=(SIDE, SIDE), center=False), dict(type="MixUp")],
}


class Mixed(ShapesDataset):
    """Shapes of several sizes with a crowd; masks are polygons or bitmaps; some have no objects."""

    def load(self, index):
        sample = super().load(index)
        height, width = 90 + 10 * (index % 5), 150 - 20 * (index % 4)
        sample = replace(sample, image=sample.image[:height, :width], ori_shape=(height, width))
        limit = np.array([width, height] * 2)
        inside = (sample.boxes[:, :2] < limit[:2] - 4).all(axis=1)
        boxes = np.minimum(sample.boxes, limit)
        corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].astype(float).reshape(-1, 4, 2)
        masks = InstanceMasks([[points] for points in corners], (height, width))
        if index % 2:
            masks = InstanceMasks(masks.bitmaps(), masks.size)
            boxes = tight_boxes(masks.bitmaps())
        crowd = np.array([[10, 20, 60, 70]], dtype=np.float32)
        sample = replace(sample, boxes=boxes.astype(np.float32), masks=masks, ignore_boxes=crowd)
        return sample.select(inside if index % 6 else [])


def dataset(name, with_masks=True):
    pipeline = [build(cfg, TRANSFORMS) for cfg in PIPELINES[name]]
    if not with_masks:
        pipeline.insert(0, lambda sample, rng: replace(sample, masks=None))
    return Mixed(14, (160, 160), pipeline=pipeline, seed=3)


def samples(name, with_masks=True, epochs=(0, 290)):
    data = dataset(name, with_masks)
    for epoch in epochs:
        for index in range(len(data)):
            yield data[SampleRef(index, epoch, iteration=epoch * 6)]


@pytest.mark.parametrize("with_masks", [True, False])
@pytest.mark.parametrize("name", PIPELINES)
def test_samples_are_sound(name, with_masks):
    seen = 0
    for sample in samples(name, with_masks):
        count = len(sample.boxes)
        assert sample.image.shape == (SIDE, SIDE, 3) and sample.image.dtype == np.uint8
        assert len(sample.labels) == len(sample.annotation_ids) == count
        assert sample.boxes.dtype == sample.ignore_boxes.dtype == np.float32
        assert sample.labels.dtype == np.int64
        for boxes in (sample.boxes, sample.ignore_boxes):
            assert boxes.shape == (len(boxes), 4)
            assert boxes.min(initial=0) >= 0 and boxes.max(initial=0) <= SIDE + 1e-4  # float32
            assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert (sample.masks is not None) == with_masks
        if with_masks:
            assert len(sample.masks) == count and sample.masks.size == (SIDE, SIDE)
            fitted = tight_boxes(sample.masks.bitmaps())
            np.testing.assert_allclose(sample.boxes, fitted, atol=2)
        seen += count
    assert seen > 30


@pytest.mark.parametrize("name", PIPELINES)
def test_a_sample_is_a_function_of_its_place(name):
    first, again, other = dataset(name), dataset(name), dataset(name)
    other.seed = 4
    differ = 0
    for index in (5, 3, 4):
        ref = SampleRef(index, epoch=7)
        here, there = first[ref], again[ref._replace(slot=3)]
        assert (here.image == there.image).all() and (here.boxes == there.boxes).all()
        assert (here.annotation_ids == there.annotation_ids).all()
        differ += (other[ref].image != here.image).any()
        differ += (first[ref._replace(epoch=8)].image != here.image).any()
    assert differ >= (3 if name == "letterboxed" else 6)  # which only its partners change


def test_the_last_epochs_show_single_images():
    data = dataset("yolo")
    own = [set(data.load(i).annotation_ids.tolist()) for i in range(len(data))]
    for index in range(len(data)):
        assert set(data[SampleRef(index, 285)].annotation_ids.tolist()) <= own[index]
    before = [set(data[SampleRef(i, 284)].annotation_ids.tolist()) for i in range(len(data))]
    assert sum(not ids <= single for ids, single in zip(before, own, strict=True)) > 7
