"""What must hold for the records of a COCO file; each check notes all that is wrong."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from mmdet_lite.data.box_formats import check_box_format
from mmdet_lite.data.coco_columns import Annotations, CocoColumns, Images
from mmdet_lite.data.moved_images import where_images_lie
from mmdet_lite.data.problems import SKIP, Problems, show

# Findings about single annotations, which can be left out.
OF_ANNOTATIONS = (
    "box_degenerate",
    "box_outside",
    "polygon_too_short",
    "polygon_odd",
    "polygon_outside",
    "rle_invalid",
)

_ROUNDING = 1.0  # pixels that a box may reach out of its image


def check_ids(columns: CocoColumns, problems: Problems) -> np.ndarray:
    """Ids and category names are unique; annotations refer to what exists.

    Returns:
        (n,) bool: annotations of a known image and category.
    """
    for name in ("images", "categories", "annotations"):
        ids, counts = np.unique(getattr(columns, name).ids, return_counts=True)
        for key, count in zip(ids[counts > 1].tolist(), counts[counts > 1].tolist(), strict=True):
            found = f"id {key} of {name}, {count} times"
            problems.add("error", "duplicate_id", key, found, f"Every id of {name} must be unique.")
    _check_names(columns, problems)
    annotations = columns.annotations
    is_known = np.ones(len(annotations), bool)
    for kind, field, table, name in (
        ("unknown_image", "image_id", columns.images, "images"),
        ("unknown_category", "category_id", columns.categories, "categories"),
    ):
        values = getattr(annotations, f"{field}s")
        is_known &= np.isin(values, table.ids)
        fix = f"Every {field} must be the id of one of the {len(table.listed_ids)} {name}."
        for row in np.flatnonzero(~np.isin(values, table.listed_ids)).tolist():
            found = f"{annotations.name(row)}: {field} {values[row]}"
            problems.add("error", kind, int(annotations.ids[row]), found, fix)
    return is_known


def _check_names(columns: CocoColumns, problems: Problems) -> None:
    categories = columns.categories
    counts = Counter(categories.names)
    if len(counts) == len(categories.names):
        return
    first: dict[str, int] = {}
    for key, name in zip(categories.ids.tolist(), categories.names, strict=True):
        if first.setdefault(name, key) != key:
            found = f"categories {first[name]} and {key} are both {show(name)}"
            fix = "Every name must be unique: rename one, or give its annotations the other's id."
            problems.add("error", "category_name_duplicate", key, found, fix)


@np.errstate(over="ignore")  # huge numbers are outside all the same
def check_boxes(
    annotations: Annotations, sizes: np.ndarray, trust_boxes: bool, problems: Problems
) -> np.ndarray:
    """Boxes are COCO's, and have area inside their image.

    Args:
        annotations: n of them.
        sizes: (n, 2) (height, width) of each one's image.
        trust_boxes: the boxes are what they should be, whatever they look like.
        problems: where everything wrong is noted.

    Returns:
        (n,) bool: those that cannot be used; all can if the format is in doubt.
    """
    boxes = annotations.boxes
    if not trust_boxes and check_box_format(annotations, sizes, problems):
        return np.zeros(len(annotations), bool)
    limits = np.flip(sizes, 1)
    start, extent = boxes[:, :2], boxes[:, 2:]
    visible = np.minimum(start + extent, limits) - np.maximum(start, 0)
    is_negative = (extent < 0).any(axis=1)
    is_outside = (extent > 0).all(axis=1) & (visible <= 0).any(axis=1)
    corners = clip_boxes(boxes, sizes)
    is_flat = (corners[:, 2:] <= corners[:, :2]).any(axis=1) & ~is_negative & ~is_outside
    unusable = is_negative | is_outside | is_flat
    beyond = np.maximum(-start, start + extent - limits).max(axis=1)
    reaches_out = (beyond > _ROUNDING) & ~unusable

    def add(rows: np.ndarray, severity: str, kind: str, what: str, fix: str) -> None:
        for row in np.flatnonzero(rows).tolist():
            height, width = sizes[row]
            box = show(annotations.records[row]["bbox"])
            found = f"{annotations.name(row)}: bbox {box} " + what.format(beyond[row])
            found += f" an image {width} wide and {height} high"
            problems.add(severity, kind, int(annotations.ids[row]), found, fix)

    add(is_negative, "error", "box_degenerate", "has a negative width or height, in", SKIP)
    flat_fix = "Correct or remove these annotations; training leaves them out."
    add(is_flat, "warning", "box_degenerate", "has no width or height, in", flat_fix)
    add(is_outside, "error", "box_outside", "lies outside", SKIP)
    out_fix = "Clip them, if they are right but for that; training does."
    add(reaches_out, "warning", "box_outside", "reaches {:.4g} pixels out of", out_fix)
    return unusable


def check_image_files(image_dir: Path, images: Images, problems: Problems) -> None:
    """All image files exist; a folder is listed once, which is fast on network storage too."""
    if not image_dir.is_dir():
        found = f"image folder not found: {image_dir} (absolute: {image_dir.absolute()})"
        near = where_images_lie(image_dir, images.file_names, len(images.file_names))
        fix = f"Correct image_dir: {near}" if near else "Correct image_dir."
        problems.add("error", "image_missing", None, found, fix)
        return
    by_folder = defaultdict(list)
    for row, file_name in enumerate(images.file_names):
        path = image_dir / file_name
        by_folder[path.parent].append((row, path))
    missing = []
    for folder, paths in by_folder.items():
        present = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        missing += [(row, path) for row, path in paths if path.name not in present]
    names = [images.file_names[row] for row, _ in missing]
    fix = where_images_lie(image_dir, names, len(images.file_names))
    fix = fix or "Fetch them, correct image_dir, or take the images out of the annotation file."
    for row, path in missing:
        key = int(images.ids[row])
        problems.add("error", "image_missing", key, f"image {key}: {path}", fix)


def clip_boxes(boxes_xywh: np.ndarray, size: np.ndarray) -> np.ndarray:
    """COCO's boxes as (n, 4) float32 xyxy inside their image.

    Args:
        boxes_xywh: (n, 4) float64 as in the file.
        size: (2,) image (height, width), or (n, 2) for a size a box.
    """
    limits = np.flip(size, -1)  # (width, height)
    start = boxes_xywh[:, :2]
    end = start + boxes_xywh[:, 2:]
    clipped = [np.clip(corner, 0, limits) for corner in (start, end)]
    return np.concatenate(clipped, axis=1).astype(np.float32)
