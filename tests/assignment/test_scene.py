"""A scene in words: the table, and who leaves which object out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmdet_lite.assignment.scene import Frame, Scene, System, comparison, describe_scene, tally


@pytest.fixture
def scene(captive):
    """The first image of a captured step, by one or two systems."""

    def make(*systems: str) -> Scene:
        one = captive(systems[0])
        gt = one.batch.gt
        valid = gt.valid[0].numpy()
        return Scene(
            image=np.zeros((64, 64, 3), np.uint8),
            boxes=gt.boxes[0].numpy()[valid],
            labels=gt.labels[0].numpy()[valid],
            ignore_boxes=np.zeros((0, 4)),
            classes=list("abcdef"),
            place="somewhere",
            systems=[
                System(name, [Frame("untrained", captive(name).stages(0))]) for name in systems
            ],
        )

    return make


def test_table_has_a_line_for_each_object_and_level(scene):
    one = scene("yolov8")
    text = describe_scene(one)
    (stage,) = one.systems[0].frames[0].stages
    header, *rows = text.splitlines()[3:-1]
    assert header.split() == [
        "object",
        "size",
        "/8",
        "/16",
        "/32",
        "positives",
        "best",
        "IoU",
        "weight",
    ]
    counts = [[int(x) for x in row.split()[3:6]] for row in rows]
    assert counts == stage.positives().tolist()
    assert text.splitlines()[-1].strip() == tally(stage)


def test_tally_adds_up(scene):
    for stage in scene("mask-rcnn").systems[0].frames[0].stages:
        numbers = [int(part.split()[0]) for part in tally(stage).split(", ") if part[0].isdigit()]
        assert sum(numbers) == stage.sizes.sum()


def _without(system: System, gt: int) -> System:
    """A system whose dense head gives nothing to a ground truth."""
    stage = system.frames[0].stages[0]
    keep = stage.gt != gt
    columns = ("status", "gt", "score", "weight", "level", "boxes", "iou")
    columns += ("predicted", "predicted_iou", "ids", "is_gt")
    stage = replace(stage, **{name: getattr(stage, name)[keep] for name in columns})
    return System(system.name, [Frame("untrained", [stage])])


def test_objects_that_one_of_two_leaves_out_are_named(scene):
    one = scene("yolov8", "yolov8-max-iou")
    assert comparison(one) == ["Every object has positives in both."]
    name = one.names[0]
    one.systems[1] = _without(one.systems[1], 0)
    assert comparison(one) == [f"Without a positive in yolov8-max-iou only: {name}"]
    assert "none" in describe_scene(one)
    one.systems[0] = _without(one.systems[0], 0)
    assert comparison(one) == [f"Without a positive in both: {name}"]
