"""Objects that are annotated twice, and image files that are listed twice.

Letters: n annotations.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import numpy as np

from mmdet_lite.data.coco_columns import Annotations, Images
from mmdet_lite.data.problems import Problems, show

_NEAR, _NEAR_SHARE = 1.0, 0.05  # pixels, and of the shorter side, by which the four numbers differ
_NEIGHBOURS = 50  # in the order of x: so many boxes of an image and category are compared with each
_MERGE = "Take one of them out; `--fix OUT` does where they are the same in everything but the id."


def check_repeated(annotations: Annotations, problems: Problems) -> None:
    """No object is annotated twice: same image and category, and the same box or nearly so.

    Each finding is about the later one. Those of one id are not looked at: that is told already.

    Args:
        annotations: n of them.
        problems: where they are noted.
    """
    copies = exact_copies(annotations)
    others = np.setdiff1d(np.arange(len(annotations)), list(copies))
    near = {
        int(others[later]): int(others[first]) for later, first in _near_pairs(annotations, others)
    }
    for row, first in sorted((copies | near).items()):
        if annotations.ids[row] == annotations.ids[first]:
            continue
        found = f"the same as annotation {annotations.ids[first]} but for its id"
        if row in near:
            found = _likeness(annotations, row, first)
        key = int(annotations.ids[row])
        found = f"{annotations.name(row)}: {found}"
        problems.add("warning", "annotation_duplicate", key, found, _MERGE)


def exact_copies(annotations: Annotations) -> dict[int, int]:
    """Annotations that are the same as an earlier one in all but the id: its row to that one's."""
    columns = _sorting_columns(annotations, np.arange(len(annotations)))
    order = np.lexsort(columns)
    is_same = np.all([column[order[1:]] == column[order[:-1]] for column in columns], axis=0)
    if not is_same.any():
        return {}
    has_twin = np.concatenate([[False], is_same]) | np.concatenate([is_same, [False]])
    first: dict[str, int] = {}
    copies = {}
    for row in np.sort(order[has_twin]).tolist():
        record = annotations.records[row]
        text = json.dumps(record | {"id": None}, sort_keys=True, default=repr)
        if first.setdefault(text, row) != row:
            copies[row] = first[text]
    return copies


def check_file_names(images: Images, problems: Problems) -> None:
    """No file is listed under two ids."""
    names = list(map(os.path.normpath, images.file_names))
    if len(set(names)) == len(names):
        return
    first: dict[str, int] = {}
    fix = "Keep one of the two, and give the annotations of both its id."
    for key, name in zip(images.ids.tolist(), names, strict=True):
        if first.setdefault(name, key) != key:
            found = f"images {first[name]} and {key} are both {show(name)}"
            problems.add("warning", "file_name_duplicate", key, found, fix)


def _near_pairs(annotations: Annotations, rows: np.ndarray) -> Sequence[tuple[int, int]]:
    """Places in ``rows`` of annotations with nearly the same box, with the first like it."""
    boxes = annotations.boxes[rows]
    columns = _sorting_columns(annotations, rows)
    order = np.lexsort(columns)
    groups, x = [column[order] for column in columns[:-4:-1]], boxes[order, 0]
    first = np.full(len(rows), len(rows))
    places = np.arange(len(rows))  # those whose k-th neighbour may still be near
    for k in range(1, _NEIGHBOURS + 1):
        places = places[places + k < len(rows)]
        is_near = x[places + k] - x[places] <= _NEAR
        for column in groups:
            is_near &= column[places] == column[places + k]
        places = places[is_near]
        if not len(places):
            break
        pairs = np.stack([order[places], order[places + k]])  # (2, m)
        alike = pairs[:, _are_alike(*boxes[pairs])]
        np.minimum.at(first, alike.max(axis=0), alike.min(axis=0))
    later = np.flatnonzero(first < len(rows))
    return list(zip(later.tolist(), first[later].tolist(), strict=True))


def _sorting_columns(annotations: Annotations, rows: np.ndarray) -> tuple[np.ndarray, ...]:
    """(m,) each, the most important last: image, category and crowd, then the box from x on."""
    h, w, y, x = annotations.boxes[rows, ::-1].T
    crowd, category = annotations.is_crowd[rows], annotations.category_ids[rows]
    return h, w, y, x, crowd, category, annotations.image_ids[rows]


def _are_alike(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(m,) bool of (m, 4) xywh each."""
    sides = np.minimum(boxes[:, 2:], others[:, 2:]).min(axis=1)
    return np.abs(boxes - others).max(axis=1) <= np.minimum(_NEAR, _NEAR_SHARE * sides)


def _likeness(annotations: Annotations, row: int, other: int) -> str:
    """What an annotation has in common with another that has nearly the same box."""
    record, twin = annotations.records[row], annotations.records[other]
    of = f"that of annotation {annotations.ids[other]}, of the same category"
    if off := np.abs(annotations.boxes[row] - annotations.boxes[other]).max():
        return f"bbox {show(record['bbox'])} is within {off:.2g} pixels of {of}"
    keys = [key for key in record | twin if key != "id" and record.get(key) != twin.get(key)]
    differ = f"; they differ in {', '.join(map(show, keys))}" if keys else ""
    return f"bbox {show(record['bbox'])} is {of}{differ}"
