import copy

import pytest
import torch

from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.sample import SampleRef
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.data.subset import SubsetDataset
from mmdet_lite.data.transforms import RandomFlip
from mmdet_lite.data.wrappers import ConcatDataset, RepeatDataset
from mmdet_lite.evaluation.coco_metric import CocoMetric
from mmdet_lite.registry import DATASETS, build
from mmdet_lite.structures.samples import Detections, ImageMeta


def shapes(num_images=40, pipeline=(), data_seed=0):
    return ShapesDataset(num_images, (48, 64), data_seed, pipeline)


@pytest.fixture
def make_coco(write_coco, coco):
    """A CocoDataset of the image ids 9 (a cat) and 5 (a dog, a cat, a crowd of dogs)."""

    def make(change=lambda content: None, **options):
        content = copy.deepcopy(coco)
        change(content)
        return CocoDataset(**write_coco(content), **options)

    return make


def ids(dataset):
    return [dataset.image_id_of(index) for index in range(len(dataset))]


def test_images_of_a_class_come_with_all_their_objects(make_coco):
    whole = make_coco()
    dogs = SubsetDataset(whole, classes=["dog"])
    assert len(dogs) == 1 and dogs.classes == ("cat", "dog") and ids(dogs) == [5]
    sample = dogs[0]
    assert sample.image_id == 5 and sample.index == 0
    assert sample.labels.tolist() == dogs.labels_of(0).tolist() == [1, 0]
    assert len(sample.ignore_boxes) == 1
    assert dogs.image_sizes.tolist() == [[20, 30]]
    assert ids(SubsetDataset(whole, classes=["cat"])) == [9, 5]


def test_objects_of_other_classes_are_dropped_where_asked_for(make_coco):
    cats = SubsetDataset(make_coco(with_masks=True), classes=["cat"], other_objects="drop")
    assert [sample.labels.tolist() for sample in cats] == [[0], [0]]
    assert [sample.annotation_ids.tolist() for sample in cats] == [[102], [104]]
    assert [len(sample.masks) for sample in cats] == [1, 1]
    assert [cats.labels_of(i).tolist() for i in range(2)] == [[0], [0]]
    assert len(cats[1].ignore_boxes) == 1
    content = cats.coco_dict()
    assert [a["id"] for a in content["annotations"]] == [102, 104]
    assert [c["name"] for c in content["categories"]] == ["cat", "dog"]


def test_crowds_do_not_make_an_image_one_of_a_class(make_coco):
    def only_a_crowd(content):
        content["annotations"] = [a for a in content["annotations"] if a["id"] in (102, 103)]

    with pytest.raises(
        ValueError, match=r"none of 2 images has an object of the classes \['dog'\]"
    ):
        SubsetDataset(make_coco(only_a_crowd), classes=["dog"])


def test_a_smaller_fraction_is_a_part_of_a_larger_one():
    whole = shapes(40)
    parts = [ids(SubsetDataset(whole, fraction=f)) for f in (0.01, 0.1, 0.2, 0.5, 1.0)]
    assert [len(part) for part in parts] == [1, 4, 8, 20, 40]
    for small, large in zip(parts, parts[1:], strict=False):
        assert set(small) < set(large) and large == sorted(large)
    assert parts[1] == [6, 14, 26, 34]  # on every machine


def test_a_fraction_depends_on_ids_and_its_own_seed_only(make_coco):
    whole = shapes(40)
    tenth = ids(SubsetDataset(whole, fraction=0.1))
    assert ids(SubsetDataset(whole, fraction=0.1, seed=7)) == tenth
    assert ids(SubsetDataset(whole, fraction=0.1, subset_seed=1)) != tenth

    def reverse(content):
        content["images"].reverse()

    one, other = (SubsetDataset(make_coco(c), fraction=0.5) for c in (lambda _: None, reverse))
    assert ids(one) == ids(other) and one.rows.tolist() != other.rows.tolist()


def test_a_fraction_is_taken_of_the_images_with_the_classes():
    whole = shapes(40)
    stars = SubsetDataset(whole, classes=["star"])
    half = SubsetDataset(whole, classes=["star"], fraction=0.5)
    assert set(ids(half)) < set(ids(stars)) and len(half) == round(len(stars) / 2)


def test_a_subset_is_evaluated_on_its_own_images(make_coco):
    dogs = SubsetDataset(make_coco(), classes=["dog"])
    content = dogs.coco_dict()
    assert [image["id"] for image in content["images"]] == [5]
    assert [a["id"] for a in content["annotations"]] == [101, 103, 104]
    metric = CocoMetric(["bbox"], classwise=True)
    metric.prepare(dogs)
    truth = dogs.load(0)
    found = Detections(
        boxes=torch.from_numpy(truth.boxes)[None],
        scores=torch.ones(1, 2),
        labels=torch.from_numpy(truth.labels)[None],
        valid=torch.ones(1, 2, dtype=torch.bool),
        masks=None,
    )
    metric.process(found, [ImageMeta(5, "", 0, 0, (20, 30), (20, 30), (1.0, 1.0), "")])
    values = metric.compute(metric.results())
    assert values["bbox_AP/dog"] == pytest.approx(1)
    with pytest.raises(ValueError, match="RepeatDataset cannot be evaluated"):
        SubsetDataset(RepeatDataset(make_coco(), 2), fraction=0.5).coco_dict()


def test_a_subset_has_the_pipeline_and_random_numbers_of_its_own_place():
    whole = shapes(40, [RandomFlip(1.0)])
    subset = SubsetDataset(whole, fraction=0.1, seed=3)
    row = subset.rows[2]
    assert subset[SampleRef(2)].flip == "horizontal"
    assert (subset.load(2).image == whole.load(row).image).all()
    assert subset.transforms_of(2) is whole.pipeline


def test_subsets_are_built_nested_with_other_data_sets():
    leaf = dict(type="ShapesDataset", num_images=10, image_size=(48, 64))
    half = dict(type="SubsetDataset", fraction=0.5, dataset=leaf)
    twice = dict(type="RepeatDataset", times=2, dataset=half)
    dataset = build(dict(type="ConcatDataset", datasets=[twice, leaf]), DATASETS, seed=3)
    assert len(dataset) == 20 and isinstance(dataset, ConcatDataset)
    assert ids(dataset)[:5] == ids(dataset)[5:10] and ids(dataset)[10:] == list(range(1, 11))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give classes, fraction or both"),
        ({"fraction": 0}, "fraction must be above 0 and up to 1, got 0"),
        ({"fraction": 1.5}, "fraction must be above 0 and up to 1, got 1.5"),
        ({"classes": []}, "classes is empty"),
        ({"classes": "star"}, r"write \['star'\]"),
        ({"classes": ["stra"]}, r"no classes \['stra'\]; it has \['circle', 'square'"),
        ({"fraction": 0.5, "other_objects": "drop"}, "other_objects='drop' needs classes"),
        ({"classes": ["star"], "other_objects": "no"}, "must be 'keep' or 'drop', got 'no'"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=f"SubsetDataset: .*{message}"):
        SubsetDataset(shapes(3), **options)
