"""What must hold for the content of a COCO file; each check notes all that is wrong."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mmdet_lite.data.coco_file import CocoDict
from mmdet_lite.data.problems import Problems, describe
from mmdet_lite.data.segmentations import segmentation_fault

logger = logging.getLogger("mmdet_lite")

Sizes = dict[int, tuple[int, int]]  # image id -> (height, width)


def check_ids(content: CocoDict, problems: Problems) -> None:
    """Ids and category names are unique; annotations refer to what exists; images have a size."""
    for section in ("images", "categories", "annotations"):
        repeated = _repeated(record["id"] for record in content[section])
        problems.add(f"repeated ids of {section}", repeated, "Every id must be unique.")
    names = _repeated(category["name"] for category in content["categories"])
    problems.add("repeated category names", names, "Every name must be unique.")

    for key, section in (("image_id", "images"), ("category_id", "categories")):
        known = {record["id"] for record in content[section]}
        unknown = [
            f"{_name(a)}: {key} {a[key]}" for a in content["annotations"] if a[key] not in known
        ]
        advice = f"Every {key} must be the id of one of the {len(known)} {section}."
        problems.add(f"annotations of unknown {section}", unknown, advice)

    flat = [
        f"image {image['id']} ({image['file_name']}): {image['height']} x {image['width']}"
        for image in content["images"]
        if min(image["height"], image["width"]) < 1
    ]
    problems.add("images without a size (height x width)", flat, "Both must be positive.")


def check_finite(annotations: list[dict], problems: Problems) -> None:
    """No box has NaN or infinite numbers, whatever its class."""
    bad = [a for a in annotations if not math.isfinite(sum(a["bbox"]))]
    problems.add(
        "boxes with NaN or infinite numbers",
        [f"{_name(a)}: bbox {a['bbox']}" for a in bad],
        "Correct or remove these annotations: bbox is [x, y, width, height] in pixels.",
    )


def check_areas(
    annotations: list[dict], sizes: Sizes, skip_bad: bool, problems: Problems
) -> list[dict]:
    """Boxes have area inside their image.

    Args:
        annotations: those of the chosen classes.
        sizes: of all images; annotations of other images are not looked at.
        skip_bad: leave out boxes without area and warn, instead of noting a problem.
        problems: where everything wrong is noted.

    Returns:
        The annotations that may be used.
    """
    annotations = [a for a in annotations if a["image_id"] in sizes]
    boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
    size = np.array([sizes[a["image_id"]] for a in annotations], np.int64).reshape(-1, 2)
    corners = clip_boxes(boxes, size)
    is_flat = (boxes[:, 2:] <= 0).any(axis=1) | (corners[:, 2:] <= corners[:, :2]).any(axis=1)
    is_flat &= np.isfinite(boxes).all(axis=1)  # the others are noted by check_finite
    bad = {}
    for row in np.flatnonzero(is_flat).tolist():
        height, width = size[row]
        bad[row] = f"{_name(annotations[row])}: bbox {annotations[row]['bbox']}"
        bad[row] += f" of an image {width} wide and {height} high"
    what = "boxes without area in their image (width or height <= 0, or wholly outside)"
    return _leave_out(annotations, bad, what, skip_bad, problems)


def check_segmentations(
    annotations: list[dict], sizes: Sizes, skip_bad: bool, problems: Problems
) -> list[dict]:
    """Every annotation has a mask that can be used; arguments as for :func:`check_areas`."""
    problems.add(
        "annotations without 'segmentation'",
        [_name(a) for a in annotations if not a.get("segmentation")],
        "Add the masks, or use the boxes alone: with_masks=False.",
    )
    bad = {}
    for row, annotation in enumerate(annotations):
        value = annotation.get("segmentation")
        fault = segmentation_fault(value, sizes[annotation["image_id"]]) if value else None
        if fault:
            bad[row] = f"{_name(annotation)}: {fault}"
    return _leave_out(annotations, bad, "unusable masks", skip_bad, problems)


def check_image_files(image_dir: Path, file_names: Sequence[str], problems: Problems) -> None:
    """All image files exist; a folder is listed once, which is fast on network storage too."""
    if not image_dir.is_dir():
        where = f"{image_dir} (absolute: {image_dir.absolute()})"
        problems.add("image folder not found", [where], "Correct image_dir.")
        return
    by_folder = defaultdict(list)
    for file_name in file_names:
        path = image_dir / file_name
        by_folder[path.parent].append(path)
    missing = []
    for folder, paths in by_folder.items():
        present = set(os.listdir(folder)) if folder.is_dir() else set()
        missing += [str(path) for path in paths if path.name not in present]
    advice = "Fetch them, correct image_dir, or take the images out of the annotation file."
    problems.add(f"missing image files, of {len(file_names)}", missing, advice)


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


def _leave_out(
    annotations: list[dict], bad: dict[int, str], what: str, skip_bad: bool, problems: Problems
) -> list[dict]:
    if not skip_bad:
        advice = "Correct the file, or leave these out with bad_annotations='skip'."
        problems.add(what, list(bad.values()), advice)
    elif bad:
        report = describe(what, list(bad.values()), "These annotations are left out.")
        logger.warning("%s\n%s", problems.subject, report)
    return [annotation for row, annotation in enumerate(annotations) if row not in bad]


def _repeated(values: Iterable) -> list[str]:
    return [f"{value!r}, {n} times" for value, n in Counter(values).items() if n > 1]


def _name(annotation: dict) -> str:
    return f"annotation {annotation['id']} (image {annotation['image_id']})"
