from dataclasses import replace

import numpy as np
import pytest

from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.rng import AUGMENTATION, ORDER, generator
from mmdet_lite.data.sample import SampleRef
from mmdet_lite.random_keys import image_key


def add_noise(sample, rng):
    return replace(sample, image=rng.integers(0, 256, sample.image.shape, dtype=np.uint8))


@pytest.fixture
def make_dataset(sample):
    class OneImage(DetectionDataset):
        def __len__(self):
            return 3

        def load(self, index):
            return replace(sample, index=index)

    return lambda pipeline=(), seed=4: OneImage(("a", "b", "c", "d"), (1, 2, 3, 4), pipeline, seed)


def test_augmentation_depends_on_seed_epoch_and_index_only(make_dataset):
    dataset = make_dataset([add_noise])
    reference = dataset[SampleRef(index=1, epoch=2, iteration=9, slot=3)].image
    assert (dataset[SampleRef(1, 2, 10, 0)].image == reference).all()
    assert (make_dataset([add_noise])[SampleRef(1, 2)].image == reference).all()
    for other in (SampleRef(2, 2, 9, 3), SampleRef(1, 3, 9, 3)):
        assert (dataset[other].image != reference).any()
    assert (make_dataset([add_noise], seed=5)[SampleRef(1, 2)].image != reference).any()


def test_transforms_share_one_generator(make_dataset):
    once, twice = make_dataset([add_noise])[0], make_dataset([add_noise, add_noise])[0]
    assert (once.image != twice.image).any()


def test_key_depends_on_iteration_and_slot(make_dataset):
    sample = make_dataset()[SampleRef(index=1, epoch=2, iteration=9, slot=3)]
    assert sample.slot == 3 and sample.key == image_key(4, 9, 3)
    assert make_dataset()[1].key == image_key(4, 0, 0)


def test_index_outside_is_an_error_and_iteration_ends(make_dataset):
    with pytest.raises(IndexError, match="index 3 of a data set of 3 images"):
        make_dataset()[3]
    assert [sample.index for sample in make_dataset()] == [0, 1, 2]


def test_transform_that_returns_nothing_is_named(make_dataset):
    def forgetful(sample, rng):
        sample.flip = "horizontal"

    with pytest.raises(TypeError, match="transform forgetful returned None, expected a Sample"):
        make_dataset([forgetful])[0]


def test_streams_of_randomness_are_independent():
    a, b = generator(AUGMENTATION, 1, 2, 3), generator(ORDER, 1, 2, 3)
    assert a.integers(1 << 60) != b.integers(1 << 60)
    assert generator(ORDER, 1, 2).random() == generator(ORDER, 1, 2).random()
