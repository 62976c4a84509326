"""The content of a COCO file as flat arrays.

Letters: N images, n annotations, K classes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmdet_lite.data.coco_checks import check_areas, check_finite, check_ids, check_segmentations
from mmdet_lite.data.coco_file import CocoDict
from mmdet_lite.data.federated import Federated, is_federated
from mmdet_lite.data.problems import Problems
from mmdet_lite.data.segmentations import PackedSegmentations

logger = logging.getLogger("mmdet_lite")


@dataclass
class CocoTable:
    """What training and evaluation need of a COCO file.

    A forked worker that reads a Python object copies the memory page it lies in, since its
    reference count changes. Arrays have one count each, so workers share them as long as they live.

    Attributes:
        classes: K names, by label.
        category_ids: K ids, by label.
        image_ids: (N,) int64, in the file's order.
        file_names: (N,) str.
        image_sizes: (N, 2) int64 (height, width).
        offsets: (N + 1,) int64; the annotations of image ``i`` are ``offsets[i]:offsets[i + 1]``.
        annotation_ids: (n,) int64.
        labels: (n,) int64 in 0..K-1.
        boxes_xywh: (n, 4) float64, as in the file.
        areas: (n,) float64; the box's where the file gives none.
        is_crowd: (n,) bool.
        segmentations: n masks, or None where they were not asked for.
        federated: LVIS's further fields; None in a file without them.
    """

    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    image_ids: np.ndarray
    file_names: np.ndarray
    image_sizes: np.ndarray
    offsets: np.ndarray
    annotation_ids: np.ndarray
    labels: np.ndarray
    boxes_xywh: np.ndarray
    areas: np.ndarray
    is_crowd: np.ndarray
    segmentations: PackedSegmentations | None
    federated: Federated | None = None


def build_table(
    content: CocoDict,
    classes: Sequence[str] | None,
    with_masks: bool,
    skip_bad: bool,
    problems: Problems,
) -> CocoTable | None:
    """Check the content of a COCO file and pack it.

    Args:
        content: from :func:`mmdet_lite.data.coco_file.read_coco`.
        classes: K names to use, in the order of their labels; None: all of the file, in its order.
        with_masks: check and pack the segmentations too.
        skip_bad: leave out annotations whose box or mask is unusable, with a warning.
        problems: where everything wrong is noted.

    Returns:
        The table, or None if there are problems.
    """
    check_ids(content, problems)
    check_finite(content["annotations"], problems)
    categories = _choose_categories(content["categories"], classes, problems)
    annotations = _of_categories(content["annotations"], categories, problems.subject)
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    annotations = check_areas(annotations, sizes, skip_bad, problems)
    if with_masks:
        annotations = check_segmentations(annotations, sizes, skip_bad, problems)
    if problems.found:
        return None
    table = _pack(content["images"], annotations, categories, with_masks)
    if is_federated(content["images"]):
        records = {category["id"]: category for category in content["categories"]}
        chosen = [records[category_id] for category_id in categories]
        table.federated = Federated(content["images"], chosen)
    return table


def _choose_categories(
    categories: list[dict], classes: Sequence[str] | None, problems: Problems
) -> dict[int, str]:
    """The chosen categories' ids and names, in the order of their labels."""
    if classes is None:
        return {category["id"]: category["name"] for category in categories}
    ids = {category["name"]: category["id"] for category in categories}
    unknown = [repr(name) for name in classes if name not in ids]
    problems.add(
        "classes in metainfo that the file does not have",
        unknown,
        f"The file's categories are: {', '.join(map(repr, ids))}.",
    )
    return {ids[name]: name for name in classes if name in ids}


def _of_categories(annotations: list[dict], categories: dict[int, str], subject: str) -> list[dict]:
    chosen = [a for a in annotations if a["category_id"] in categories]
    others = len(annotations) - len(chosen)
    if others:
        text = "%s: %d of %d annotations are of other classes and are not used"
        logger.info(text, subject, others, len(annotations))
    return chosen


def _pack(
    images: list[dict], annotations: list[dict], categories: dict[int, str], with_masks: bool
) -> CocoTable:
    """Arrays with the annotations in the order of the images; those of one in the file's order."""
    rows = {image["id"]: row for row, image in enumerate(images)}
    labels = {category_id: label for label, category_id in enumerate(categories)}
    annotations = sorted(annotations, key=lambda a: rows[a["image_id"]])
    row_of = np.array([rows[a["image_id"]] for a in annotations], np.int64)
    sizes = np.array([(i["height"], i["width"]) for i in images], np.int64).reshape(-1, 2)
    masks = [a["segmentation"] for a in annotations] if with_masks else None
    return CocoTable(
        classes=tuple(categories.values()),
        category_ids=tuple(categories),
        image_ids=np.array([image["id"] for image in images], np.int64),
        file_names=np.array([image["file_name"] for image in images], np.str_),
        image_sizes=sizes,
        offsets=np.searchsorted(row_of, np.arange(len(images) + 1)),
        annotation_ids=np.array([a["id"] for a in annotations], np.int64),
        labels=np.array([labels[a["category_id"]] for a in annotations], np.int64),
        boxes_xywh=np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4),
        areas=np.array([_area(a) for a in annotations], np.float64),
        is_crowd=np.array([a.get("iscrowd", 0) for a in annotations], bool),
        segmentations=None if masks is None else PackedSegmentations(masks, sizes[row_of]),
    )


def _area(annotation: dict) -> float:
    _, _, width, height = annotation["bbox"]
    area = annotation.get("area")
    return width * height if area is None else area
