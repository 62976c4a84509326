"""COCO's average precision and recall: the evaluation loop is faster-coco-eval's.

Letters, as in COCO: T IoU thresholds, R recall thresholds, K categories, A area ranges, M numbers
of detections an image.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import repeat

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from pycocotools import mask as coco_mask

from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.garbage_collection import garbage_collection_paused

NO_SUCH_OBJECTS = -1.0  # COCO's value where the ground truth has nothing to find

_AREAS = ("", "_s", "_m", "_l")  # all, small (< 32**2 px), medium, large (> 96**2 px)
_IOU_50, _IOU_75 = 0, 5  # places in T: 0.50, 0.55, ..., 0.95

_quiet = logging.getLogger("mmdet_lite.coco_eval").debug


def select_annotations(coco_dict: dict, category_ids: Sequence[int]) -> list[dict]:
    """The annotations of some categories.

    Args:
        coco_dict: ground truth in COCO's format.
        category_ids: the categories that count.
    """
    wanted = set(category_ids)
    return [a for a in coco_dict["annotations"] if a["category_id"] in wanted]


def index_ground_truth(coco_dict: dict, annotations: Sequence[dict]) -> COCO:
    """Make ground truth ready for :func:`evaluate`; what is given is not changed.

    Annotations are numbered anew, from 1: the evaluation takes a match with annotation 0 for no
    match. One without ``area`` has that of its box.

    Args:
        coco_dict: has the images and the categories.
        annotations: those that count.
    """
    numbered = []
    for number, annotation in enumerate(annotations, start=1):
        _, _, width, height = annotation["bbox"]
        defaults = {"area": width * height, "iscrowd": 0}
        numbered.append({**defaults, **annotation, "id": number})
    return _index(coco_dict["images"], coco_dict["categories"], numbered)


def evaluate(
    ground_truth: COCO,
    results: CocoResults,
    metric: str,
    category_ids: Sequence[int],
    max_detections: Sequence[int],
    federated: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Match detections with the ground truth.

    Args:
        ground_truth: from :func:`index_ground_truth`.
        results: detections, sorted by image.
        metric: 'bbox', 'segm', or 'proposal' (boxes without regard to their class).
        category_ids: the data set's category id of each label.
        max_detections: how many of an image's best detections count (for each class, if classes
            count), ascending.
        federated: ground truth of LVIS: a detection without a match is ignored in images in which
            its category is not exhaustively annotated. Detections of categories that an image was
            not searched for must not be among the results.

    Returns:
        Precision (T, R, K, A, M) and recall (T, K, A, M); K in the order of sorted category ids.
    """
    with garbage_collection_paused():  # until the annotations are gone again
        evaluated = _evaluate(
            *(ground_truth, results, metric, category_ids, max_detections, federated)
        )
    return evaluated["precision"], evaluated["recall"]


def summarize_precision(precision: np.ndarray, prefix: str) -> dict[str, float]:
    """Average precision at the largest number of detections, by IoU threshold and object size.

    Args:
        precision: (T, R, K, A, M).
        prefix: of the keys, as in 'bbox_mAP_50'.
    """
    at_most = precision[..., -1]
    values = {
        f"{prefix}_mAP": _mean(at_most[:, :, :, 0]),
        f"{prefix}_mAP_50": _mean(at_most[_IOU_50, :, :, 0]),
        f"{prefix}_mAP_75": _mean(at_most[_IOU_75, :, :, 0]),
    }
    for index, area in enumerate(_AREAS[1:], start=1):
        values[f"{prefix}_mAP{area}"] = _mean(at_most[:, :, :, index])
    return values


def summarize_recall(
    recall: np.ndarray, prefix: str, max_detections: Sequence[int]
) -> dict[str, float]:
    """Average recall by number of detections and, at the largest, by object size.

    Args:
        recall: (T, K, A, M).
        prefix: of the keys, as in 'bbox_AR@100' and 'bbox_AR_s@100'.
        max_detections: the M numbers.
    """
    values = {
        f"{prefix}_AR@{number}": _mean(recall[:, :, 0, index])
        for index, number in enumerate(max_detections)
    }
    for index, area in enumerate(_AREAS[1:], start=1):
        values[f"{prefix}_AR{area}@{max_detections[-1]}"] = _mean(recall[:, :, index, -1])
    return values


def summarize_groups(
    precision: np.ndarray, prefix: str, group_of: Sequence[str], groups: Sequence[str]
) -> dict[str, float]:
    """Average precision of groups of categories, as in 'bbox_mAP_r'.

    Args:
        precision: (T, R, K, A, M).
        prefix: of the keys.
        group_of: the group of each of the K categories.
        groups: those to report.
    """
    belongs = np.asarray(group_of)
    return {
        f"{prefix}_mAP_{group}": _mean(precision[:, :, belongs == group, 0, -1]) for group in groups
    }


def summarize_classes(
    precision: np.ndarray, prefix: str, classes: Sequence[str], category_ids: Sequence[int]
) -> dict[str, float]:
    """Average precision of every class, as in 'bbox_AP/person'.

    Args:
        precision: (T, R, K, A, M).
        prefix: of the keys.
        classes: the K names, by label.
        category_ids: the data set's category id of each label.
    """
    return {
        f"{prefix}_AP/{name}": _mean(precision[:, :, place, 0, -1])
        for name, place in zip(classes, _places(category_ids), strict=True)
    }


def class_columns(
    precision: np.ndarray, recall: np.ndarray, category_ids: Sequence[int]
) -> dict[str, np.ndarray]:
    """COCO's figures of every class at the largest number of detections.

    Args:
        precision: (T, R, K, A, M).
        recall: (T, K, A, M).
        category_ids: the data set's category id of each label.

    Returns:
        (K,) values by label, of 'AP', 'AP_50', 'AP_75', 'AP_s', 'AP_m', 'AP_l' and 'AR'.
    """
    by_label = by_label_curves(precision, category_ids)  # (K, T, R, A)
    found = recall[..., -1].transpose(1, 0, 2)[_places(category_ids)]  # (K, T, A)
    columns = {
        "AP": by_label[..., 0],
        "AP_50": by_label[:, _IOU_50, :, 0],
        "AP_75": by_label[:, _IOU_75, :, 0],
        **{f"AP{area}": by_label[..., index] for index, area in enumerate(_AREAS) if index},
        "AR": found[..., 0],
    }
    return {name: np.array([_mean(row) for row in rows]) for name, rows in columns.items()}


def by_label_curves(precision: np.ndarray, category_ids: Sequence[int]) -> np.ndarray:
    """Precision at the largest number of detections, classes first and by label: (K, T, R, A)."""
    return precision[..., -1].transpose(2, 0, 1, 3)[_places(category_ids)]


def _evaluate(
    ground_truth: COCO,
    results: CocoResults,
    metric: str,
    category_ids: Sequence[int],
    max_detections: Sequence[int],
    federated: bool,
) -> dict:
    annotations = _detection_annotations(results, metric == "segm", category_ids)
    images, categories = (ground_truth.dataset[key] for key in ("images", "categories"))
    evaluator = COCOeval_faster(
        ground_truth,
        _index(images, categories, annotations),
        iouType="segm" if metric == "segm" else "bbox",
        lvis_style=federated,
        print_function=_quiet,
    )
    evaluator.params.catIds = sorted(category_ids)
    evaluator.params.maxDets = list(max_detections)
    evaluator.params.useCats = int(metric != "proposal")
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator.eval


def _detection_annotations(
    results: CocoResults, with_masks: bool, category_ids: Sequence[int]
) -> list[dict]:
    boxes = results.boxes_xywh
    columns = {
        "id": range(1, len(results) + 1),
        "image_id": results.image_ids.tolist(),
        "category_id": np.asarray(category_ids)[results.labels].tolist(),
        "score": results.scores.tolist(),
        "bbox": boxes.tolist(),
        "area": (boxes[:, 2] * boxes[:, 3]).tolist(),
        "iscrowd": repeat(0, len(results)),
    }
    if with_masks:
        segmentations = [results.segmentation(index) for index in range(len(results))]
        areas = [float(coco_mask.area(one)) for one in segmentations]  # it takes 255 at most
        columns |= {"segmentation": segmentations, "area": areas}
    rows = zip(*columns.values(), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _index(images: list[dict], categories: list[dict], annotations: list[dict]) -> COCO:
    tables = {"images": images, "categories": categories, "annotations": annotations}
    return COCO(tables, print_function=_quiet)


def _places(category_ids: Sequence[int]) -> np.ndarray:
    """Where the evaluation has the class of each label."""
    return np.searchsorted(sorted(category_ids), category_ids)


def _mean(values: np.ndarray) -> float:
    counted = values[values > NO_SUCH_OBJECTS]
    return float(counted.mean()) if counted.size else NO_SUCH_OBJECTS
