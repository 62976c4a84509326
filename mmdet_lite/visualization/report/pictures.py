"""Images of the report, small, with outlines of objects and detections for the page to draw.

Coordinates are whole pixels of the small picture.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.data.sample import Sample
from mmdet_lite.evaluation.analysis import Analysis
from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.evaluation.matching import NO_MATCH
from mmdet_lite.evaluation.tide import TYPES

LEAST_SCORE = 0.05  # detections below are not drawn at any threshold
_LONG_SIDE = 560
_QUALITY = 80
_MOST_FOUND = 100  # detections of a picture
_TOLERANCE = 0.75  # pixels by which an outline may leave its mask


def shrink(sample: Sample) -> dict[str, Any]:
    """An image as the page shows it.

    Returns:
        'file', 'width' and 'height' of the picture in pixels, 'scale' from the image to it, and
        'source', a JPEG as data URI.

    Raises:
        ValueError: OpenCV cannot write it.
    """
    height, width = sample.size
    scale = min(1.0, _LONG_SIDE / max(height, width))
    small = sample.image
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    written, encoded = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]), quality)
    if not written:
        raise ValueError(f"image id {sample.image_id}: OpenCV cannot write it as JPEG")
    data = base64.b64encode(encoded.tobytes()).decode()
    return {
        "file": sample.file,
        "width": small.shape[1],
        "height": small.shape[0],
        "scale": scale,
        "source": f"data:image/jpeg;base64,{data}",
    }


def outline_objects(analysis: Analysis, place: int, scale: float) -> list[dict[str, Any]]:
    """The objects of an image, crowds included.

    Args:
        analysis: of boxes or masks.
        place: of the image, in the ground truth.
        scale: from the image to the picture.

    Returns:
        Of each its 'label', 'box', 'crowd', the score by which it was 'found' (None: by no
        detection), and with masks its 'outline'.
    """
    truth, overlaps = analysis.overlaps.truth, analysis.overlaps
    objects = []
    for index in np.flatnonzero(truth.images == place):
        finder = analysis.matches.found_by[index]
        one = {
            "label": int(truth.labels[index]),
            "box": _scale(truth.boxes_xywh[index], scale),
            "crowd": bool(truth.crowd[index]),
            "found": None if finder == NO_MATCH else _score(overlaps.scores[finder]),
        }
        if truth.segmentations is not None:
            one["outline"] = _outline(truth.segmentations[index], scale)
        objects.append(one)
    return objects


def outline_found(
    analysis: Analysis, results: CocoResults, place: int, scale: float
) -> list[dict[str, Any]]:
    """The detections of an image, the best first.

    Args:
        analysis: of boxes or masks.
        results: that it was made from.
        place: of the image, in the ground truth.
        scale: from the image to the picture.

    Returns:
        Of each its 'label', 'score', 'box', 'outcome' ('true', 'ignored', or the type of its
        error), and with masks its 'outline'.
    """
    overlaps, matches = analysis.overlaps, analysis.matches
    shown = np.flatnonzero((overlaps.images == place) & (overlaps.scores >= LEAST_SCORE))
    found = []
    for index in shown[:_MOST_FOUND]:
        row = overlaps.rows[index]
        outcome = "true" if matches.is_true[index] else "ignored"
        if matches.is_false[index]:
            outcome = TYPES[analysis.errors.types[index]]
        one = {
            "label": int(overlaps.labels[index]),
            "score": _score(overlaps.scores[index]),
            "box": _scale(results.boxes_xywh[row], scale),
            "outcome": outcome,
        }
        if overlaps.truth.segmentations is not None:
            one["outline"] = _outline(results.segmentation(row), scale)
        found.append(one)
    return found


def draw_kinds(
    analyses: Mapping[str, Analysis], results: Mapping[str, CocoResults], place: int, scale: float
) -> dict[str, Any]:
    """Objects and detections of an image by kind, as the page has them."""
    return {
        kind: {
            "objects": outline_objects(analysis, place, scale),
            "found": outline_found(analysis, results[kind], place, scale),
        }
        for kind, analysis in analyses.items()
    }


def _score(score: float) -> float:
    """Rounded down, so that it stays on its side of a threshold."""
    return math.floor(score * 1e4) / 1e4


def _scale(box_xywh: np.ndarray, scale: float) -> list[int]:
    x, y, width, height = np.round(np.asarray(box_xywh) * scale).astype(int).tolist()
    return [x, y, max(width, 1), max(height, 1)]


def _outline(rle: dict, scale: float) -> list[list[int]]:
    """Polygons around a mask, each (x, y, x, y, ...)."""
    bitmap = coco_mask.decode(rle)
    contours, _ = cv2.findContours(bitmap, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    polygons = []
    for contour in contours:
        small = cv2.approxPolyDP((contour * scale).astype(np.float32), _TOLERANCE, True)
        if len(small) > 2:
            polygons.append(np.round(small).astype(int).ravel().tolist())
    return polygons
