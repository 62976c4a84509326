"""What is found wrong with a data set: one record a defect, so that text, JSON and pages agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]

# What a defect is called, and what the name means. Names are stable: programs may rely on them.
KINDS = {
    "file_missing": "the annotation file is not there",
    "labels_invalid": "labels in another format than COCO's that cannot be read",
    "label_numbering_suspected": "YOLO's labels look as if they were counted from 1, not from 0",
    "no_images": "the annotation file lists no image, or no object",
    "json_invalid": "the annotation file is not JSON, or cut off",
    "wrong_type": "a value is of another type than COCO's format has there",
    "missing_key": "a key that is needed is not there",
    "not_finite": "a number is NaN or infinite",
    "duplicate_id": "an id is given twice",
    "unknown_image": "an annotation of an image that is not listed",
    "unknown_category": "a category that is not listed",
    "image_missing": "a listed image has no file",
    "image_unlisted": "an image file is not listed",
    "size_mismatch": "the image file has another size than the annotation file says",
    "exif_rotated": "height and width are exchanged, as the EXIF orientation was not applied",
    "box_degenerate": "a box without area",
    "box_outside": "a box reaches out of its image, or lies outside",
    "box_xyxy_suspected": "boxes look like [x1, y1, x2, y2], not [x, y, width, height]",
    "box_center_suspected": "boxes look like [center x, center y, width, height], not COCO's",
    "box_normalized_suspected": "boxes look like shares of the image's size, not pixels",
    "area_mismatch": "'area' is not there, or not that of the mask or box",
    "polygon_too_short": "a polygon of fewer than three points",
    "polygon_odd": "a polygon with an odd count of coordinates",
    "polygon_outside": "a polygon reaches out of its image",
    "polygon_self_touching": "a polygon that crosses or touches itself",
    "rle_invalid": "run lengths that do not fit the image",
    "mask_box_disagree": "a mask whose extent is not its box",
    "crowd_polygon": "a crowd with polygons: COCO has run lengths there",
    "annotation_duplicate": "an object that is annotated twice",
    "file_name_duplicate": "an image file that is listed under two ids",
    "category_ids_sparse": "category ids with gaps, or from 0 on",
    "category_name_duplicate": "two categories of one name",
    "class_unused": "a class without a single object",
    "split_leak": "an image is in training and validation",
    "image_corrupt": "an image file cannot be decoded",
    "image_unusual": "an image file that is read, but not as it may seem",
}


@dataclass(frozen=True)
class Finding:
    """One defect.

    Args:
        severity: 'error' (cannot be used so), 'warning' (can be, and is probably wrong), 'note'.
        kind: a name of ``KINDS``.
        file: the annotation file or the image file that it is in.
        id: the id of the annotation, image or category; None where there is none.
        message: what was found, with its value, and what was expected.
        fix: what to do.
    """

    severity: Severity
    kind: str
    file: str
    id: int | str | None
    message: str
    fix: str

    def __post_init__(self):
        assert self.kind in KINDS, f"unknown kind of finding: {self.kind}"
