"""What the masks of a file say about its boxes and areas.

Letters: n annotations, p polygons of all of them.
"""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.data.coco_columns import Annotations
from mmdet_lite.data.problems import Problems, show
from mmdet_lite.data.segmentation_checks import check_segmentations
from mmdet_lite.data.segmentations import PackedSegmentations
from mmdet_lite.doctor.crossings import CROSSES, SIMPLE, TOUCHES, self_contacts, without_joins

_AT_ONCE = 50_000  # annotations
# How far a mask's extent may be from its box: pixels, and a share of the box's longer side.
_OFF, _OFF_SHARE = 3.0, 0.1
# How far an area may be from the mask's and the box's: pixels, and a share of it.
_AREA_OFF, _AREA_OFF_SHARE = 20.0, 0.25


@np.errstate(over="ignore", invalid="ignore")  # huge boxes, which are noted as outside
def check_masks(
    annotations: Annotations, sizes: np.ndarray, is_needed: bool, problems: Problems
) -> np.ndarray:
    """Check masks, and the boxes and areas beside them.

    Args:
        annotations: n of them, with boxes that have area.
        sizes: (n, 2) (height, width) of each one's image.
        is_needed: whether the masks are trained on; else one that is not there is a warning, and
            only where others are there.
        problems: where everything wrong is noted.

    Returns:
        (n,) float64 pixels of the masks; NaN where there is none, infinite where it cannot be used.
    """
    has_any = any(record.get("segmentation") for record in annotations.records)
    missing = "error" if is_needed else "warning" if has_any else None
    areas = [np.zeros(0)]
    for start in range(0, len(annotations), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(annotations)))
        some, their_sizes = annotations.select(rows), sizes[rows]
        masks, has_mask = check_segmentations(some, their_sizes, missing, problems)
        _check_polygons(some, masks, problems)
        _check_extents(some, their_sizes, masks.extents(), problems)
        is_given = np.array([bool(record.get("segmentation")) for record in some.records])
        areas.append(np.where(has_mask, _areas_of(masks), np.where(is_given, np.inf, np.nan)))
    areas = np.concatenate(areas)
    _check_areas(annotations, areas, problems)
    _check_crowds(annotations, problems)
    return areas


def _areas_of(masks: PackedSegmentations) -> np.ndarray:
    """(n,) pixels of masks, of polygons the sum of their parts; 0 where there is none."""
    areas = np.zeros(len(masks))
    rows = np.flatnonzero(np.diff(masks.part_offsets))
    if len(rows):
        areas[rows] = np.add.reduceat(_polygon_areas(masks), masks.part_offsets[rows])
    rows = masks.rle_rows()
    if len(rows):
        areas[rows] = [coco_mask.area(masks[row]) for row in rows.tolist()]  # it takes 255 at most
    return areas


def _polygon_areas(masks: PackedSegmentations) -> np.ndarray:
    """(p,) by the shoelace formula."""
    points, offsets = masks.coordinates.reshape(-1, 2), masks.point_offsets // 2
    after = np.arange(len(points)) + 1
    after[offsets[1:] - 1] = offsets[:-1]
    (x, y), (next_x, next_y) = points.T, points[after].T
    return np.abs(np.add.reduceat(x * next_y - next_x * y, offsets[:-1])) / 2


def _check_polygons(
    annotations: Annotations, masks: PackedSegmentations, problems: Problems
) -> None:
    if not len(masks.coordinates):
        return
    owners = np.repeat(np.arange(len(masks)), np.diff(masks.part_offsets))
    points, offsets = masks.coordinates.reshape(-1, 2), masks.point_offsets // 2
    contacts = self_contacts(points, offsets)
    for part in np.flatnonzero(contacts).tolist():
        loops = without_joins(points[offsets[part] : offsets[part + 1]])
        contacts[part] = max(map(_contact, loops), default=SIMPLE)
    lengths = np.diff(masks.point_offsets) // 2
    fix = "Draw them again; where a polygon covers itself, pixels may be in or out."
    for value, severity, what in ((CROSSES, "warning", "crosses"), (TOUCHES, "note", "touches")):
        for part in np.flatnonzero(contacts == value).tolist():
            found = f"a polygon of {lengths[part]} points {what} itself"
            row = int(owners[part])
            _add(severity, "polygon_self_touching", annotations, row, found, fix, problems)


def _contact(polygon: np.ndarray) -> int:
    return int(self_contacts(polygon, np.array([0, len(polygon)]))[0])


def _check_extents(
    annotations: Annotations, sizes: np.ndarray, extents: np.ndarray, problems: Problems
) -> None:
    limits = np.tile(np.flip(sizes, 1), 2)
    boxes = annotations.boxes
    boxes = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1).clip(0, limits)
    off = np.abs(extents.clip(0, limits) - boxes).max(axis=1)
    allowed = np.maximum(_OFF, _OFF_SHARE * (boxes[:, 2:] - boxes[:, :2]).max(axis=1))
    fix = "Find out which of the two is right, and correct the other."
    for row in np.flatnonzero(off > allowed).tolist():
        x1, y1, x2, y2 = extents[row].tolist()
        box = show(annotations.records[row]["bbox"])
        found = f"bbox {box}, but the mask's is [{x1:.6g}, {y1:.6g}, {x2 - x1:.6g}, {y2 - y1:.6g}]"
        _add("warning", "mask_box_disagree", annotations, row, found, fix, problems)


def _check_areas(annotations: Annotations, mask_areas: np.ndarray, problems: Problems) -> None:
    fix = "Give the mask's area, or the box's where there is none: `--fix OUT` does."
    for row in np.flatnonzero(np.isnan(annotations.areas)).tolist():
        found = "no 'area'; that of the box is used"
        _add("note", "area_mismatch", annotations, row, found, fix, problems)
    wrong = wrong_areas(annotations, mask_areas)
    box_areas = annotations.boxes[:, 2:].prod(axis=1)
    for row in np.flatnonzero(wrong).tolist():
        found = f"area {annotations.areas[row]:.6g}, but the box's is {box_areas[row]:.6g}"
        if not np.isnan(mask_areas[row]):
            found += f" and the mask's {mask_areas[row]:.6g}"
        _add("warning", "area_mismatch", annotations, row, found, fix, problems)


def wrong_areas(annotations: Annotations, mask_areas: np.ndarray) -> np.ndarray:
    """(n,) bool: an area is given that is far from the mask's and the box's.

    Not where a mask cannot be used: which of them is right is not known then.
    """
    box_areas = annotations.boxes[:, 2:].prod(axis=1)
    is_far = annotations.areas <= 0
    fits = np.zeros(len(annotations), bool)
    for expected in (np.where(np.isinf(mask_areas), np.nan, mask_areas), box_areas):
        allowed = np.maximum(_AREA_OFF, _AREA_OFF_SHARE * expected)
        fits |= np.abs(annotations.areas - expected) <= allowed
    is_far |= ~fits & ~np.isnan(annotations.areas)
    return is_far & ~np.isinf(mask_areas)


def _check_crowds(annotations: Annotations, problems: Problems) -> None:
    fix = (
        "If these are single objects, set iscrowd to 0: crowds are not learnt from. If they are "
        "crowds, give run lengths."
    )
    for row in np.flatnonzero(annotations.is_crowd).tolist():
        if type(annotations.records[row].get("segmentation")) is list:
            found = "iscrowd is 1, and the segmentation a list of polygons"
            _add("warning", "crowd_polygon", annotations, row, found, fix, problems)


def _add(
    severity: str,
    kind: str,
    annotations: Annotations,
    row: int,
    found: str,
    fix: str,
    problems: Problems,
) -> None:
    found = f"{annotations.name(row)}: {found}"
    problems.add(severity, kind, int(annotations.ids[row]), found, fix)
