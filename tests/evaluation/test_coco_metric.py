"""Figures by hand, figures of pycocotools, and what goes wrong."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import threading

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_lite.evaluation import CocoMetric
from mmdet_lite.evaluation.coco_results import encode_masks
from mmdet_lite.registry import METRICS, build
from mmdet_lite.structures.samples import Detections, ImageMeta

FIGURES = ["mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"]
FIGURES += ["AR@1", "AR@10", "AR@100", "AR_s@100", "AR_m@100", "AR_l@100"]


class Dataset:
    """Ground truth in memory."""

    def __init__(self, images, annotations, categories):
        self.tables = {
            "images": [{"id": i, "height": h, "width": w} for i, h, w in images],
            "annotations": annotations,
            "categories": [{"id": i, "name": name} for i, name in categories],
        }
        self.category_ids = tuple(i for i, _ in categories)
        self.classes = tuple(name for _, name in categories)

    def coco_dict(self):
        return self.tables


def annotate(number, image_id, category_id, box_xywh, crowd=0):
    x, y, w, h = box_xywh
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": list(box_xywh),
        "area": w * h,
        "iscrowd": crowd,
        "segmentation": [polygon],
    }


def two_images():
    """Image 7 has a cat and a dog, image 3 has nothing."""
    annotations = [annotate(0, 7, 18, (10, 10, 40, 40)), annotate(1, 7, 17, (100, 50, 50, 100))]
    return Dataset([(7, 200, 300), (3, 200, 300)], annotations, [(18, "cat"), (17, "dog")])


def meta(image_id, shape=(200, 300), scale=(1.0, 1.0), flip=""):
    return ImageMeta(image_id, f"{image_id}.jpg", 0, 0, shape, shape, scale, flip)


def detect(*images, masks=True):
    """One entry an image: a list of (x1, y1, x2, y2, score, label); padded by one row at least."""
    count = max(map(len, images)) + 1
    rows = torch.full((len(images), count, 6), 9e9)
    valid = torch.zeros(len(images), count, dtype=torch.bool)
    for index, found in enumerate(images):
        rows[index, : len(found)] = torch.tensor(found, dtype=torch.float32).reshape(-1, 6)
        valid[index, : len(found)] = True
    probabilities = torch.ones(len(images), count, 28, 28) if masks else None
    return Detections(rows[..., :4], rows[..., 4], rows[..., 5].long(), valid, probabilities)


def run(metric, dataset, *batches):
    metric.prepare(dataset)
    for detections, metas in batches:
        metric.process(detections, metas)
    return metric.compute(metric.results())


# ----------------------------------------------------------------------------- by hand


def test_perfect_detections_score_one():
    found = [(10, 10, 50, 50, 0.9, 0), (100, 50, 150, 150, 0.8, 1)]
    values = run(CocoMetric(), two_images(), (detect(found, []), [meta(7), meta(3)]))
    for kind in ("bbox", "segm"):
        assert values[f"{kind}_mAP"] == pytest.approx(1.0)
        assert values[f"{kind}_AR@100"] == pytest.approx(1.0)
        assert values[f"{kind}_mAP_s"] == -1  # both objects are of medium size
        assert values[f"{kind}_mAP_m"] == pytest.approx(1.0)


def test_average_precision_of_a_false_positive_ahead_of_a_true_one():
    # The cat comes second of two: precision 1/2 at every recall. The dog is missed.
    found = [(200, 10, 240, 50, 0.9, 0), (10, 10, 50, 50, 0.8, 0)]
    metric = CocoMetric(metrics=("bbox",), classwise=True)
    values = run(metric, two_images(), (detect(found, []), [meta(7), meta(3)]))
    assert values["bbox_AP/cat"] == pytest.approx(0.5)
    assert values["bbox_AP/dog"] == 0
    assert values["bbox_mAP"] == pytest.approx(0.25)


def test_boxes_go_back_to_the_original_image():
    # The network saw 600x400: twice the width, two times the height; the box leaves the picture.
    found = [(-20, 20, 700, 100, 0.9, 0)]
    metric = CocoMetric(metrics=("bbox",))
    metric.prepare(two_images())
    metric.process(detect(found), [meta(7, scale=(2.0, 2.5))])
    assert metric.results().boxes_xywh.tolist() == [[0, 8, 300, 32]]
    assert metric.results().boxes.tolist() == [[0, 8, 300, 40]]


def test_masks_go_back_to_the_original_image():
    metric = CocoMetric(metrics=("segm",))
    metric.prepare(two_images())
    detections = detect([(20, 20, 100, 100, 0.9, 0), (0, 0, 40, 40, 0.8, 1)])
    detections.masks[0, 0, :, :14] = 0  # only the right half
    metric.process(detections, [meta(7, scale=(2.0, 2.0))])
    bitmaps = metric.results().bitmaps()
    expected = np.zeros((2, 200, 300), dtype=bool)
    expected[0, 10:50, 30:50] = True
    expected[1, :20, :20] = True
    np.testing.assert_array_equal(bitmaps, expected)


def test_masks_are_encoded_while_the_caller_goes_on(monkeypatch):
    caller_went_on = threading.Event()

    def encode_later(*arguments):
        assert caller_went_on.wait(10)
        return encode_masks(*arguments)

    monkeypatch.setattr("mmdet_lite.evaluation.detection_metric.encode_masks", encode_later)
    metric = CocoMetric(metrics=("segm",))
    metric.prepare(two_images())
    metric.process(detect([(10, 10, 50, 50, 0.9, 0)]), [meta(7)])
    metric.process(detect([(0, 0, 10, 10, 0.5, 0)] * 2), [meta(3)])
    caller_went_on.set()
    assert [int(bitmap.sum()) for bitmap in metric.results().bitmaps()] == [1600, 100, 100]


def test_masks_of_an_evaluation_that_was_broken_off_are_forgotten():
    metric = CocoMetric()
    metric.prepare(two_images())
    metric.process(detect([(0, 0, 10, 10, 0.5, 0)]), [meta(7)])
    metric.reset()
    metric.process(detect([(10, 10, 50, 50, 0.9, 0)]), [meta(7)])
    assert metric.results().bitmaps().sum() == 1600


def test_half_precision_detections_are_evaluated():
    detections = detect([(10, 10, 50, 50, 0.5, 0)], [])
    detections.boxes[~detections.valid] = 0
    for name in ("boxes", "scores", "masks"):
        setattr(detections, name, getattr(detections, name).to(torch.bfloat16))
    values = run(CocoMetric(classwise=True), two_images(), (detections, [meta(7), meta(3)]))
    assert values["bbox_AP/cat"] == values["segm_AP/cat"] == pytest.approx(1.0)


def test_no_detections_at_all_score_zero():
    values = run(CocoMetric(), two_images(), (detect([], []), [meta(7), meta(3)]))
    assert values["bbox_mAP"] == values["segm_mAP"] == values["bbox_AR@100"] == 0


def test_no_ground_truth_gives_minus_one():
    dataset = Dataset([(7, 200, 300)], [], [(1, "cat")])
    metric = CocoMetric(metrics=("bbox", "segm", "proposal"), classwise=True)
    values = run(metric, dataset, (detect([(0, 0, 9, 9, 0.5, 0)]), [meta(7)]))
    assert set(values.values()) == {-1.0}


def test_proposal_recall_ignores_classes():
    found = [(10, 10, 50, 50, 0.9, 0), (100, 50, 150, 150, 0.8, 0)]  # the dog as a cat
    metric = CocoMetric(metrics=("bbox", "proposal"))
    values = run(metric, two_images(), (detect(found, [], masks=False), [meta(7), meta(3)]))
    assert values["bbox_AR@100"] == pytest.approx(0.5)
    for number in (100, 300, 1000):
        assert values[f"proposal_AR@{number}"] == pytest.approx(1.0)


def test_proposal_recall_grows_with_the_number_of_proposals():
    found = [(200, 0, 210, 10, 0.9, 0)] * 150 + [(10, 10, 50, 50, 0.5, 0)]
    metric = CocoMetric(metrics=("proposal",))
    values = run(metric, two_images(), (detect(found, []), [meta(7), meta(3)]))
    assert values["proposal_AR@100"] == 0
    assert values["proposal_AR@300"] == pytest.approx(0.5)


def test_annotations_of_other_categories_do_not_count():
    dataset = two_images()
    dataset.category_ids, dataset.classes = (17,), ("dog",)
    found = [(100, 50, 150, 150, 0.8, 0)]
    metric = CocoMetric(metrics=("bbox", "proposal"))
    values = run(metric, dataset, (detect(found, []), [meta(7), meta(3)]))
    assert values["bbox_mAP"] == pytest.approx(1.0)
    assert values["proposal_AR@100"] == pytest.approx(1.0)


def test_annotations_without_area_have_that_of_their_box():
    dataset = two_images()
    for annotation in dataset.tables["annotations"]:
        del annotation["area"], annotation["iscrowd"]
    found = [(10, 10, 50, 50, 0.9, 0), (100, 50, 150, 150, 0.8, 1)]
    values = run(CocoMetric(), dataset, (detect(found, []), [meta(7), meta(3)]))
    assert values["bbox_mAP_m"] == pytest.approx(1.0)


def test_the_metric_is_built_from_a_config():
    metric = build({"type": "CocoMetric", "metrics": ["bbox"]}, METRICS)
    assert metric.metrics == ("bbox",)


# ----------------------------------------------------------------------------- pycocotools


def crowded_dataset(rng):
    """Six classes (one without objects), crowds, an empty image, objects from 4 to 300 pixels."""
    images = [(int(i), 320, 400) for i in rng.permutation(1000)[:8]]
    categories = [(i, f"c{i}") for i in (9, 2, 70, 5, 33, 12)]
    annotations = []
    for image_id, height, width in images[:-1]:
        for size in (4, 10, 25, 40, 60, 90, 120, 200, 300):
            w, h = rng.uniform(0.7, 1.0, 2) * size
            x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
            category = categories[rng.integers(5)][0]
            number = len(annotations) + 1
            annotations.append(annotate(number, image_id, category, (x, y, w, h)))
            if size == 120:
                annotations[-1]["iscrowd"] = 1
                annotations[-1]["segmentation"] = crowd_rle(x, y, w, h, (height, width))
    return Dataset(images, annotations, categories)


def crowd_rle(x, y, w, h, size):
    """Uncompressed, as COCO stores crowds."""
    bitmap = np.zeros(size, dtype=np.uint8)
    bitmap[int(y) : int(y + h), int(x) : int(x + w)] = 1
    flat = bitmap.flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return {"size": list(size), "counts": runs if flat[0] == 0 else [0, *runs]}


def noisy_detections(dataset, rng):
    """Jittered and mislabelled ground truth and noise; some scores tie; image by image."""
    batches = []
    for place, image in enumerate(dataset.tables["images"]):
        found = []
        for annotation in dataset.tables["annotations"]:
            if annotation["image_id"] == image["id"] and place != 1:
                x, y, w, h = annotation["bbox"]
                label = dataset.category_ids.index(annotation["category_id"])
                for _ in range(3):
                    box = np.array([x, y, x + w, y + h]) + rng.normal(0, 0.06, 4) * [w, h, w, h]
                    label = label if rng.random() < 0.8 else int(rng.integers(6))
                    found.append((*box, round(rng.random(), 1), label))
        for _ in range(130 if place == 0 else 20 * (place != 1)):
            corner = rng.uniform(0, 300, 2)
            found.append((*corner, *(corner + rng.uniform(3, 100, 2)), rng.random() / 2, 0))
        detections = detect(sorted(found, key=lambda row: -row[4]))
        detections.masks = torch.from_numpy(rng.random((*detections.valid.shape, 28, 28))) * 1.4
        batches.append((detections, [meta(image["id"], (320, 400))]))
    return batches


def pycocotools_evaluator(tables, results_file, kind):
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = json.loads(json.dumps(tables))
        ground_truth.createIndex()
        return COCOeval(ground_truth, ground_truth.loadRes(str(results_file)), kind)


def quietly(*steps):
    with contextlib.redirect_stdout(io.StringIO()):
        for step in steps:
            step()


@pytest.mark.parametrize("seed", [0, 1])
def test_all_figures_are_those_of_pycocotools(tmp_path, seed):
    rng = np.random.default_rng(seed)
    dataset = crowded_dataset(rng)
    metric = CocoMetric()
    values = run(metric, dataset, *noisy_detections(dataset, rng))
    for kind, path in zip(("bbox", "segm"), metric.save_json(tmp_path / "out"), strict=True):
        reference = pycocotools_evaluator(dataset.tables, path, kind)
        quietly(reference.evaluate, reference.accumulate, reference.summarize)
        expected = reference.stats
        assert 0.05 < expected[0] < 0.9 and expected.min() >= 0
        computed = [values[f"{kind}_{figure}"] for figure in FIGURES]
        np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-12)


def test_proposal_recall_is_that_of_pycocotools(tmp_path):
    rng = np.random.default_rng(2)
    dataset = crowded_dataset(rng)
    metric = CocoMetric(metrics=("proposal",))
    values = run(metric, dataset, *noisy_detections(dataset, rng))
    (path,) = metric.save_json(tmp_path / "out")
    reference = pycocotools_evaluator(dataset.tables, path, "bbox")
    reference.params.useCats = 0
    reference.params.maxDets = [100, 300, 1000]
    quietly(reference.evaluate, reference.accumulate)
    recall = reference.eval["recall"]  # (T, K, A, M)
    expected = [recall[:, :, 0, m].mean() for m in range(3)]
    expected += [recall[:, :, a, 2].mean() for a in (1, 2, 3)]
    assert expected[0] < expected[1]
    np.testing.assert_allclose(list(values.values()), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("as_text", [True, False])
def test_compressed_rle_in_the_ground_truth_counts_like_uncompressed(as_text):
    rng = np.random.default_rng(5)
    dataset = crowded_dataset(rng)
    batches = noisy_detections(dataset, rng)
    expected = run(CocoMetric(), dataset, *batches)
    for annotation in dataset.tables["annotations"]:
        if annotation["iscrowd"]:
            rle = coco_mask.frPyObjects(annotation["segmentation"], 320, 400)
            counts = rle["counts"].decode() if as_text else rle["counts"]
            annotation["segmentation"] = {"size": [320, 400], "counts": counts}
    assert run(CocoMetric(), dataset, *batches) == expected


def test_neither_order_nor_shards_change_a_figure():
    rng = np.random.default_rng(3)
    dataset = crowded_dataset(rng)
    batches = noisy_detections(dataset, rng)
    metric = CocoMetric(classwise=True)
    expected = run(metric, dataset, *batches)
    shards = []
    for rank in range(3):
        metric.reset()
        for detections, metas in reversed(batches[rank::3]):
            metric.process(detections, metas)
        shards.append(metric.results())
    assert metric.compute(metric.merge(shards[::-1])) == expected


def test_computing_twice_gives_the_same_and_leaves_the_data_set_alone():
    rng = np.random.default_rng(4)
    dataset = crowded_dataset(rng)
    before = json.dumps(dataset.tables)
    metric = CocoMetric(metrics=("bbox", "segm", "proposal"))
    first = run(metric, dataset, *noisy_detections(dataset, rng))
    assert metric.compute(metric.results()) == first
    assert json.dumps(dataset.tables) == before


def test_garbage_is_collected_again_after_an_evaluation(monkeypatch):
    run(CocoMetric(), two_images(), (detect([], []), [meta(7), meta(3)]))
    assert gc.isenabled()
    monkeypatch.setattr("mmdet_lite.evaluation.coco_eval.COCOeval_faster", None)
    with pytest.raises(TypeError):
        run(CocoMetric(), two_images(), (detect([], []), [meta(7), meta(3)]))
    assert gc.isenabled()


# ----------------------------------------------------------------------------- output


def test_json_holds_original_ids_and_exact_numbers(tmp_path):
    metric = CocoMetric()
    found = [(20.5, 20, 100, 100, 0.25, 1)]
    batch = detect(found, []), [meta(7, scale=(2.0, 2.0)), meta(3)]
    run(metric, two_images(), batch)
    boxes, segments = metric.save_json(tmp_path / "new" / "val")
    assert [boxes.name, segments.name] == ["val.bbox.json", "val.segm.json"]
    box = {"image_id": 7, "category_id": 17, "score": 0.25, "bbox": [10.25, 10.0, 39.75, 40.0]}
    assert json.loads(boxes.read_text()) == [box]
    (segment,) = json.loads(segments.read_text())
    assert segment["segmentation"]["size"] == [200, 300] and "bbox" not in segment
    assert coco_mask.area(segment["segmentation"]) == pytest.approx(40 * 40, rel=0.05)


def test_table_shows_figures_and_explains_minus_one():
    found = [(10, 10, 50, 50, 0.9, 0)]
    metric = CocoMetric(classwise=True)
    run(metric, two_images(), (detect(found, []), [meta(7), meta(3)]))
    lines = metric.table().splitlines()
    assert lines[0].split() == FIGURES[:6]
    assert lines[2].split() == ["bbox", "0.500", "0.500", "0.500", "-1", "0.500", "-1"]
    assert ["cat", "1.000", "1.000"] in [line.split() for line in lines]
    assert lines[-1] == "-1: no such objects in the ground truth"


# ----------------------------------------------------------------------------- errors


def test_unknown_metrics_are_refused():
    with pytest.raises(ValueError, match=r"\('bbox', 'segm', 'proposal'\), got \['mAP'\]"):
        CocoMetric(metrics=["mAP"])
    with pytest.raises(ValueError, match="must be a list.*got 'bbox'"):
        CocoMetric(metrics="bbox")


def test_unknown_and_flipped_images_are_all_named():
    metric = CocoMetric(metrics=("bbox",))
    metric.prepare(two_images())
    with pytest.raises(ValueError) as error:
        metric.process(detect([], []), [meta(8), meta(3, flip="horizontal")])
    assert "image id 8 (8.jpg) is not in the ground truth" in str(error.value)
    assert "image id 3 (3.jpg) was flipped (horizontal)" in str(error.value)


def test_a_label_beyond_the_classes_names_num_classes():
    metric = CocoMetric(metrics=("bbox",))
    metric.prepare(two_images())
    with pytest.raises(ValueError, match="label 79, but the data set has 2 classes.*cat, dog.*=2"):
        metric.process(detect([(0, 0, 9, 9, 0.5, 79)]), [meta(7)])


def test_detections_that_are_not_finite_are_refused():
    metric = CocoMetric(metrics=("bbox",))
    metric.prepare(two_images())
    found = [(0, 0, float("nan"), 9, 0.5, 0), (0, 0, 9, 9, 0.5, 0)]
    with pytest.raises(ValueError, match=r"1 of 2 detections have a NaN.*image ids 7\)"):
        metric.process(detect(found), [meta(7)])


def test_images_that_were_not_processed_are_named():
    with pytest.raises(ValueError, match=r"1 of the data set's 2 images.*image ids 3\)"):
        run(CocoMetric(), two_images(), (detect([]), [meta(7)]))


def test_images_that_were_processed_twice_are_named():
    batch = detect([], []), [meta(7), meta(3)]
    with pytest.raises(ValueError, match=r"2 images were processed more than once.*ids 3, 7\)"):
        run(CocoMetric(), two_images(), batch, batch)


def test_segm_without_masks_in_the_ground_truth_names_annotations():
    dataset = two_images()
    dataset.tables["annotations"][1]["segmentation"] = []
    with pytest.raises(ValueError, match=r"1 of 2 annotations.*ids 1\).*metrics=\('bbox',\)"):
        CocoMetric().prepare(dataset)


def test_segm_without_masks_in_the_detections_says_so():
    metric = CocoMetric()
    metric.prepare(two_images())
    with pytest.raises(ValueError, match="give the model a mask head"):
        metric.process(detect([], masks=False), [meta(7)])


@pytest.mark.parametrize("classwise", [False, True])
def test_names_are_the_keys_of_what_is_computed(classwise):
    metric = CocoMetric(("bbox", "segm", "proposal"), classwise=classwise)
    values = run(metric, two_images(), (detect([], []), [meta(7), meta(3)]))
    assert metric.names() == list(values)
    assert metric.names()[0] == "bbox_mAP"
