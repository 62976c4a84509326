"""The still picture: its panels, and what is marked in them."""

from __future__ import annotations

import numpy as np

from mmdet_lite.assignment.picture import draw_scene
from mmdet_lite.assignment.scene import Frame, Scene, System
from mmdet_lite.visualization.palette import class_color


def _scene(systems: list[System], boxes: np.ndarray) -> Scene:
    labels = np.zeros(len(boxes), np.int64)
    image = np.full((64, 64, 3), 40, np.uint8)
    return Scene(image, boxes, labels, np.zeros((0, 4)), ["thing"], "", systems)


def _boxes(one) -> np.ndarray:
    return one.batch.gt.boxes[0][one.batch.gt.valid[0]].numpy()


def test_a_panel_for_each_stage_and_each_weights(captive):
    one = captive("mask-rcnn")
    frame = Frame("untrained", one.stages(0))
    single = draw_scene(_scene([System("m", [frame])], _boxes(one)))
    assert single.shape[1] == 1000 and 2000 < single.shape[0] < 2200  # two panels of 1000 x 1000
    strip = draw_scene(_scene([System("m", [frame] * 3)], _boxes(one)))
    assert 1800 < strip.shape[1] < 1900  # three of 600


def test_positives_have_the_colour_of_their_object(captive):
    one = captive("yolov8-max-iou")
    picture = draw_scene(_scene([System("m", [Frame("x", one.stages(0))])], _boxes(one)))
    for gt in range(len(_boxes(one))):
        assert (picture == class_color(gt)).all(axis=2).sum() > 500


def test_without_objects_there_is_a_picture(captive):
    one = captive("yolov8")
    stage = one.stages(0)[0]
    empty = {
        name: value[:0] for name, value in vars(stage).items() if isinstance(value, np.ndarray)
    }
    empty |= {"sizes": stage.sizes}
    bare = type(stage)(**(vars(stage) | empty))
    picture = draw_scene(_scene([System("m", [Frame("x", [bare])])], np.zeros((0, 4))))
    assert picture.shape[1] == 1000
