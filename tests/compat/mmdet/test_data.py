"""Pipelines, data sets and loaders as MMDetection's configs write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmdet_lite.compat.mmdet.data import Pipeline, dataset, eval_data, metric, train_data
from mmdet_lite.compat.mmdet.models import detector
from mmdet_lite.compat.mmdet.read import Notes, Section
from mmdet_lite.data.formats import recognise
from mmdet_lite.data.formats.voc import VOC_CLASSES
from mmdet_lite.registry import DATASETS, METRICS, TRANSFORMS, build, find_class

LOAD = [
    dict(type="LoadImageFromFile", backend_args=None),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
]
PACK = dict(type="PackDetInputs")
COCO = dict(
    type="CocoDataset",
    data_root="data/coco/",
    ann_file="annotations/train.json",
    data_prefix=dict(img="train2017/"),
)
NATIVE_COCO = dict(
    type="CocoDataset",
    ann_file="data/coco/annotations/train.json",
    image_dir="data/coco/train2017/",
    bad_annotations="skip",
)


@pytest.fixture
def notes():
    return Notes()


@pytest.fixture
def translate(notes):
    """Translate a data set for training; nothing may be left over."""

    def run(content, is_train=True):
        native = dataset(Section(content, "dataset", notes), Pipeline(), is_train)
        notes.finish()
        assert not notes.problems, notes.problems
        return native

    return run


@pytest.fixture
def translate_steps(translate):
    """Translate transforms; every one that comes out can be built."""

    def run(*steps):
        native = translate(COCO | dict(pipeline=[*LOAD, *steps, PACK]))["pipeline"]
        for transform in native:
            build(transform, TRANSFORMS)
        return native

    return run


@pytest.fixture
def problems(notes):
    """What cannot be translated of a data set."""

    def run(content):
        dataset(Section(content, "dataset", notes), Pipeline(), True)
        notes.finish()
        return notes.problems

    return run


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (
            dict(type="Resize", scale=(1333, 800), keep_ratio=True),
            dict(type="Resize", scale=(1333, 800)),
        ),
        (
            dict(type="Resize", scale=(640, 640)),
            dict(type="Resize", scale=(640, 640), keep_ratio=False),
        ),
        (
            dict(type="RandomResize", scale=[(1333, 640), (1333, 800)], keep_ratio=True),
            dict(type="RandomResize", scale=[(1333, 640), (1333, 800)]),
        ),
        (
            dict(
                type="RandomResize",
                scale=(1024, 1024),
                ratio_range=(0.1, 2.0),
                resize_type="mmdet.Resize",
                keep_ratio=True,
            ),
            dict(type="RandomResize", scale=(1024, 1024), ratio_range=(0.1, 2.0)),
        ),
        (
            dict(type="RandomResize", scale=640, ratio_range=[0.5, 2.0]),
            dict(type="RandomResize", scale=(640, 640), ratio_range=(0.5, 2.0), keep_ratio=False),
        ),
        (
            dict(type="RandomChoiceResize", scales=[(480, 1333), (512, 1333)], keep_ratio=True),
            dict(type="RandomChoiceResize", scales=[(480, 1333), (512, 1333)]),
        ),
        (dict(type="RandomFlip", prob=0.5), dict(type="RandomFlip", prob=0.5)),
        (
            dict(
                type="RandomCrop",
                crop_type="absolute",
                crop_size=(1024, 768),
                recompute_bbox=True,
                allow_negative_crop=True,
            ),
            dict(type="RandomCrop", crop_size=(1024, 768), allow_negative_crop=True),
        ),
        (
            dict(type="mmdet.RandomCrop", crop_type="absolute_range", crop_size=(384, 600)),
            dict(type="RandomCrop", crop_type="absolute_range", crop_size=(384, 600)),
        ),
        (
            dict(type="RandomCrop", crop_type="relative_range", crop_size=(0.3, 0.5)),
            dict(type="RandomCrop", crop_type="relative_range", crop_size=(0.3, 0.5)),
        ),
        (
            dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-2, 2), keep_empty=False),
            dict(type="FilterAnnotations", min_size=(1e-2, 2)),
        ),
        (
            dict(type="FilterAnnotations", by_mask=False),
            dict(type="FilterAnnotations", min_size=(1.0, 1.0)),
        ),
        (
            dict(type="Pad", size=(1024, 1024), pad_val=dict(img=(114, 114, 114))),
            dict(type="Pad", size=(1024, 1024), pad_val=114),
        ),
        (
            dict(type="Pad", pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0))),
            dict(type="Pad", pad_to_square=True, pad_val=114),
        ),
        (dict(type="Pad", size_divisor=32), dict(type="Pad", size_divisor=32)),
        (
            dict(type="PhotoMetricDistortion", brightness_delta=16),
            dict(type="PhotometricDistortion", brightness_delta=16),
        ),
        (
            dict(
                type="CopyPaste",
                max_num_pasted=20,
                bbox_occluded_thr=5,
                mask_occluded_thr=100,
                selected=False,
                paste_by_box=True,
            ),
            dict(
                type="CopyPaste",
                max_num_pasted=20,
                bbox_occluded_thr=5,
                mask_occluded_thr=100,
                selected=False,
                paste_by_box=True,
            ),
        ),
        (dict(type="CopyPaste"), dict(type="CopyPaste")),
        (
            dict(
                type="Mosaic",
                img_scale=(640, 480),
                center_ratio_range=(0.6, 1.4),
                pad_val=114.0,
                prob=0.5,
            ),
            dict(
                type="Mosaic",
                size=(640, 480),
                center_ratio_range=(0.6, 1.4),
                pad_val=114,
                prob=0.5,
            ),
        ),
        (dict(type="Mosaic"), dict(type="Mosaic")),
    ],
    ids=lambda value: value["type"],
)
def test_transforms(translate_steps, theirs, ours):
    assert translate_steps(theirs) == [ours]


def test_a_choice_of_several_ways(translate_steps):
    """The training pipeline of DETR and its successors."""
    scales = [(480, 1333), (800, 1333)]
    whole = [dict(type="RandomChoiceResize", scales=scales, keep_ratio=True)]
    cropped = [
        dict(type="RandomChoiceResize", scales=[(400, 4200)], keep_ratio=True),
        dict(
            type="RandomCrop",
            crop_type="absolute_range",
            crop_size=(384, 600),
            allow_negative_crop=True,
        ),
        *whole,
    ]
    resize = dict(type="RandomChoiceResize", scales=scales)
    crop = dict(type="RandomCrop", crop_size=(384, 600), crop_type="absolute_range")
    assert translate_steps(dict(type="RandomChoice", transforms=[whole, cropped])) == [
        dict(
            type="RandomChoice",
            transforms=[
                [resize],
                [
                    dict(type="RandomChoiceResize", scales=[(400, 4200)]),
                    crop | dict(allow_negative_crop=True),
                    resize,
                ],
            ],
        )
    ]
    single = dict(type="RandomChoice", transforms=[whole[0], cropped[:1]], prob=[0.3, 0.7])
    choice = translate_steps(single)[0]
    assert choice["prob"] == [0.3, 0.7] and choice["transforms"][0] == [resize]


def test_two_scales_make_a_ratio_range_ineffective(translate_steps, notes):
    scales = [(1333, 640), (1333, 800)]
    step = dict(type="RandomResize", scale=scales, ratio_range=(0.1, 2.0), keep_ratio=True)
    assert translate_steps(step) == [dict(type="RandomResize", scale=scales)]
    assert notes.without_effect["dataset.pipeline.2.ratio_range"] == "only with one scale"


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (
            dict(type="RandomResize", scale=(1333, 800)),
            "dataset.pipeline.0.ratio_range is missing; one scale needs it",
        ),
        (
            dict(type="Pad", size_divisor=32, pad_val=dict(img=(1, 2, 3))),
            "dataset.pipeline.0.pad_val is {'img': (1, 2, 3)}, and only one whole number",
        ),
        (dict(type="FilterAnnotations", by_mask=True), "dataset.pipeline.0.by_mask is True"),
        (dict(type="Mosaic", bbox_clip_border=False), "dataset.pipeline.0.bbox_clip_border is"),
        (
            dict(type="RandomChoice", transforms=[[dict(type="Rotate")]]),
            "dataset.pipeline.0.transforms.0.0.type is 'Rotate', which is no transform",
        ),
        (
            dict(type="CopyPaste", max_num_paste=3),
            "dataset.pipeline.0.max_num_paste = 3 is no known key of CopyPaste; did you mean "
            "'max_num_pasted'?",
        ),
    ],
)
def test_what_cannot_be_translated_is_named(problems, step, problem):
    found = problems(COCO | dict(pipeline=[step]))
    assert len(found) == 1 and found[0].startswith(problem)


def test_coco_data_set(translate):
    theirs = COCO | dict(
        pipeline=[*LOAD, PACK],
        metainfo=dict(classes=("a", "b"), palette=[(1, 2, 3)] * 2),
        filter_cfg=dict(filter_empty_gt=True, min_size=32),
        indices=100,
        backend_args=None,
    )
    ours = NATIVE_COCO | dict(metainfo=dict(classes=("a", "b")), with_masks=True, indices=100)
    ours["pipeline"] = []
    filters = dict(filter_empty_gt=True, min_size=32)
    assert translate(theirs) == ours | filters
    assert translate(theirs, is_train=False) == ours
    accepts = find_class("CocoDataset", (DATASETS,)).__init__.__annotations__
    assert (ours | filters).keys() - {"type"} <= accepts.keys()


def test_data_sets_made_of_others(translate):
    coco = COCO | dict(pipeline=[LOAD[0]])
    other = coco | dict(ann_file="annotations/other.json")
    native = NATIVE_COCO | dict(pipeline=[])
    native_other = native | dict(ann_file="data/coco/annotations/other.json")
    assert translate(dict(type="RepeatDataset", times=4, dataset=coco)) == dict(
        type="RepeatDataset", times=4, dataset=native
    )
    balanced = dict(type="ClassBalancedDataset", oversample_thr=1e-3, dataset=coco)
    assert translate(balanced) == dict(
        type="ClassBalancedDataset", oversample_thr=1e-3, dataset=native
    )
    concat = dict(type="ConcatDataset", datasets=[coco, balanced, other], ignore_keys=["a"])
    assert translate(concat) == dict(
        type="ConcatDataset",
        datasets=[
            native,
            dict(type="ClassBalancedDataset", oversample_thr=1e-3, dataset=native),
            native_other,
        ],
    )


def test_images_without_objects_are_no_class_of_their_own(problems):
    balanced = dict(type="ClassBalancedDataset", oversample_thr=1e-3, filter_empty_gt=False)
    found = problems(balanced | dict(dataset=COCO | dict(pipeline=[])))
    assert found == ["dataset.filter_empty_gt is False, and only True is supported"]


def test_large_scale_jitter_with_copy_paste(translate, notes):
    """As in MMDetection's configs/simple_copy_paste."""
    size = (1024, 1024)
    jitter = [
        dict(
            type="RandomResize",
            scale=size,
            ratio_range=(0.1, 2.0),
            resize_type="Resize",
            keep_ratio=True,
        ),
        dict(
            type="RandomCrop",
            crop_type="absolute",
            crop_size=size,
            recompute_bbox=True,
            allow_negative_crop=True,
        ),
        dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-2, 1e-2)),
        dict(type="RandomFlip", prob=0.5),
        dict(type="Pad", size=size, pad_val=dict(img=(114, 114, 114))),
    ]
    theirs = dict(
        type="MultiImageMixDataset",
        dataset=COCO
        | dict(pipeline=LOAD + jitter, filter_cfg=dict(filter_empty_gt=True, min_size=32)),
        pipeline=[dict(type="CopyPaste", max_num_pasted=100), PACK],
        max_refetch=15,
    )
    native = translate(theirs)
    assert native == NATIVE_COCO | dict(
        with_masks=True,
        filter_empty_gt=True,
        min_size=32,
        pipeline=[
            dict(type="RandomResize", scale=size, ratio_range=(0.1, 2.0)),
            dict(type="RandomCrop", crop_size=size, allow_negative_crop=True),
            dict(type="FilterAnnotations", min_size=(1e-2, 1e-2)),
            dict(type="RandomFlip", prob=0.5),
            dict(type="Pad", size=size, pad_val=114),
            dict(type="CopyPaste", max_num_pasted=100),
        ],
    )
    assert "dataset.max_refetch" in notes.without_effect


def test_mixing_goes_into_every_data_set_inside(translate):
    flip = dict(type="RandomFlip", prob=0.5)
    coco = COCO | dict(pipeline=[LOAD[0], flip])
    joined = dict(
        type="ConcatDataset", datasets=[coco, dict(type="RepeatDataset", times=2, dataset=coco)]
    )
    mixed = dict(type="MultiImageMixDataset", dataset=joined, pipeline=[dict(type="Mosaic"), PACK])
    native = NATIVE_COCO | dict(pipeline=[flip, dict(type="Mosaic")])
    assert translate(mixed) == dict(
        type="ConcatDataset",
        datasets=[native, dict(type="RepeatDataset", times=2, dataset=native)],
    )


def test_loaders(notes):
    repeated = dict(type="RepeatDataset", times=3, dataset=COCO | dict(pipeline=[*LOAD, PACK]))
    loader = dict(
        batch_size=2,
        num_workers=4,
        persistent_workers=True,
        sampler=dict(type="DefaultSampler", shuffle=True),
        batch_sampler=dict(type="AspectRatioBatchSampler"),
        dataset=repeated,
    )
    native, pipeline = train_data(Section(loader, "train_dataloader", notes))
    assert pipeline.with_masks and not pipeline.polygons
    assert native == dict(
        batch_size=2,
        num_workers=4,
        dataset=dict(
            type="RepeatDataset",
            times=3,
            dataset=NATIVE_COCO | dict(with_masks=True, pipeline=[]),
        ),
    )
    del loader["batch_sampler"]
    native, _ = train_data(Section(loader, "train_dataloader", notes))
    assert native["group_by_aspect"] is False
    notes.finish()
    assert not notes.problems


@pytest.mark.parametrize("with_masks", [True, False])
def test_evaluation_loads_masks_where_they_are_measured(notes, with_masks):
    joined = dict(type="ConcatDataset", datasets=[COCO | dict(pipeline=LOAD, test_mode=True)])
    loader = dict(dataset=joined, sampler=dict(type="DefaultSampler", shuffle=False))
    native = eval_data(Section(loader, "val_dataloader", notes), with_masks)
    assert native["dataset"]["datasets"][0].get("with_masks", False) is with_masks
    notes.finish()
    assert not notes.problems


def test_fixed_padding_is_that_of_the_training_data(notes):
    preprocessor = dict(
        type="DetDataPreprocessor",
        pad_mask=True,
        pad_size_divisor=64,
        batch_augments=[dict(type="BatchFixedSizePad", size=(512, 1024), pad_mask=True)],
    )
    model = dict(type="Unknown", data_preprocessor=preprocessor)
    _, settings = detector(Section(model, "model", notes), "roi_align")
    assert settings == dict(size_divisor=64, pad_size=(1024, 512))  # theirs is (height, width)


def test_pascal_voc_is_read_from_its_lists(translate, notes):
    part = dict(
        type="VOCDataset",
        data_root="data/VOCdevkit/",
        ann_file="VOC2007/ImageSets/Main/trainval.txt",
        data_prefix=dict(sub_data_root="VOC2007/"),
        filter_cfg=dict(filter_empty_gt=True, min_size=32, bbox_min_size=32),
        pipeline=[],
        backend_args=None,
    )
    concat = dict(type="ConcatDataset", ignore_keys=["dataset_type"], datasets=[part])
    native = translate(dict(type="RepeatDataset", times=3, dataset=concat))
    (ours,) = native["dataset"]["datasets"]
    assert ours == dict(
        type="CocoDataset",
        ann_file="data/VOCdevkit/VOC2007/ImageSets/Main/trainval.txt",
        image_dir="data/VOCdevkit/VOC2007/JPEGImages",
        metainfo=dict(classes=VOC_CLASSES),
        bad_annotations="skip",
        filter_empty_gt=True,
        min_size=32,
        pipeline=[],
    )
    assert recognise(Path(ours["ann_file"])) == "voc"
    path = "dataset.dataset.datasets.0.filter_cfg.bbox_min_size"
    assert notes.otherwise == {path: "32: small boxes count like others"}


def test_lvis_is_read_as_the_json_that_it_is(translate):
    lvis = dict(
        type="LVISV1Dataset",
        data_root="data/coco/",
        ann_file="annotations/lvis_v1_val.json",
        data_prefix=dict(img=""),
        pipeline=[],
    )
    native = translate(dict(type="ClassBalancedDataset", oversample_thr=1e-3, dataset=lvis))
    files = {key: native["dataset"][key] for key in ("ann_file", "image_dir")}
    assert files == dict(ann_file="data/coco/annotations/lvis_v1_val.json", image_dir="data/coco")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (dict(type="VOCMetric", metric="mAP"), dict(mode="11points")),
        (
            dict(type="VOCMetric", eval_mode="area", iou_thrs=[0.5, 0.75]),
            dict(iou_thrs=[0.5, 0.75]),
        ),
        (
            dict(type="LVISMetric", ann_file="v.json", metric=["bbox", "segm"], classwise=True),
            dict(metrics=["bbox", "segm"], classwise=True),
        ),
    ],
)
def test_evaluators(notes, theirs, ours):
    native = metric(Section(theirs, "val_evaluator", notes), dict(dataset=dict(ann_file="v.json")))
    notes.finish()
    assert not notes.problems
    assert native == dict(type=theirs["type"]) | ours
    build(native, METRICS)


def test_the_recall_of_voc_is_not_measured(notes):
    metric(Section(dict(type="VOCMetric", metric="recall"), "val_evaluator", notes), {})
    assert notes.problems == [
        "val_evaluator.metric is 'recall', and only 'mAP' or ['mAP'] is supported"
    ]
