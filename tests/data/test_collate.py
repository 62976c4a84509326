from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmdet_lite.data.collate import Collate
from mmdet_lite.data.geometry import resize


@pytest.fixture
def other(sample):
    """Half the size, one object, no ignore box."""
    other = resize(sample, (30, 20)).select(np.array([1]))
    other = replace(other, ignore_boxes=np.zeros((0, 4), dtype=np.float32))
    return replace(other, image_id=8, index=5, slot=1, key=99)


def test_images_are_padded_with_zeros_below_and_to_the_right(sample, other):
    batch = Collate(size_divisor=16)([sample, other])
    assert batch.images.shape == (2, 3, 48, 64) and batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous()
    assert batch.shapes.tolist() == [[40, 60], [20, 30]]
    assert batch.pad_shapes.tolist() == [[48, 64], [32, 32]]
    assert (batch.images[1, :, :20, :30].permute(1, 2, 0).numpy() == other.image).all()
    assert batch.images[1, :, 20:].sum() == 0 and batch.images[1, :, :, 30:].sum() == 0


def test_batches_have_at_least_the_size_asked_for(sample, other):
    batch = Collate(16, "bitmaps", pad_size=(100, 32))([sample, other])
    assert batch.images.shape == (2, 3, 48, 112)  # multiples of the divisor; 48 are needed
    assert batch.gt.masks.shape == (2, 2, 48, 112)
    assert batch.shapes.tolist() == [[40, 60], [20, 30]]
    assert batch.pad_shapes.tolist() == [[48, 112], [32, 112]]
    assert batch.images[:, :, :, 60:].sum() == 0
    assert Collate(16, pad_size=(8, 8))([other]).images.shape == (1, 3, 32, 32)


@pytest.mark.parametrize("pad_size", [1024, (1024,), (1024, 0), (1024.0, 1024), "ab"])
def test_wrong_pad_sizes_are_named(pad_size):
    with pytest.raises(ValueError, match="pad_size must be two positive integers"):
        Collate(pad_size=pad_size)


def test_ground_truth_is_padded_with_invalid_rows(sample, other):
    gt = Collate()([sample, other]).gt
    assert gt.boxes.tolist()[1] == [[20, 5, 28, 15], [0, 0, 0, 0]]
    assert gt.labels.tolist() == [[3, 1], [1, 0]] and gt.labels.dtype == torch.int64
    assert gt.valid.tolist() == [[True, True], [True, False]]
    assert gt.ignore_boxes.tolist() == [[[0, 30, 20, 40]], [[0, 0, 0, 0]]]
    assert gt.ignore_valid.tolist() == [[True], [False]]
    assert gt.masks is None


def test_metas_and_keys_follow_the_samples(sample, other):
    batch = Collate()([sample, other])
    assert batch.keys.tolist() == [0, 99] and batch.keys.dtype == torch.int64
    meta = batch.metas[1]
    assert (meta.image_id, meta.index, meta.slot, meta.file) == (8, 5, 1, "seven.png")
    assert (meta.ori_shape, meta.shape, meta.scale_factor) == ((40, 60), (20, 30), (0.5, 0.5))


def test_bitmaps_have_the_padded_size(sample, other):
    packed = Collate(size_divisor=16, masks="bitmaps")([sample, other]).gt.masks
    assert packed.shape == (2, 2, 48, 64) and packed.bits.shape == (2, 2, 48, 8)
    masks = packed.unpack()
    assert (masks[0, :, :40, :60].numpy() == sample.masks.bitmaps()).all()
    assert (masks[1, 0, :20, :30].numpy() == other.masks.bitmaps()[0]).all()
    assert masks[1, 1].sum() == 0 and masks[:, :, 40:].sum() == 0


def test_workers_pad_with_zeros_where_memory_was_used_before(sample):
    """The second batch is smaller than the first one, whose memory is free by then."""
    loader = DataLoader(
        [sample, sample.select([0])],
        batch_size=1,
        num_workers=1,
        collate_fn=Collate(masks="bitmaps"),
    )
    for batch in loader:
        assert batch.images.is_shared() and batch.gt.masks.bits.is_shared()
        assert batch.images[..., 40:, :].sum() == batch.images[..., 60:].sum() == 0
        assert (batch.images[0, :, :40, :60].numpy() == sample.image.transpose(2, 0, 1)).all()
        rows = batch.gt.masks.shape[1]
        assert batch.gt.masks.unpack().sum() == sample.masks.bitmaps()[:rows].sum()


def test_lazy_masks_stay_as_they_are(sample, other):
    masks = Collate(masks="lazy")([sample, other]).gt.masks
    assert [m.size for m in masks] == [(40, 60), (20, 30)]
    assert isinstance(masks[0].shapes[0], list)  # a polygon


def test_batch_without_any_objects_has_one_padded_row(sample):
    empty = sample.select(np.zeros(2, dtype=bool))
    empty = replace(empty, ignore_boxes=np.zeros((0, 4), dtype=np.float32))
    gt = Collate(masks="bitmaps")([empty, empty]).gt
    assert gt.boxes.shape == (2, 1, 4) and gt.ignore_boxes.shape == (2, 1, 4)
    assert gt.masks.shape == (2, 1, 64, 64)
    assert not gt.valid.any() and not gt.ignore_valid.any()


def test_missing_masks_are_an_error(sample):
    with pytest.raises(ValueError, match=r"images \[7\] come without.*with_masks=True"):
        Collate(masks="bitmaps")([replace(sample, masks=None)])
    with pytest.raises(ValueError, match="'bitmaps', 'lazy' or None, got 'polygons'"):
        Collate(masks="polygons")
