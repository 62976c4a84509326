"""All checks of a COCO annotation file: those that loading makes, and those that take longer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmdet_lite.data.coco_checks import check_boxes, check_ids
from mmdet_lite.data.coco_columns import Annotations, Categories, CocoColumns, read_columns
from mmdet_lite.data.coco_file import read_json
from mmdet_lite.data.coco_table import choose_categories, plain_name
from mmdet_lite.data.findings import Finding
from mmdet_lite.data.formats.lvis import complete_lvis, is_lvis
from mmdet_lite.data.problems import Problems, show
from mmdet_lite.doctor.duplicates import check_file_names, check_repeated
from mmdet_lite.doctor.masks import check_masks
from mmdet_lite.garbage_collection import garbage_collection_paused

FORMATS = ("box_xyxy_suspected", "box_center_suspected", "box_normalized_suspected")


@dataclass
class AnnotationReport:
    """What was found in an annotation file.

    Attributes:
        findings: all of them.
        content: what the file holds; None if it cannot be read.
        columns: its sound records; None if there are no such lists.
        mask_areas: pixels of each of ``annotations``; NaN where there is no mask that can be used.
        annotations: those whose boxes were checked and can be used.
    """

    findings: list[Finding]
    content: Any = None
    columns: CocoColumns | None = None
    annotations: Annotations | None = None
    mask_areas: np.ndarray | None = None


def check_annotation_file(
    path: str | Path,
    classes: Sequence[str] | None = None,
    with_masks: bool = False,
    trust_boxes: bool = False,
) -> AnnotationReport:
    """Check an annotation file.

    Args:
        path: the file.
        classes: names of those that are used; None: all. Boxes and masks of others are not looked
            at.
        with_masks: masks are needed.
        trust_boxes: boxes that look like another format's are none the less COCO's.
    """
    problems = Problems(path)
    with garbage_collection_paused():
        try:
            content = read_json(Path(path), problems)
        except OSError as error:
            problems.add("error", "file_missing", None, str(error), "Correct the path.")
        if problems.found:
            return AnnotationReport(problems.found)
        if is_lvis(content):
            content = complete_lvis(content)
        return check_annotations(content, problems, classes, with_masks, trust_boxes)


def check_annotations(
    content: Any,
    problems: Problems,
    classes: Sequence[str] | None = None,
    with_masks: bool = False,
    trust_boxes: bool = False,
) -> AnnotationReport:
    """Check what an annotation file holds; arguments as for :func:`check_annotation_file`.

    Args:
        content: the file's.
        problems: where everything wrong is noted, with the name of the file.
    """
    report = AnnotationReport(problems.found, content)
    report.columns = columns = read_columns(content, problems)
    if columns is None:
        return report
    _check_content(columns, problems)
    is_known = check_ids(columns, problems)
    check_file_names(columns.images, problems)
    chosen = choose_categories(columns.categories, classes, problems)
    is_chosen = np.isin(columns.annotations.category_ids, list(chosen))
    annotations = columns.annotations.select(is_known & is_chosen)
    _check_categories(columns.categories, chosen, annotations, problems)
    sizes = columns.images.sizes[columns.images.rows_of(annotations.image_ids)]
    is_usable = ~check_boxes(annotations, sizes, trust_boxes, problems)
    if not any(finding.kind in FORMATS for finding in problems.found):
        report.annotations = annotations = annotations.select(is_usable)
        report.mask_areas = check_masks(annotations, sizes[is_usable], with_masks, problems)
    check_repeated(annotations, problems)
    return report


def _check_content(columns: CocoColumns, problems: Problems) -> None:
    """There is something to train on."""
    fix = "Look at what wrote the file: a training would learn, or a validation tell, nothing."
    if not len(columns.images.ids):
        problems.add("error", "no_images", None, "there is no image", fix)
    elif not len(columns.annotations):
        found = f"there is no object in {len(columns.images.ids)} images"
        problems.add("warning", "no_images", None, found, fix)


def _check_categories(
    categories: Categories, chosen: dict[int, str], annotations: Annotations, problems: Problems
) -> None:
    """What is worth knowing of ids and classes."""
    ids = np.unique(categories.ids)
    if len(ids) and (ids[0] != 1 or ids[-1] != len(ids)):
        found = f"{len(ids)} ids from {ids[0]} to {ids[-1]}"
        fix = "Nothing, here: labels go by the order of the classes. Other programs may stumble."
        problems.add("note", "category_ids_sparse", None, found, fix)
    used = set(np.unique(annotations.category_ids[~annotations.is_crowd]).tolist())
    fix = "Leave these classes out with metainfo.classes, or add objects."
    others = {plain_name(n): n for n in categories.names if n not in chosen.values()}
    for key, name in chosen.items():
        if key not in used:
            found = f"category {key}, {show(name)}, has no object"
            if other := others.get(plain_name(name)):
                found += f"; did you mean {show(other)}, which is not chosen?"
            problems.add("note", "class_unused", key, found, fix)
