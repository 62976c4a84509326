"""Pictures and outlines for the page."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest
from evaluation_scenes import Scene

from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.evaluation.analysis import Analysis
from mmdet_lite.evaluation.matching import match
from mmdet_lite.evaluation.score_counts import image_counts
from mmdet_lite.evaluation.tide import find_errors
from mmdet_lite.visualization.report.pictures import draw_kinds, shrink

A, B = (10, 20, 100, 60), (200, 40, 60, 60)


def analyse(scene, with_masks=False):
    overlaps = scene.overlaps(with_masks)
    matches = match(overlaps, 0.5)
    errors, counts = find_errors(overlaps, matches), image_counts(overlaps, matches, 0.3)
    return Analysis({}, overlaps, matches, errors, counts)


@pytest.mark.parametrize(("size", "expected"), [((64, 80), (64, 80)), ((1120, 560), (560, 280))])
def test_large_images_are_made_small(size, expected):
    sample = ShapesDataset(1, size).load(0)
    picture = shrink(sample)
    head, data = picture["source"].split(",")
    assert head == "data:image/jpeg;base64"
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape[:2] == expected == (picture["height"], picture["width"])
    assert picture["scale"] == expected[0] / size[0]
    whole = cv2.resize(sample.image, expected[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image[..., ::-1].astype(int) - whole).mean() < 12  # the same picture, RGB


def test_objects_and_detections_of_one_image():
    scene = Scene(
        [(1, 0, A), (1, 1, B), (2, 2, A), (1, 2, (300, 200, 80, 80), True)],
        [(1, 0, 0.9, A), (1, 1, 0.31239, A), (2, 0, 0.8, A), (1, 2, 0.04, B), (1, 2, 0.7, B)],
    )
    drawn = draw_kinds({"bbox": analyse(scene)}, {"bbox": scene.results()}, 0, 0.5)["bbox"]
    assert drawn["objects"] == [
        {"label": 0, "box": [5, 10, 50, 30], "crowd": False, "found": 0.8999},
        {"label": 1, "box": [100, 20, 30, 30], "crowd": False, "found": None},
        {"label": 2, "box": [150, 100, 40, 40], "crowd": True, "found": None},
    ]
    assert [each["outcome"] for each in drawn["found"]] == ["true", *["classification"] * 2]
    assert [each["score"] for each in drawn["found"]] == [0.8999, 0.6999, 0.3123]


def test_masks_are_outlined():
    scene = Scene([(1, 0, A)], [(1, 0, 0.75, A)])
    results = {"segm": scene.results()}
    drawn = draw_kinds({"segm": analyse(scene, with_masks=True)}, results, 0, 1.0)["segm"]
    for each in drawn["objects"] + drawn["found"]:
        (polygon,) = each["outline"]
        corners = np.array(polygon).reshape(-1, 2)
        assert corners.min(axis=0).tolist() == [10, 20]
        assert corners.max(axis=0).tolist() == [109, 79]
        assert len(corners) == 4
