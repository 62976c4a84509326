"""The content of a COCO file as flat arrays.

Letters: N images, n annotations, K classes.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmdet_lite.data.coco_checks import check_boxes, check_ids
from mmdet_lite.data.coco_columns import Annotations, Categories, CocoColumns, Images
from mmdet_lite.data.federated import Federated
from mmdet_lite.data.problems import Problems
from mmdet_lite.data.segmentation_checks import check_segmentations
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
    columns: CocoColumns,
    classes: Sequence[str] | None,
    with_masks: bool,
    trust_boxes: bool,
    problems: Problems,
) -> CocoTable:
    """Check the records of a COCO file, and arrange those that can be used.

    Args:
        columns: from :func:`mmdet_lite.data.coco_columns.read_columns`.
        classes: K names to use, in the order of their labels; None: all of the file, in its order.
        with_masks: check and pack the segmentations too.
        trust_boxes: boxes that look like another format's are none the less COCO's.
        problems: where everything wrong is noted.

    Returns:
        The annotations of known images and chosen classes whose box and mask can be used.
    """
    is_known = check_ids(columns, problems)
    categories = choose_categories(columns.categories, classes, problems)
    annotations = _of_categories(columns.annotations.select(is_known), categories, problems.file)
    rows = columns.images.rows_of(annotations.image_ids)
    # in the order of the images; those of one in the file's order
    order = np.argsort(rows, kind="stable")
    annotations, rows = annotations.select(order), rows[order]
    sizes = columns.images.sizes[rows]
    is_usable = ~check_boxes(annotations, sizes, trust_boxes, problems)
    masks = None
    if with_masks:
        masks, has_mask = check_segmentations(annotations, sizes, "error", problems)
        is_usable &= has_mask
        masks = masks.select(is_usable)
    annotations = annotations.select(is_usable)
    return _pack(columns.images, rows[is_usable], annotations, categories, masks)


def choose_categories(
    categories: Categories, classes: Sequence[str] | None, problems: Problems
) -> dict[int, str]:
    """The chosen categories' ids and names, in the order of their labels.

    Args:
        categories: those of the file.
        classes: K names; None: all.
        problems: where names are noted that the file does not have.
    """
    if classes is None:
        return dict(zip(categories.ids.tolist(), categories.names, strict=True))
    ids = dict(zip(categories.names, categories.ids.tolist(), strict=True))
    fix = f"The file's categories are: {', '.join(map(repr, ids))}."
    for name in classes:
        if name not in ids:
            found = f"class {name!r} of metainfo{_did_you_mean(name, list(ids))}"
            problems.add("error", "unknown_category", name, found, fix)
    return {ids[name]: name for name in classes if name in ids}


def plain_name(name: str) -> str:
    """A name without what is written in one way or another: case, spaces, underscores, hyphens."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _did_you_mean(name: str, names: Sequence[str]) -> str:
    plain = {plain_name(one): one for one in reversed(names)}
    near = difflib.get_close_matches(plain_name(name), plain, n=1, cutoff=0.8)
    return f"; did you mean {plain[near[0]]!r}?" if near else ""


def _of_categories(annotations: Annotations, categories: dict[int, str], file: str) -> Annotations:
    is_chosen = np.isin(annotations.category_ids, list(categories))
    if others := int((~is_chosen).sum()):
        text = "annotation file %s: %d of %d annotations are of other classes and are not used"
        logger.info(text, file, others, len(annotations))
    return annotations.select(is_chosen)


@np.errstate(over="ignore")  # areas of huge boxes
def _pack(
    images: Images,
    rows: np.ndarray,
    annotations: Annotations,
    categories: dict[int, str],
    masks: PackedSegmentations | None,
) -> CocoTable:
    keys = np.array(list(categories), np.int64)
    order = np.argsort(keys, kind="stable")
    labels = order[np.searchsorted(keys, annotations.category_ids, sorter=order)]
    box_areas = annotations.boxes[:, 2:].prod(axis=1)
    return CocoTable(
        classes=tuple(categories.values()),
        category_ids=tuple(categories),
        image_ids=images.ids,
        file_names=np.array(images.file_names, np.str_),
        image_sizes=images.sizes,
        offsets=np.searchsorted(rows, np.arange(len(images.ids) + 1)),
        annotation_ids=annotations.ids,
        labels=labels,
        boxes_xywh=annotations.boxes,
        areas=np.where(np.isnan(annotations.areas), box_areas, annotations.areas),
        is_crowd=annotations.is_crowd,
        segmentations=masks,
    )
