"""Curves and figures of classes against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest
from evaluation_scenes import Scene, random_scene

from mmdet_lite.evaluation import CocoMetric
from mmdet_lite.evaluation.coco_eval import class_columns
from mmdet_lite.evaluation.pr_curves import pr_curves


class Dataset:
    """A scene as a data set; labels need not follow the order of category ids."""

    def __init__(self, scene, order):
        self.category_ids = [scene.category_ids[label] for label in order]
        self.classes = [scene.classes[label] for label in order]
        self.coco_dict = scene.coco_dict


def evaluate(scene, order):
    metric = CocoMetric(("bbox",), classwise=True)
    metric.keeps_curves = True
    metric.prepare(Dataset(scene, order))
    results = scene.results()
    results.labels = np.argsort(order)[results.labels]
    return metric, metric.compute(results)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_curves_are_those_of_pycocotools_by_label(order):
    scene = random_scene(8, num_images=20)
    metric, _ = evaluate(scene, order)
    expected = scene.pycocotools().eval["precision"][:, :, :, 0, -1]  # (T, R, K)
    entries = pr_curves(metric.curves["bbox"][0], metric.category_ids)
    assert len(entries) == 4
    by_label = [*(expected[..., label] for label in order), expected.mean(axis=2)]
    for entry, curve in zip(entries, by_label, strict=True):
        assert len(entry) == 10
        for points, row in zip(entry, curve, strict=True):
            padded = np.pad(points, (0, 101 - len(points)))
            np.testing.assert_allclose(padded / 1000, row, rtol=0, atol=0.00051)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_columns_of_classes_are_those_of_pycocotools_by_label(order):
    scene = random_scene(8, num_images=20)
    metric, values = evaluate(scene, order)
    columns = class_columns(*metric.curves["bbox"], metric.category_ids)
    evaluated = scene.pycocotools().eval
    for place, label in enumerate(order):
        precision = evaluated["precision"][:, :, label, :, -1]
        assert columns["AP"][place] == pytest.approx(precision[..., 0].mean())
        assert columns["AP_50"][place] == pytest.approx(precision[0, :, 0].mean())
        assert columns["AP_75"][place] == pytest.approx(precision[5, :, 0].mean())
        assert columns["AP_m"][place] == pytest.approx(precision[..., 2].mean())
        assert columns["AR"][place] == pytest.approx(evaluated["recall"][:, label, 0, -1].mean())
        assert columns["AP"][place] == values[f"bbox_AP/{scene.classes[label]}"]


def test_a_class_without_objects_has_no_curve():
    box = (0, 0, 50, 50)
    metric, _ = evaluate(Scene([(1, 0, box)], [(1, 0, 0.9, box), (1, 1, 0.9, box)]), (0, 1, 2))
    entries = pr_curves(metric.curves["bbox"][0], metric.category_ids)
    assert entries[1:3] == [None, None]
    assert entries[0] == entries[3] == [[1000] * 101] * 10
    metric, _ = evaluate(Scene([], [(1, 0, 0.9, box)]), (0, 1, 2))
    assert pr_curves(metric.curves["bbox"][0], metric.category_ids) == [None] * 4


def test_curves_are_kept_on_request_only():
    scene = random_scene(8)
    metric = CocoMetric(("bbox",))
    metric.prepare(Dataset(scene, (0, 1, 2)))
    metric.compute(scene.results())
    assert metric.curves == {}
