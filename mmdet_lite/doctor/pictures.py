"""Pictures for the page: the worst images of each kind of finding, with the boxes in question."""

from __future__ import annotations

import base64
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from mmdet_lite.data.findings import Finding
from mmdet_lite.data.image_io import decode_image
from mmdet_lite.doctor.coco_objects import records
from mmdet_lite.doctor.image_header import read_header

_SIDE = 360  # pixels of a picture's longer side
_QUALITY = 78
_PER_GROUP = 4
_BOXES_SHOWN = 60
_WEIGHTS = {"error": 100, "warning": 10, "note": 1}
_MOST_PIXELS = 40_000_000  # of an image; a page is not worth decoding more

_ABOUT_ANNOTATIONS = ("box_", "polygon_", "rle_", "mask_", "crowd_", "area_")
_ABOUT_ANNOTATIONS += ("annotation_", "unknown_category", "not_finite")
_ABOUT_IMAGES = ("image_", "size_", "exif_", "split_", "file_name_")

Box = tuple[float, float, float, float]
Group = tuple[str, str]  # severity and kind


@dataclass(frozen=True)
class PictureSource:
    """Where the images of a split are.

    Args:
        ann_file: as findings name it.
        image_dir: folder that its ``file_name`` values start from.
        content: of the annotation file; records may be of any type.
    """

    ann_file: str
    image_dir: str
    content: dict[str, Any]


@dataclass(frozen=True)
class Picture:
    """An image with boxes.

    Args:
        title: file name and id.
        uri: of a JPEG, as data.
        size: (width, height) of the image as it is read.
        boxes: those in question, xywh in its pixels.
        other_boxes: the others of the image.
        messages: what was found in it.
    """

    title: str
    uri: str
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    other_boxes: tuple[Box, ...]
    messages: tuple[str, ...]


@dataclass
class _Image:
    path: str
    name: str
    id: Any
    ann_file: str
    findings: list[tuple[Finding, Box | None]] = field(default_factory=list)

    @property
    def weight(self) -> int:
        return sum(_WEIGHTS[finding.severity] for finding, _ in self.findings)


def pick_pictures(
    findings: Sequence[Finding], sources: Sequence[PictureSource], limit: int = 40
) -> dict[Group, list[Picture]]:
    """Choose the images with the most and worst findings, a few for each severity and kind.

    Args:
        findings: about annotations or image files of the sources; others have no picture.
        sources: the splits.
        limit: of pictures altogether.

    Returns:
        Pictures by severity and kind; images that cannot be read have none.
    """
    images: dict[Group, list[_Image]] = {(f.severity, f.kind): [] for f in findings}
    for image in _images_of(findings, sources):
        for group in dict.fromkeys((f.severity, f.kind) for f, _ in image.findings):
            images[group].append(image)
    chosen = {
        group: sorted(of_group, key=lambda image: -image.weight)[:_PER_GROUP]
        for group, of_group in images.items()
    }
    boxes = _boxes_of([image for of_group in chosen.values() for image in of_group], sources)
    pictures: dict[Group, list[Picture]] = defaultdict(list)
    drawn: dict[str, tuple[str, tuple[int, int]] | None] = {}
    for group, of_group in chosen.items():
        for image in of_group:
            if sum(map(len, pictures.values())) >= limit:
                return dict(pictures)
            if image.path not in drawn:
                drawn[image.path] = _draw(image)
            if drawn[image.path]:
                others = boxes[image.ann_file, image.id]
                pictures[group].append(_picture(image, group, others, *drawn[image.path]))
    return dict(pictures)


def _images_of(findings: Sequence[Finding], sources: Sequence[PictureSource]) -> list[_Image]:
    """The images that findings are about, with these."""
    by_path, by_id = {}, {}
    for source in sources:
        ann_file = os.path.normpath(source.ann_file)
        for record in records(source.content, "images"):
            name, id = record.get("file_name"), _key(record.get("id"))
            if isinstance(name, str):
                path = os.path.normpath(os.path.join(source.image_dir, name))
                by_path[path] = by_id[ann_file, id] = _Image(path, name, id, ann_file)
    annotations = _annotations_of(findings, sources)
    images: dict[str, _Image] = {}
    for finding in findings:
        place = os.path.normpath(finding.file)
        image, box = by_path.get(place), None
        if annotation := annotations.get((place, finding.id)):
            image = by_id.get((place, _key(annotation.get("image_id"))))
            box = _box(annotation)
        elif image is None and finding.kind.startswith(_ABOUT_IMAGES):
            image = by_id.get((place, finding.id))
        if image is not None:
            images.setdefault(image.path, image).findings.append((finding, box))
    return list(images.values())


def _annotations_of(
    findings: Sequence[Finding], sources: Sequence[PictureSource]
) -> dict[tuple[str, Any], dict]:
    """The annotations that findings are about, by (annotation file, id)."""
    wanted = {
        (os.path.normpath(finding.file), finding.id)
        for finding in findings
        if finding.kind.startswith(_ABOUT_ANNOTATIONS)
    }
    return {
        key: record
        for source in sources
        for record in records(source.content, "annotations")
        if (key := (os.path.normpath(source.ann_file), _key(record.get("id")))) in wanted
    }


def _boxes_of(
    images: Sequence[_Image], sources: Sequence[PictureSource]
) -> dict[tuple[str, Any], list[Box]]:
    """All boxes of images, by (annotation file, id)."""
    boxes: dict[tuple[str, Any], list[Box]] = {(i.ann_file, i.id): [] for i in images}
    for source in sources:
        ann_file = os.path.normpath(source.ann_file)
        for record in records(source.content, "annotations"):
            of_image = boxes.get((ann_file, _key(record.get("image_id"))))
            if of_image is not None and (box := _box(record)):
                of_image.append(box)
    return boxes


def _draw(image: _Image) -> tuple[str, tuple[int, int]] | None:
    """A data URI and the image's (width, height); None if it is not to be decoded."""
    if any(finding.kind == "image_corrupt" for finding, _ in image.findings):
        return None  # it may crash the decoder, and this process with it
    try:
        content = Path(image.path).read_bytes()
        header = read_header(content)
        if header is None or header.num_pixels > _MOST_PIXELS:
            return None
        pixels = decode_image(content, image.path)
    except (OSError, ValueError):
        return None
    height, width = pixels.shape[:2]
    factor = min(_SIDE / max(height, width), 1)
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    options = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    _, content = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), options)
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}", (width, height)


def _picture(
    image: _Image, group: Group, others: Sequence[Box], uri: str, size: tuple[int, int]
) -> Picture:
    mine = [(f, box) for f, box in image.findings if (f.severity, f.kind) == group]
    boxes = tuple(box for _, box in mine if box)
    return Picture(
        title=f"{image.name} (id {image.id})",
        uri=uri,
        size=size,
        boxes=boxes[:_BOXES_SHOWN],
        other_boxes=tuple(box for box in others if box not in boxes)[:_BOXES_SHOWN],
        messages=tuple(dict.fromkeys(f.message for f, _ in mine)),
    )


def _box(record: dict) -> Box | None:
    box = record.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return None
    try:
        x, y, width, height = (float(value) for value in box)
    except (TypeError, ValueError):
        return None
    is_drawable = all(abs(value) < 1e6 for value in (x, y, width, height))  # nor NaN
    return (x, y, max(width, 0.0), max(height, 0.0)) if is_drawable else None


def _key(value: Any) -> Any:
    """An id as a key; what is no id matches nothing."""
    return value if isinstance(value, (int, str)) else None
