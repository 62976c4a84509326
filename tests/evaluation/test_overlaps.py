"""Pairs of detections and objects, against pycocotools' IoU."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_scenes import Scene, random_scene
from pycocotools import mask as coco_mask

from mmdet_lite.evaluation import overlaps as module
from mmdet_lite.evaluation.overlaps import LEAST_IOU, count_before, read_truth


def expected_pairs(scene, overlaps, with_masks):
    """(detection, object): IoU of all pairs of an image, one image after the other."""
    truth, results = overlaps.truth, scene.results()
    pairs = {}
    for place in range(len(truth.image_ids)):
        found = np.flatnonzero(overlaps.images == place)
        things = np.flatnonzero(truth.images == place)
        if not len(found) or not len(things):
            continue
        rows = overlaps.rows[found]
        iou = coco_mask.iou(
            [results.segmentation(row) for row in rows] if with_masks else results.boxes_xywh[rows],
            [truth.segmentations[i] for i in things] if with_masks else truth.boxes_xywh[things],
            truth.crowd[things].astype(np.uint8),
        )
        for i, j in zip(*np.nonzero(iou >= LEAST_IOU), strict=True):
            pairs[int(found[i]), int(things[j])] = iou[i, j]
    return pairs


@pytest.mark.parametrize("with_masks", [False, True])
@pytest.mark.parametrize("at_a_time", [1, 50, 500_000])
def test_pairs_and_their_overlap_are_pycocotools(monkeypatch, with_masks, at_a_time):
    monkeypatch.setattr(module, "_PAIRS_AT_A_TIME", at_a_time)
    scene = random_scene(0)
    overlaps = scene.overlaps(with_masks)
    pairs = zip(overlaps.pair_found.tolist(), overlaps.pair_object.tolist(), strict=True)
    found = dict(zip(pairs, overlaps.pair_iou.tolist(), strict=True))
    expected = expected_pairs(scene, overlaps, with_masks)
    assert len(expected) > 50
    assert found == expected
    assert np.all(np.diff(overlaps.pair_found) >= 0)


def test_detections_are_ordered_by_score_then_image_then_as_they_came():
    box = (0, 0, 10, 10)
    scene = Scene(
        [], [(2, 0, 0.5, box), (1, 1, 0.5, box), (1, 2, 0.5, box), (1, 0, 0.9, box)], num_classes=3
    )
    overlaps = scene.overlaps()
    assert overlaps.labels.tolist() == [0, 1, 2, 0]
    assert overlaps.images.tolist() == [0, 0, 0, 1]
    assert len(overlaps.pair_iou) == 0


def test_only_the_best_detections_of_an_image_and_class_count():
    box = (0, 0, 10, 10)
    found = [(1, 0, 0.1, box), (1, 0, 0.3, box), (1, 0, 0.2, box), (1, 1, 0.05, box)]
    overlaps = Scene([], [*found, (2, 0, 0.01, box)]).overlaps(max_detections=2)
    np.testing.assert_allclose(overlaps.scores, [0.3, 0.2, 0.05, 0.01], rtol=1e-6)


def test_polygons_and_uncompressed_masks_are_read():
    scene = Scene([(1, 0, (10, 20, 30, 40)), (2, 1, (0, 0, 5, 5))], [])
    tables = scene.coco_dict()
    tables["annotations"][0]["segmentation"] = [[10, 20, 40, 20, 40, 60, 10, 60]]
    tables["annotations"][1]["segmentation"] = {"size": [300, 400], "counts": [0, 7, 119_993]}
    truth = read_truth(tables, scene.category_ids, with_masks=True)
    assert coco_mask.area(truth.segmentations).tolist() == [1200, 7]


def test_objects_are_counted_without_crowds():
    scene = Scene([(1, 0, (0, 0, 9, 9)), (1, 0, (0, 0, 9, 9), True), (2, 2, (0, 0, 9, 9))], [])
    assert scene.overlaps().num_objects.tolist() == [1, 0, 1]


def test_count_before():
    assert count_before(np.array([5, 3, 5, 5, 3])).tolist() == [0, 0, 1, 2, 1]
    assert count_before(np.zeros(0, dtype=np.int64)).tolist() == []
