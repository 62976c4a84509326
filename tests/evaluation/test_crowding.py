"""Precision by how many objects an image has, recall by how much they overlap."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_scenes import Scene, random_scene

from mmdet_lite.evaluation.analysis import IOU_THRESHOLDS
from mmdet_lite.evaluation.crowding import by_objects_an_image, by_overlap
from mmdet_lite.evaluation.matching import match

A = (0, 0, 100, 100)


def test_precision_of_some_images_is_that_of_pycocotools_on_them_alone():
    scene = random_scene(6, num_images=25)
    overlaps = scene.overlaps()
    rows = by_objects_an_image(overlaps, {t: match(overlaps, t) for t in IOU_THRESHOLDS})
    objects = [o for o in scene.objects if not o[3]]
    number = {image: sum(o[0] == image for o in objects) for image in scene.image_ids}
    checked = 0
    for row in rows:
        images = [i for i, n in number.items() if row["first"] <= n <= (row["last"] or 99)]
        assert row["images"] == len(images)
        assert row["objects"] == sum(number[image] for image in images)
        if not images:
            assert np.isnan(row["AP"])
            continue
        part = Scene([], [f for f in scene.found if f[0] in images], num_images=25)
        part.objects = [o for o in scene.objects if o[0] in images]
        precision = part.pycocotools().eval["precision"][:, :, :, 0, -1]
        has_objects = precision[0, 0] >= 0
        expected = precision[:, :, has_objects]
        assert row["AP"] == pytest.approx(expected.mean(), abs=1e-12)
        assert row["AP_50"] == pytest.approx(expected[0].mean(), abs=1e-12)
        checked += 1
    assert checked >= 3


def test_recall_by_overlap_by_hand():
    objects = [
        (1, 0, A),
        (1, 1, (25, 0, 100, 100)),  # IoU 0.6 with the first
        (1, 0, (250, 0, 100, 100)),  # alone
        (2, 0, A, True),
        (2, 0, A),  # on a crowd, which is no object: alone
    ]
    scene = Scene(objects, [(1, 0, 0.9, A), (2, 0, 0.9, A)])
    overlaps = scene.overlaps()
    rows = by_overlap(overlaps.truth, match(overlaps, 0.5))
    assert [(r["objects"], r["found"]) for r in rows] == [(2, 1), (0, 0), (0, 0), (2, 1)]
    assert (rows[0]["from"], rows[-1]["to"]) == (0, 1)


def test_equal_boxes_overlap_altogether():
    overlaps = Scene([(1, 0, A), (1, 1, A)], []).overlaps()
    rows = by_overlap(overlaps.truth, match(overlaps, 0.5))
    assert [row["objects"] for row in rows] == [0, 0, 0, 2]
