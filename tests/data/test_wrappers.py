import json
import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.loader import build_eval_loader, build_train_loader
from mmdet_lite.data.mixing import CopyPaste, Mosaic
from mmdet_lite.data.pipeline import RandomChoice
from mmdet_lite.data.sample import SampleRef
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.data.transforms import RandomCrop, RandomFlip, RandomResize
from mmdet_lite.data.wrappers import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmdet_lite.evaluation.coco_metric import CocoMetric
from mmdet_lite.registry import DATASETS, build


def noise(sample, rng):
    return replace(sample, image=rng.integers(0, 256, sample.image.shape, dtype=np.uint8))


def shapes(num_images=3, size=(48, 64), pipeline=(), data_seed=0):
    return ShapesDataset(num_images, size, data_seed, pipeline)


@pytest.fixture
def make_coco(write_coco, coco):
    """A CocoDataset of image ids 9 and 5, and others with changed files."""

    def make(change=lambda content: None, **options):
        content = json.loads(json.dumps(coco))
        change(content)
        return CocoDataset(**write_coco(content), **options)

    return make


def move_ids(content):
    """Other image and category ids, classes in the same order."""
    for image in content["images"]:
        image["id"] += 100
    for category in content["categories"]:
        category["id"] += 1000
    for annotation in content["annotations"]:
        annotation["image_id"] += 100
        annotation["category_id"] += 1000


def test_repeated_images_are_augmented_each_on_its_own():
    dataset = RepeatDataset(shapes(3, pipeline=[noise]), times=2, seed=4)
    assert len(dataset) == 6 and dataset.image_sizes.tolist() == [[48, 64]] * 6
    first, again = dataset[1], dataset[4]
    assert first.image_id == again.image_id == 2 and (first.index, again.index) == (1, 4)
    assert first.boxes.tolist() == again.boxes.tolist()
    assert (first.image != again.image).any()
    assert (dataset[SampleRef(4)].image == again.image).all()
    assert (dataset[SampleRef(4, epoch=1)].image != again.image).any()
    other_seed = RepeatDataset(shapes(3, pipeline=[noise]), times=2, seed=5)
    assert (other_seed[4].image != again.image).any()


def test_the_first_round_is_the_data_set_itself():
    plain = ShapesDataset(3, (48, 64), pipeline=[noise], seed=4)
    repeated = RepeatDataset(shapes(3, pipeline=[noise]), times=2, seed=4)
    for index in range(3):
        assert (plain[index].image == repeated[index].image).all()
        assert plain[index].key == repeated[index].key


def test_concatenated_images_go_through_their_own_pipeline():
    first, second = shapes(2, pipeline=[RandomFlip(1.0)]), shapes(3, (32, 40), data_seed=1)
    dataset = ConcatDataset([first, second], seed=4)
    assert len(dataset) == 5 and dataset.classes == first.classes
    assert dataset.image_sizes.tolist() == [[48, 64]] * 2 + [[32, 40]] * 3
    assert [sample.size for sample in dataset] == [(48, 64)] * 2 + [(32, 40)] * 3
    assert [sample.flip for sample in dataset] == ["horizontal"] * 2 + [""] * 3
    assert [sample.index for sample in dataset] == [0, 1, 2, 3, 4]
    assert (dataset[3].image == second.load(1).image).all()
    assert dataset.labels_of(3).tolist() == second.load(1).labels.tolist()


def test_partners_are_of_all_data_sets():
    pipeline = [Mosaic((64, 48))]
    parts = [shapes(1, pipeline=pipeline, data_seed=seed) for seed in range(2)]
    alone = RepeatDataset(parts[0], 2, seed=4)
    both = ConcatDataset(parts, seed=4)
    assert any(
        (alone[SampleRef(0, e)].image != both[SampleRef(0, e)].image).any() for e in range(3)
    )


def test_concatenated_classes_must_be_equal(make_coco):
    swapped = make_coco(metainfo={"classes": ("dog", "cat")})
    with pytest.raises(ValueError, match=r"\['cat', 'dog'\].*data set 1 are \['dog', 'cat'\]"):
        ConcatDataset([make_coco(), swapped])


def test_concatenated_ground_truth_has_the_first_ones_category_ids(make_coco):
    dataset = ConcatDataset([make_coco(), make_coco(move_ids)])
    assert dataset.category_ids == (44, 18)
    content = dataset.coco_dict()
    assert [image["id"] for image in content["images"]] == [9, 5, 109, 105]
    assert [sample.image_id for sample in dataset] == [9, 5, 109, 105]
    categories = [a["category_id"] for a in content["annotations"]]
    assert categories == [44, 18, 18, 44] * 2
    assert content["categories"] == [{"id": 44, "name": "cat"}, {"id": 18, "name": "dog"}]
    CocoMetric(["bbox"]).prepare(dataset)


def test_ground_truth_of_repeated_images_or_ids_is_refused(make_coco):
    with pytest.raises(ValueError, match="shows 2 images 4 times. Put the data set in it into"):
        RepeatDataset(make_coco(), 2).coco_dict()
    with pytest.raises(ValueError, match=r"2 image ids are those of several images, \[9, 5\]"):
        ConcatDataset([make_coco(), make_coco()]).coco_dict()
    assert RepeatDataset(make_coco(), 1).coco_dict() == make_coco().coco_dict()


def test_rare_classes_come_as_often_as_their_factor_says(make_coco):
    # Of 10 images, all have a dog and one of them a cat: f = 1 and 0.1. With t = 0.9 the factor of
    # cats is sqrt(9) = 3, with 0.91 it is 3.02 and the image comes 4 times.
    def ten(content):
        image, annotation = content["images"][0], content["annotations"][1]
        content["images"] = [image | {"id": key} for key in range(10)]
        dogs = [annotation | {"id": k, "image_id": k, "category_id": 18} for k in range(10)]
        cats = [annotation | {"id": k, "image_id": 7, "category_id": 44} for k in (70, 71)]
        content["annotations"] = dogs + cats

    dataset = make_coco(ten)
    for threshold, times in ((0.9, 3), (0.91, 4), (0.1, 1), (0.0, 1)):
        balanced = ClassBalancedDataset(dataset, threshold)
        expected = [0, 1, 2, 3, 4, 5, 6, *[7] * times, 8, 9]
        assert [balanced.load(i).image_id for i in range(len(balanced))] == expected
    assert len(ClassBalancedDataset(dataset, 1.0)) == 13


def test_images_without_objects_and_crowds_are_not_repeated(make_coco):
    def only_a_crowd(content):
        content["annotations"] = [a for a in content["annotations"] if a["iscrowd"]]

    balanced = ClassBalancedDataset(make_coco(only_a_crowd), 1.0)
    assert len(balanced) == 2 and len(balanced.load(1).ignore_boxes) == 1
    assert balanced.labels_of(1).tolist() == []
    # In the fixture's file cats are in both images and dogs in one: f = 0.5, factor sqrt(2).
    assert [s.image_id for s in ClassBalancedDataset(make_coco(), 1.0)] == [9, 5, 5]


def test_labels_of_are_those_of_the_loaded_image(make_coco):
    dataset = make_coco()
    for index in range(2):
        assert dataset.labels_of(index).tolist() == dataset.load(index).labels.tolist()


def test_wrappers_are_built_nested_and_seeded_by_the_run():
    leaf = dict(type="ShapesDataset", num_images=2, image_size=(48, 64))
    leaf["pipeline"] = [dict(type="RandomFlip"), dict(type="CopyPaste")]
    repeated = dict(type="RepeatDataset", times=2, dataset=leaf)
    cfg = dict(type="ConcatDataset", datasets=[repeated, leaf])
    dataset = build(cfg, DATASETS, seed=3)
    assert len(dataset) == 6 and dataset.seed == 3
    assert [sample.image_id for sample in dataset] == [1, 2, 1, 2, 1, 2]
    balanced = dict(type="ClassBalancedDataset", oversample_thr=0.5, dataset=cfg)
    assert len(build(balanced, DATASETS, seed=3)) >= 6
    copied = pickle.loads(pickle.dumps(dataset))
    assert (copied[5].image == dataset[5].image).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RepeatDataset(shapes(), 0), "times must be a whole number from 1 on, got 0"),
        (lambda: RepeatDataset(shapes(), 1.5), "times must be a whole number from 1 on, got 1.5"),
        (lambda: ConcatDataset([]), "datasets is empty"),
        (lambda: ClassBalancedDataset(shapes(), 2), "between 0 and 1, got 2"),
        (lambda: RepeatDataset(shapes(), 1, seed=-1), "RepeatDataset: seed must be 0 or larger"),
    ],
)
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# What a loader makes of wrapped data sets and mixing transforms

PIPELINE = [
    RandomResize((64, 64), ratio_range=(0.5, 2.0)),
    RandomCrop((40, 72), "absolute_range"),
    RandomChoice([[RandomFlip(), CopyPaste(mask_occluded_thr=30)], [Mosaic((64, 64))]]),
    CopyPaste(mask_occluded_thr=30),
]


def wrapped():
    parts = [shapes(3, pipeline=PIPELINE), shapes(2, pipeline=PIPELINE, data_seed=1)]
    return ConcatDataset([RepeatDataset(parts[0], 2), parts[1]], seed=5)


def assert_equal(first, second):
    assert first.metas == second.metas
    for name in ("images", "shapes", "pad_shapes", "keys"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    for name in ("boxes", "labels", "valid", "ignore_boxes", "ignore_valid"):
        assert torch.equal(getattr(first.gt, name), getattr(second.gt, name))
    assert torch.equal(first.gt.masks.unpack(), second.gt.masks.unpack())


def test_batches_do_not_depend_on_workers_or_interruptions():
    def load(num_workers, start=0, count=6):
        loader = build_train_loader(
            wrapped(), 3, num_workers, masks="bitmaps", start_iteration=start, pad_size=(160, 128)
        )
        return list(islice(loader, count))

    reference = load(0)
    for first, second in zip(reference, load(2), strict=True):
        assert_equal(first, second)
    for first, second in zip(reference[4:], load(0, start=4, count=2), strict=True):
        assert_equal(first, second)
    assert any(batch.gt.valid.sum() > 6 for batch in reference)
    assert all(batch.images.shape[2:] == (128, 160) for batch in reference)


def test_evaluation_loads_every_image_in_order():
    dataset = ConcatDataset([shapes(3), shapes(2, data_seed=1)])
    loader = build_eval_loader(dataset, batch_size=2, num_workers=1)
    assert [meta.index for batch in loader for meta in batch.metas] == [0, 1, 2, 3, 4]
