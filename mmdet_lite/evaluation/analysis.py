"""All figures of a report, in types that JSON has.

Letters: N images, K classes, T IoU thresholds, S score thresholds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmdet_lite.evaluation import coco_eval, crowding, tide
from mmdet_lite.evaluation.calibration import Calibration, calibrate
from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.evaluation.confusion import confusion_changes
from mmdet_lite.evaluation.matching import Matches, match
from mmdet_lite.evaluation.overlaps import Overlaps, Truth, find_overlaps
from mmdet_lite.evaluation.pr_curves import pr_curves
from mmdet_lite.evaluation.score_counts import (
    SCORE_THRESHOLDS,
    ImageCounts,
    class_histograms,
    image_counts,
)

IOU_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
IOU = 0.5  # of everything but the average precision
_AREA_EDGES = (32**2, 96**2)  # COCO's small, medium and large


@dataclass
class Analysis:
    """One kind of figures of one run.

    Attributes:
        numbers: the figures, as in docs/report.md.
        overlaps: what they were computed from.
        matches: at an IoU of 0.5.
        errors: TIDE's types.
        counts: of each image, at the report's score threshold.
    """

    numbers: dict[str, Any]
    overlaps: Overlaps
    matches: Matches
    errors: tide.Errors
    counts: ImageCounts


def analyse(
    kind: str,
    truth: Truth,
    results: CocoResults,
    curves: tuple[np.ndarray, np.ndarray],
    category_ids: Sequence[int],
    max_detections: Sequence[int],
    score_threshold: float,
) -> Analysis:
    """Compute all figures of boxes or of masks.

    Args:
        kind: 'bbox' or 'segm'.
        truth: the objects, with masks for 'segm'.
        results: the detections.
        curves: precision and recall of :func:`mmdet_lite.evaluation.coco_eval.evaluate`.
        category_ids: the data set's category id of each label.
        max_detections: as the evaluation had them.
        score_threshold: of what is counted by image.
    """
    precision, recall = curves
    overlaps = find_overlaps(truth, results, max_detections[-1], with_masks=kind == "segm")
    matches = {threshold: match(overlaps, threshold) for threshold in IOU_THRESHOLDS}
    at_50 = matches[IOU]
    errors = tide.find_errors(overlaps, at_50)
    counts = image_counts(overlaps, at_50, score_threshold)
    true, false = class_histograms(overlaps, at_50)
    figures = coco_eval.summarize_precision(precision, kind)
    figures |= coco_eval.summarize_recall(recall, kind, max_detections)
    numbers = {
        "figures": {key.removeprefix(f"{kind}_"): value for key, value in figures.items()},
        "classes": {
            "objects": overlaps.num_objects,
            "detections": np.bincount(overlaps.labels, minlength=truth.num_classes),
            **coco_eval.class_columns(precision, recall, category_ids),
        },
        "curves": pr_curves(precision, category_ids),
        "scores": {"true": true, "false": false},
        "confusion": confusion_changes(overlaps, at_50, IOU, SCORE_THRESHOLDS),
        "calibration": _calibration_numbers(calibrate(overlaps, at_50)),
        "errors": {
            "counts": tide.count_errors(errors),
            "gains": tide.gains(overlaps, at_50, errors),
        },
        "sizes": _objects_by_size(truth),
        "objects_an_image": crowding.by_objects_an_image(overlaps, matches),
        "overlap": crowding.by_overlap(truth, at_50),
        "images": {"true": counts.true, "false": counts.false, "missed": counts.missed},
    }
    return Analysis(to_json(numbers), overlaps, at_50, errors, counts)


def describe(truth: Truth) -> dict[str, Any]:
    """How large a data set is, and a checksum that tells whether two are the same."""
    digest = hashlib.sha256()
    for column in (truth.image_ids, truth.images, truth.labels, truth.boxes_xywh, truth.crowd):
        digest.update(np.ascontiguousarray(column).tobytes())
    return {
        "images": len(truth.image_ids),
        "objects": int((~truth.crowd).sum()),
        "crowds": int(truth.crowd.sum()),
        "checksum": digest.hexdigest()[:16],
    }


def to_json(value: Any) -> Any:
    """Arrays as lists; floats with five digits, and None where there is no value (NaN, -1)."""
    if isinstance(value, dict):
        return {key: to_json(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return to_json(value.tolist())
    if isinstance(value, list):
        return [to_json(each) for each in value]
    if isinstance(value, float):
        return None if math.isnan(value) or value == coco_eval.NO_SUCH_OBJECTS else round(value, 5)
    return value


def _calibration_numbers(calibration: Calibration) -> dict[str, np.ndarray]:
    return {
        "counts": calibration.counts,
        "scores": calibration.scores,
        "shares": calibration.shares,
        "errors": calibration.errors,
    }


def _objects_by_size(truth: Truth) -> list[int]:
    """Objects that are small, medium and large."""
    sizes = np.digitize(truth.areas[~truth.crowd], _AREA_EDGES)
    return np.bincount(sizes, minlength=3).tolist()
