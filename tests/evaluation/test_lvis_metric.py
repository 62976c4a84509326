"""LVIS's figures: by hand, and beside a plain implementation of the paper's rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmdet_lite.evaluation import LVISMetric
from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.evaluation.lvis_metric import best_of_each_image
from mmdet_lite.registry import METRICS, build
from mmdet_lite.structures.samples import Detections, ImageMeta

SHAPE = (200, 300)
TRUTH, ELSEWHERE = (10, 10, 50, 50), (100, 100, 140, 140)


class Dataset:
    """Ground truth in memory.

    ``images``: id -> (absent categories, not exhaustively annotated ones); ``rows``: (image id,
    category id, x1, y1, x2, y2); ``categories``: id -> (name, frequency).
    """

    def __init__(self, images, rows, categories):
        self.images, self.rows = images, rows
        self.frequencies = {key: frequency for key, (_, frequency) in categories.items()}
        self.category_ids = tuple(categories)
        self.classes = tuple(name for name, _ in categories.values())

    def coco_dict(self):
        annotations = [
            {
                "id": number,
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]],
                "area": (x2 - x1) * (y2 - y1),
            }
            for number, (image_id, category_id, x1, y1, x2, y2) in enumerate(self.rows, start=1)
        ]
        images = [
            {
                "id": key,
                "height": SHAPE[0],
                "width": SHAPE[1],
                "neg_category_ids": absent,
                "not_exhaustive_category_ids": partly,
            }
            for key, (absent, partly) in self.images.items()
        ]
        names = zip(self.category_ids, self.classes, strict=True)
        categories = [
            {"id": key, "name": name, "frequency": self.frequencies[key]} for key, name in names
        ]
        return {"images": images, "annotations": annotations, "categories": categories}


def batch(found, masks=False):
    """Detections by image id, (x1, y1, x2, y2, score, label) rows, as one batch."""
    count = max(map(len, found.values()), default=0) + 1
    rows = torch.full((len(found), count, 6), 9e9)
    valid = torch.zeros(len(found), count, dtype=torch.bool)
    for index, of_image in enumerate(found.values()):
        rows[index, : len(of_image)] = torch.tensor(of_image, dtype=torch.float32).reshape(-1, 6)
        valid[index, : len(of_image)] = True
    pixels = torch.ones(len(found), count, 28, 28) if masks else None
    detections = Detections(rows[..., :4], rows[..., 4], rows[..., 5].long(), valid, pixels)
    metas = [ImageMeta(i, f"{i}.jpg", 0, 0, SHAPE, SHAPE, (1.0, 1.0), "") for i in found]
    return detections, metas


def run(dataset, found, metrics=("bbox",), **settings):
    metric = LVISMetric(metrics, **settings)
    metric.prepare(dataset)
    metric.process(*batch({i: found.get(i, []) for i in dataset.images}, "segm" in metrics))
    return metric.compute(metric.results())


CATEGORIES = {5: ("cat", "f"), 3: ("dog", "c"), 9: ("newt", "r")}


# ----------------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("absent", "partly", "precision"),
    [
        ([], [], 1),  # nobody looked for dogs in image 2
        ([3], [], 1 / 2),  # there are none: wrong
        ([3], [3], 1),  # it is not known whether there are
    ],
    ids=["not searched", "absent", "not exhaustive"],
)
def test_a_detection_counts_where_its_category_was_searched_for(absent, partly, precision):
    dataset = Dataset({1: ([], []), 2: (absent, partly)}, [(1, 3, *TRUTH)], CATEGORIES)
    found = {1: [(*TRUTH, 0.5, 1)], 2: [(*ELSEWHERE, 0.9, 1)]}
    for kind in ("bbox", "segm"):
        values = run(dataset, found, metrics=(kind,))
        assert values[f"{kind}_mAP"] == pytest.approx(precision)


def test_figures_are_told_apart_by_frequency():
    rows = [(1, 5, *TRUTH), (1, 3, *TRUTH), (1, 9, *TRUTH)]
    found = {1: [(*TRUTH, 0.9, 0), (*ELSEWHERE, 0.9, 1), (*TRUTH, 0.8, 1)]}
    values = run(Dataset({1: ([], [])}, rows, CATEGORIES), found, classwise=True)
    figures = {key: values[f"bbox_mAP_{key}"] for key in "fcr"}
    assert figures == pytest.approx({"f": 1, "c": 1 / 2, "r": 0})
    assert values["bbox_AP/dog"] == pytest.approx(1 / 2)
    assert values["bbox_mAP"] == pytest.approx(1 / 2)


def test_an_image_has_so_many_detections_of_all_classes_together():
    dataset = Dataset({1: ([], [])}, [(1, 5, *TRUTH), (1, 3, *TRUTH)], CATEGORIES)
    found = {1: [(*TRUTH, 0.3, 0), (*TRUTH, 0.9, 1), (*ELSEWHERE, 0.5, 1)]}
    values = run(dataset, found, max_detections=2)
    assert (values["bbox_mAP_f"], values["bbox_mAP_c"]) == (0, pytest.approx(1))
    assert "bbox_AR@2" in values


def test_the_best_of_each_image_keep_the_detectors_order():
    scores = np.array([0.5, 0.9, 0.5, 0.5, 0.1], np.float32)
    columns = [np.array([4, 4, 4, 7, 7]), np.arange(5), scores, np.zeros((5, 4)), np.zeros((5, 2))]
    results = CocoResults(np.array([4, 7]), *columns, [])
    assert best_of_each_image(results, 2).labels.tolist() == [0, 1, 3, 4]
    assert best_of_each_image(results, 1).labels.tolist() == [1, 3]


# ----------------------------------------------------------------------------- the plain way


def plain_ap(dataset, found, category_id, iou_thr):
    """One category at one threshold, image by image and detection by detection."""
    label = dataset.category_ids.index(category_id)
    scored, num_objects = [], 0
    for image_id, (absent, partly) in dataset.images.items():
        objects = [np.array(r[2:]) for r in dataset.rows if r[:2] == (image_id, category_id)]
        num_objects += len(objects)
        if not objects and category_id not in absent:
            continue
        taken = set()
        for row in sorted(found[image_id], key=lambda r: -r[4]):
            if row[5] != label:
                continue
            free = [i for i in range(len(objects)) if i not in taken]
            best = max(free, key=lambda i: plain_iou(row[:4], objects[i]), default=None)
            if best is not None and plain_iou(row[:4], objects[best]) >= iou_thr:
                taken.add(best)
                scored.append((row[4], 1))
            elif category_id not in partly:
                scored.append((row[4], 0))
    if not num_objects:
        return None
    hits = [hit for _, hit in sorted(scored, key=lambda pair: -pair[0])]
    right = np.cumsum(hits)
    precision = right / np.arange(1, len(hits) + 1)
    recalls = np.linspace(0, 1, 101)
    return np.mean([max(precision[right / num_objects >= r], default=0) for r in recalls])


def plain_iou(a, b):
    width, height = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def random_case(seed):
    rng = np.random.default_rng(seed)
    categories = {k: (f"c{k}", "rcf"[k % 3]) for k in (8, 2, 5, 12, 7, 3)}
    images, rows, found = {}, [], {}
    for image_id in range(20):
        found[image_id], present = [], set()
        for _ in range(rng.integers(0, 6)):
            key = int(rng.choice(list(categories)))
            corner, size = rng.integers(0, 120, 2), rng.integers(8, 70, 2)
            box = [*corner, *(corner + size)]
            rows.append((image_id, key, *box))
            present.add(key)
            for _ in range(rng.integers(0, 4)):
                moved = np.array(box) + rng.integers(-4, 5, 4)
                other = key if rng.random() < 0.7 else int(rng.choice(list(categories)))
                label = list(categories).index(other)
                found[image_id].append(tuple(map(float, np.float32([*moved, rng.random(), label]))))
        others = [key for key in categories if key not in present]
        absent = [int(key) for key in others if rng.random() < 0.5]
        partly = [int(key) for key in present if rng.random() < 0.3]
        images[image_id] = (absent, partly)
    return Dataset(images, rows, categories), found


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_a_plain_implementation(seed):
    dataset, found = random_case(seed)
    values = run(dataset, found, classwise=True)
    thresholds = np.linspace(0.5, 0.95, 10)
    expected = {
        key: np.mean([plain_ap(dataset, found, key, thr) for thr in thresholds])
        for key in dataset.category_ids
    }
    assert 0.05 < np.mean(list(expected.values())) < 0.95
    assert values["bbox_mAP"] == pytest.approx(np.mean(list(expected.values())), abs=1e-9)
    for key, name in zip(dataset.category_ids, dataset.classes, strict=True):
        assert values[f"bbox_AP/{name}"] == pytest.approx(expected[key], abs=1e-9)
    for group in "rcf":
        of_group = [expected[k] for k, f in dataset.frequencies.items() if f == group]
        assert values[f"bbox_mAP_{group}"] == pytest.approx(np.mean(of_group), abs=1e-9)


# ----------------------------------------------------------------------------- how it is used


def test_neither_order_nor_shards_change_a_figure():
    dataset, found = random_case(5)
    expected = run(dataset, found, max_detections=4)
    metric = LVISMetric(["bbox"], max_detections=4)
    metric.prepare(dataset)
    parts = []
    for shard in (range(19, 11, -1), [], range(12)):
        metric.reset()
        for image_id in shard:
            metric.process(*batch({image_id: found[image_id]}))
        parts.append(metric.results())
    assert metric.compute(metric.merge(parts)) == expected


def test_names_and_table_are_of_what_is_computed():
    dataset, found = random_case(1)
    metric = build(dict(type="LVISMetric", metrics=["bbox", "segm"]), METRICS)
    metric.prepare(dataset)
    metric.process(*batch(found, masks=True))
    values = metric.compute(metric.results())
    assert metric.names() == list(values)
    assert "mAP_r" in metric.table().splitlines()[0].split()
    assert [line.split()[0] for line in metric.table().splitlines()[2:4]] == ["bbox", "segm"]


def test_ground_truth_that_is_not_of_lvis_is_refused():
    dataset = Dataset({1: ([], [])}, [(1, 5, *TRUTH)], {5: ("cat", "x")})
    coco_dict = dataset.coco_dict()
    del coco_dict["images"][0]["neg_category_ids"]
    dataset.coco_dict = lambda: coco_dict
    with pytest.raises(ValueError, match="1 categories have no 'frequency'.*'cat'.*and no image"):
        LVISMetric().prepare(dataset)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(metrics="bbox"), "metrics must be a list of .* got 'bbox'"),
        (dict(metrics=["proposal"]), "got .'proposal'"),
        (dict(max_detections=0), "max_detections must be 1 or more, got 0"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        LVISMetric(**settings)
