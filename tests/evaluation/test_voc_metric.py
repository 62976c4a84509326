"""Pascal VOC's figures: by hand, and beside a plain implementation of the devkit's description."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmdet_lite.evaluation import VOCMetric
from mmdet_lite.registry import METRICS, build
from mmdet_lite.structures.samples import Detections, ImageMeta

SHAPE = (200, 300)
TRUTH = (10, 10, 50, 50)


class Dataset:
    """Ground truth in memory: (image id, class, x1, y1, x2, y2, difficult) rows."""

    def __init__(self, rows, image_ids, classes=("cat", "dog")):
        self.classes = classes
        self.category_ids = tuple(range(11, 11 + len(classes)))
        self.rows, self.image_ids = rows, image_ids

    def coco_dict(self):
        annotations = [
            {
                "id": number,
                "image_id": image_id,
                "category_id": self.category_ids[self.classes.index(name)],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "iscrowd": difficult,
            }
            for number, (image_id, name, x1, y1, x2, y2, difficult) in enumerate(self.rows)
        ]
        images = [{"id": i, "height": SHAPE[0], "width": SHAPE[1]} for i in self.image_ids]
        names = zip(self.category_ids, self.classes, strict=True)
        categories = [{"id": key, "name": name} for key, name in names]
        return {"images": images, "annotations": annotations, "categories": categories}


def batch(found):
    """Detections by image id, (x1, y1, x2, y2, score, label) rows, as one batch."""
    count = max(map(len, found.values()), default=0) + 1
    rows = torch.full((len(found), count, 6), 9e9)
    valid = torch.zeros(len(found), count, dtype=torch.bool)
    for index, of_image in enumerate(found.values()):
        rows[index, : len(of_image)] = torch.tensor(of_image, dtype=torch.float32).reshape(-1, 6)
        valid[index, : len(of_image)] = True
    detections = Detections(rows[..., :4], rows[..., 4], rows[..., 5].long(), valid, None)
    metas = [ImageMeta(i, f"{i}.jpg", 0, 0, SHAPE, SHAPE, (1.0, 1.0), "") for i in found]
    return detections, metas


def run(dataset, found, **settings):
    metric = VOCMetric(**settings)
    metric.prepare(dataset)
    metric.process(*batch({i: found.get(i, []) for i in dataset.image_ids}))
    return metric.compute(metric.results())


# ----------------------------------------------------------------------------- by hand


def test_a_false_positive_ahead_of_two_true_ones():
    dataset = Dataset([(1, "cat", *TRUTH, 0), (2, "cat", *TRUTH, 0)], [1, 2], ("cat",))
    found = {1: [(100, 100, 140, 140, 0.9, 0), (*TRUTH, 0.8, 0)], 2: [(*TRUTH, 0.7, 0)]}
    # precision 0, 1/2, 2/3 at recalls 0, 1/2, 1: made to fall it is 2/3 throughout
    assert run(dataset, found)["voc_mAP"] == pytest.approx(2 / 3)
    assert run(dataset, found, mode="11points")["voc_mAP"] == pytest.approx(2 / 3)


def test_eleven_points_and_area_differ_where_recall_ends():
    dataset = Dataset([(i, "cat", *TRUTH, 0) for i in (1, 2, 3)], [1, 2, 3], ("cat",))
    found = {2: [(*TRUTH, 0.7, 0)]}  # recall 1/3: 0, 0.1, 0.2 and 0.3 are reached
    assert run(dataset, found)["voc_mAP"] == pytest.approx(1 / 3)
    assert run(dataset, found, mode="11points")["voc_mAP"] == pytest.approx(4 / 11)


def test_a_recall_of_three_tenths_is_reached_by_three_of_ten():
    # 3 / 10 < 0.1 + 0.1 + 0.1 in floating point
    dataset = Dataset([(i, "cat", *TRUTH, 0) for i in range(10)], list(range(10)), ("cat",))
    found = {i: [(*TRUTH, 0.7, 0)] for i in range(3)}
    assert run(dataset, found, mode="11points")["voc_mAP"] == pytest.approx(4 / 11)


def test_a_second_detection_of_an_object_is_wrong():
    dataset = Dataset([(1, "cat", *TRUTH, 0), (2, "cat", *TRUTH, 0)], [1, 2], ("cat",))
    found = {1: [(*TRUTH, 0.9, 0), (*TRUTH, 0.8, 0)], 2: [(*TRUTH, 0.7, 0)]}
    assert run(dataset, found)["voc_mAP"] == pytest.approx((1 + 2 / 3) / 2)


def test_the_object_with_the_most_overlap_counts_also_if_it_is_taken():
    """Unlike COCO: a detection whose best object is taken is not given the next best one."""
    near = (14, 10, 54, 50)
    dataset = Dataset([(1, "cat", *TRUTH, 0), (1, "cat", *near, 0)], [1], ("cat",))
    found = {1: [(*TRUTH, 0.9, 0), (11, 10, 51, 50, 0.8, 0)]}
    assert run(dataset, found)["voc_mAP"] == pytest.approx(1 / 2)


def test_difficult_objects_are_neither_found_nor_missed():
    rows = [(1, "cat", *TRUTH, 1), (1, "cat", 100, 100, 140, 140, 0)]
    found = {1: [(*TRUTH, 0.9, 0), (*TRUTH, 0.8, 0), (100, 100, 140, 140, 0.7, 0)]}
    assert run(Dataset(rows, [1], ("cat",)), found)["voc_AP/cat"] == pytest.approx(1)


def test_difficult_objects_match_by_their_iou_not_by_the_share_that_is_covered():
    rows = [(1, "cat", 0, 0, 200, 200, 1), (1, "cat", 210, 100, 250, 140, 0)]
    found = {1: [(10, 10, 50, 50, 0.9, 0), (210, 100, 250, 140, 0.7, 0)]}
    assert run(Dataset(rows, [1], ("cat",)), found)["voc_mAP"] == pytest.approx(1 / 2)


def test_classes_without_objects_are_left_out_of_the_mean():
    dataset = Dataset([(1, "cat", *TRUTH, 0)], [1])
    values = run(dataset, {1: [(*TRUTH, 0.9, 0), (*TRUTH, 0.9, 1)]}, iou_thrs=0.5)
    assert values == {"voc_mAP": 1, "voc_mAP_50": 1, "voc_AP/cat": 1, "voc_AP/dog": -1}
    assert set(run(Dataset([], [1]), {1: [(*TRUTH, 0.9, 0)]}).values()) == {-1}


def test_an_overlap_of_just_the_threshold_matches():
    dataset = Dataset([(1, "cat", 0, 0, 40, 40, 0)], [1], ("cat",))
    found = {1: [(0, 0, 20, 40, 0.9, 0)]}  # half of it
    values = run(dataset, found, iou_thrs=(0.5, 0.75))
    assert values["voc_mAP_50"] == 1
    assert values["voc_mAP_75"] == 0
    assert values["voc_mAP"] == values["voc_AP/cat"] == 0.5


# ----------------------------------------------------------------------------- the devkit's way


def devkit_ap(dataset, found, name, iou_thr, mode):
    """One class after the devkit's description: detection by detection."""
    label = dataset.classes.index(name)
    objects = [[r[0], np.array(r[2:6]), r[6], False] for r in dataset.rows if r[1] == name]
    num_objects = sum(1 for one in objects if not one[2])
    detections = [(r[4], i, r[:4]) for i, rows in found.items() for r in rows if r[5] == label]
    detections.sort(key=lambda d: -d[0])
    hits = []
    for _, image_id, box in detections:
        best, chosen = -1.0, None
        for one in objects:
            if one[0] == image_id:
                iou = plain_iou(box, one[1])
                if iou > best:
                    best, chosen = iou, one
        if best < iou_thr:
            hits.append(0)
        elif chosen[2]:
            continue
        else:
            hits.append(0 if chosen[3] else 1)
            chosen[3] = True
    if num_objects == 0:
        return -1
    recall = [sum(hits[: n + 1]) / num_objects for n in range(len(hits))]
    precision = [sum(hits[: n + 1]) / (n + 1) for n in range(len(hits))]
    if mode == "11points":
        best = [
            max(
                (p for p, r in zip(precision, recall, strict=True) if r >= t / 10 - 1e-9), default=0
            )
            for t in range(11)
        ]
        return sum(best) / 11
    area, previous = 0.0, 0.0
    for n, r in enumerate(recall):
        area += (r - previous) * max(precision[n:])
        previous = r
    return area


def plain_iou(a, b):
    width, height = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def random_case(seed, num_images=12, classes=("cat", "dog", "cow")):
    """Objects in clusters, detections near them with scores that differ; some images are empty."""
    rng = np.random.default_rng(seed)
    rows, found = [], {}
    for image_id in range(100, 100 + num_images):
        found[image_id] = []
        for _ in range(rng.integers(0, 6)):
            corner, size = rng.integers(0, 120, 2), rng.integers(8, 70, 2)
            box = [*corner, *(corner + size)]
            name = int(rng.integers(len(classes)))
            rows.append((image_id, classes[name], *box, int(rng.random() < 0.2)))
            for _ in range(rng.integers(0, 4)):
                moved = np.array(box) + rng.integers(-6, 7, 4)
                label = name if rng.random() < 0.8 else int(rng.integers(len(classes)))
                found[image_id].append([*moved, rng.random(), label])
    found = {i: [tuple(map(float, np.float32(r))) for r in rows] for i, rows in found.items()}
    return Dataset(rows, list(found), classes), found


@pytest.mark.parametrize("mode", ["area", "11points"])
@pytest.mark.parametrize("seed", range(5))
def test_figures_are_those_of_a_plain_implementation(seed, mode):
    dataset, found = random_case(seed)
    values = run(dataset, found, iou_thrs=(0.5, 0.7), mode=mode)
    expected = np.array(
        [[devkit_ap(dataset, found, c, t, mode) for t in (0.5, 0.7)] for c in dataset.classes]
    )
    assert 0.1 < expected.mean() < 0.9
    assert values["voc_mAP_50"] == pytest.approx(expected[:, 0].mean(), abs=1e-12)
    assert values["voc_mAP_70"] == pytest.approx(expected[:, 1].mean(), abs=1e-12)
    for name, of_class in zip(dataset.classes, expected, strict=True):
        assert values[f"voc_AP/{name}"] == pytest.approx(of_class.mean(), abs=1e-12)


# ----------------------------------------------------------------------------- how it is used


def test_neither_order_nor_shards_change_a_figure():
    dataset, found = random_case(7)
    found = {i: [(*r[:4], round(r[4], 1), r[5]) for r in rows] for i, rows in found.items()}  # ties
    expected = run(dataset, found)
    metric = VOCMetric()
    metric.prepare(dataset)
    ids = dataset.image_ids
    parts = []
    for shard in (ids[7:3:-1], [], ids[:4], ids[8:]):
        metric.reset()
        for image_id in shard:
            metric.process(*batch({image_id: found[image_id]}))
        parts.append(metric.results())
    assert metric.compute(VOCMetric.merge(parts)) == expected


def test_names_and_table_are_of_what_is_computed(tmp_path):
    dataset, found = random_case(1)
    metric = build(dict(type="VOCMetric", iou_thrs=[0.5, 0.75], mode="11points"), METRICS)
    metric.prepare(dataset)
    metric.process(*batch(found))
    values = metric.compute(metric.results())
    assert metric.names() == list(values)
    assert metric.names()[0] == "voc_mAP"
    lines = metric.table().splitlines()
    assert lines[0].split() == ["mAP", "mAP_50", "mAP_75"]
    assert lines[2].split() == ["voc", *(f"{value:.3f}" for value in list(values.values())[:3])]
    assert any(line.split()[0] == "cow" for line in lines if line)
    assert [path.name for path in metric.save_json(tmp_path / "out")] == ["out.bbox.json"]


def test_images_that_were_not_processed_are_named():
    metric = VOCMetric()
    metric.prepare(Dataset([(1, "cat", *TRUTH, 0)], [1, 2]))
    metric.process(*batch({1: []}))
    with pytest.raises(
        ValueError, match=r"1 of the data set's 2 images were not processed \(.* 2\)"
    ):
        metric.compute(metric.results())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(iou_thrs=()), r"iou_thrs must be above 0 and at most 1, got \(\)"),
        (dict(iou_thrs=50), "iou_thrs must be above 0 and at most 1, got 50"),
        (dict(mode="11point"), r"mode must be one of \('area', '11points'\), got '11point'"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        VOCMetric(**settings)
