import json

import numpy as np
import pytest

from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.data.shapes_drawing import SHAPES, draw_shape
from mmdet_lite.structures.masks import tight_boxes


def test_pictures_depend_on_data_seed_and_index_only():
    dataset = ShapesDataset(40, data_seed=3)
    later = ShapesDataset(50, data_seed=3, seed=9)[33]
    assert (dataset[33].image == later.image).all() and (dataset[33].boxes == later.boxes).all()
    assert (dataset[32].image != later.image).any()
    assert (ShapesDataset(40, data_seed=4)[33].image != later.image).any()


def test_masks_are_disjoint_and_boxes_tight():
    for sample in ShapesDataset(30, image_size=(120, 150)):
        bitmaps = sample.masks.bitmaps()
        assert sample.image.shape == (120, 150, 3) and sample.image.dtype == np.uint8
        assert bitmaps.shape == (len(sample.boxes), 120, 150)
        assert bitmaps.sum(axis=0).max() <= 1  # later shapes cover earlier ones
        assert (sample.boxes == tight_boxes(bitmaps)).all()
        assert len(np.unique(sample.annotation_ids)) == len(sample.boxes) == len(sample.labels)


def test_every_class_appears_and_some_shapes_are_covered():
    samples = list(ShapesDataset(60))
    labels = np.concatenate([sample.labels for sample in samples])
    assert (np.bincount(labels, minlength=len(SHAPES)) > 15).all()
    overlapping = 0
    for sample in samples:
        x1, y1, x2, y2 = sample.boxes.T
        wide = np.minimum(x2[:, None], x2) > np.maximum(x1[:, None], x1)
        high = np.minimum(y2[:, None], y2) > np.maximum(y1[:, None], y1)
        overlapping += (wide & high).sum() > len(sample.boxes)
    assert overlapping > 20


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_where_their_masks_are(name):
    grey = np.full((100, 100, 3), 128, dtype=np.uint8)
    image, mask = draw_shape(grey, name, np.random.default_rng(5))
    assert mask.sum() > 100
    assert (image[mask == 1] != 128).any(axis=1).all()
    assert (grey == 128).all()


def test_ring_has_a_hole():
    grey = np.full((100, 100, 3), 128, dtype=np.uint8)
    _, mask = draw_shape(grey, "ring", np.random.default_rng(1))
    x1, y1, x2, y2 = tight_boxes(mask[None])[0].astype(int)
    assert mask[(y1 + y2) // 2, (x1 + x2) // 2] == 0 and mask[(y1 + y2) // 2, x1 + 1] == 1


def test_written_data_set_is_the_same(tmp_path):
    shapes = ShapesDataset(6, image_size=(90, 110), data_seed=2)
    ann_file = shapes.write(tmp_path)
    loaded = CocoDataset(str(ann_file), str(tmp_path / "images"), with_masks=True)
    assert loaded.classes == shapes.classes and len(loaded) == 6
    for ours, theirs in zip(shapes, loaded, strict=True):
        assert ours.image_id == theirs.image_id
        for name in ("image", "boxes", "labels", "annotation_ids"):
            assert (getattr(ours, name) == getattr(theirs, name)).all()
        assert (ours.masks.bitmaps() == theirs.masks.bitmaps()).all()
    assert loaded.coco_dict() == json.loads(ann_file.read_text()) == shapes.coco_dict()
