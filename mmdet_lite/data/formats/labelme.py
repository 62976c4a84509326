"""LabelMe: one JSON file an image, with the shapes that were drawn on it."""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.data.coco_file import CocoDict
from mmdet_lite.data.formats.files import ImageCopier, by_image, check_new, names_by_id
from mmdet_lite.data.formats.source import (
    CocoBuilder,
    Defects,
    ReadOptions,
    Source,
    extent,
    polygon_area,
    read_image_size,
    relative_name,
    tidy,
)

_CIRCLE_POINTS = 64
_BEGINNING = 65536  # bytes in which 'shapes' begins
_NO_OBJECTS = ("point", "line", "linestrip", "points")
_FORM = "A file has 'imagePath' and 'shapes', each with 'label', 'shape_type' and 'points'."


@dataclass
class _Object:
    """Shapes that are one object."""

    label: str
    where: str
    is_crowd: bool = False
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    polygons: list[list[float]] = field(default_factory=list)
    bitmaps: list[np.ndarray] = field(default_factory=list)
    has_rectangle: bool = False


def read_labelme(path: Path, options: ReadOptions) -> Source:
    """Read a folder of LabelMe's files.

    Polygons, circles and masks are objects with a mask. A rectangle is a box alone: it says
    nothing about the mask. Shapes of one label and one ``group_id`` are one object. Points and
    lines have no area and are left out. Embedded images (``imageData``) are not read. A true flag
    ``iscrowd`` makes a crowd.

    Args:
        path: the folder.
        options: ``image_dir`` is where ``imagePath`` starts from; None: the file's folder.

    Raises:
        ValueError: files are malformed, or there are none; all defects are listed.
    """
    defects = Defects(f"LabelMe folder {path}")
    builder = CocoBuilder(defects, options.skip_bad)
    root = options.image_dir or path
    left_out: Counter[str] = Counter()
    files = sorted(path.glob("*.json"))
    if not files:
        defects.add("no files", f"{path}/*.json", "Give the folder that LabelMe saved to.")
    for file in files:
        content = _read_file(file, defects)
        if content is None:
            continue
        image_file = (options.image_dir or file.parent) / content["imagePath"].replace("\\", "/")
        size = _size(content) or read_image_size(image_file, defects)
        if size is None:
            continue
        image = builder.add_image(relative_name(image_file, root), size)
        for one in _objects(content["shapes"], file, size, left_out, defects):
            _add(one, image, builder)
    defects.raise_if_any()
    notes = builder.notes
    if left_out:
        listed = ", ".join(f"{count} of type {kind!r}" for kind, count in left_out.items())
        notes.append(f"shapes without area are left out: {listed}")
    return Source("labelme", builder.content(options.classes), root, notes)


def write_labelme(
    content: CocoDict, image_dir: Path, out: Path, split: str | None = None
) -> list[str]:
    """Write a folder of images and LabelMe's files.

    Polygons become polygons, several of an object with one ``group_id``; run lengths become masks;
    an object without a mask a rectangle. Ids and classes without objects are not kept.

    Args:
        content: COCO's dict.
        image_dir: where its ``file_name`` values start from; the images are copied.
        out: the folder, which must be new.
        split: must be None, as LabelMe has no splits.

    Returns:
        What could not be kept: nothing.

    Raises:
        FileExistsError: the folder is there already.
        ValueError: ``split`` is given, or two images would have the same name.
    """
    if split is not None:
        raise ValueError(f"LabelMe has no splits, got split={split!r}; write it to its own folder")
    check_new(out)
    copier = ImageCopier(image_dir, out, content["images"], flat=True)
    names, objects = names_by_id(content), by_image(content)
    for image in content["images"]:
        file_name = copier.copy(image)
        shapes = []
        for group, annotation in enumerate(objects.get(image["id"], ()), start=1):
            shapes += _shapes(annotation, image, names[annotation["category_id"]], group)
        record = {
            "version": "5.4.1",
            "flags": {},
            "shapes": shapes,
            "imagePath": file_name,
            "imageData": None,
            "imageHeight": image["height"],
            "imageWidth": image["width"],
        }
        (out / file_name).with_suffix(".json").write_text(json.dumps(record, indent=2))
    return []


def is_labelme(file: Path) -> bool:
    """Whether a JSON file is one of LabelMe's, as its beginning shows."""
    with file.open("rb") as opened:
        return b'"shapes"' in opened.read(_BEGINNING)


def _read_file(file: Path, defects: Defects) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_bytes())
    except json.JSONDecodeError as error:
        example = f"{file}:{error.lineno}: {error.msg}"
        defects.add("files that are not JSON", example, "Save them anew, or complete them.")
        return None
    fields = {"imagePath": str, "shapes": list}
    for key, kind in fields.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), kind):
            defects.add(
                "files that are not LabelMe's", f"{file}: no {key!r} ({kind.__name__})", _FORM
            )
            return None
    return content


def _size(content: dict[str, Any]) -> tuple[int, int] | None:
    size = (content.get("imageHeight"), content.get("imageWidth"))
    return size if all(isinstance(edge, int) and edge > 0 for edge in size) else None


def _objects(
    shapes: Sequence[Any],
    file: Path,
    size: tuple[int, int],
    left_out: Counter[str],
    defects: Defects,
) -> list[_Object]:
    """The objects of a file; those of a group stand where its first shape does."""
    found: dict[tuple, _Object] = {}
    for number, shape in enumerate(shapes):
        where = f"{file}, shape {number + 1}"
        fault = _fault(shape)
        if fault:
            defects.add("malformed shapes", f"{where}: {fault}", _FORM)
            continue
        kind = shape.get("shape_type") or "polygon"
        if kind in _NO_OBJECTS:
            left_out[kind] += 1
            continue
        group = shape.get("group_id")
        key = (number,) if group is None else (shape["label"], group)
        one = found.setdefault(key, _Object(shape["label"], where))
        one.is_crowd |= bool((shape.get("flags") or {}).get("iscrowd"))
        fault = _draw(one, kind, shape, size)
        if fault:
            defects.add("malformed shapes", f"{where}: {fault}", _FORM)
    return [one for one in found.values() if one.boxes]


def _fault(shape: Any) -> str | None:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str):
        return "no 'label'"
    points = shape.get("points")
    if not isinstance(points, list) or not all(_is_point(point) for point in points):
        return f"{shape['label']!r}: 'points' must be [[x, y], ...]"
    return None


def _is_point(point: Any) -> bool:
    if not isinstance(point, list) or len(point) != 2:
        return False
    return all(isinstance(v, (int, float)) and math.isfinite(v) for v in point)


def _draw(one: _Object, kind: str, shape: dict, size: tuple[int, int]) -> str | None:
    """Add a shape to its object; says what is wrong with it."""
    points = shape["points"]
    needed = {"polygon": 3, "rectangle": 2, "circle": 2, "mask": 2}
    if kind not in needed:
        return f"shape_type {kind!r}; known are {', '.join([*needed, *_NO_OBJECTS])}"
    if len(points) < needed[kind] or (kind != "polygon" and len(points) != 2):
        return f"a {kind} of {len(points)} points, expected {needed[kind]}"
    if kind == "mask":
        return _draw_mask(one, shape, size)
    if kind == "rectangle":
        one.has_rectangle = True
        one.boxes.append(extent([[v for point in points for v in point]]))
        return None
    polygon = _circle(*points) if kind == "circle" else [v for point in points for v in point]
    one.polygons.append([tidy(value) for value in polygon])
    one.boxes.append(extent([polygon]))
    return None


def _circle(center: list[float], edge: list[float]) -> list[float]:
    radius = math.dist(center, edge)
    angles = [2 * math.pi * k / _CIRCLE_POINTS for k in range(_CIRCLE_POINTS)]
    points = [(center[0] + radius * math.cos(a), center[1] + radius * math.sin(a)) for a in angles]
    return [value for point in points for value in point]


def _draw_mask(one: _Object, shape: dict, size: tuple[int, int]) -> str | None:
    """A mask is a PNG of its extent, whose corners, both included, are the two points."""
    (x1, y1), (x2, y2) = ([round(v) for v in point] for point in shape["points"])
    try:
        png = np.frombuffer(base64.b64decode(shape.get("mask") or "", validate=True), np.uint8)
    except ValueError:
        png = np.zeros(0, np.uint8)
    part = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE) if png.size else None
    if part is None:
        return "a mask whose 'mask' is not a PNG in base64"
    if part.shape != (y2 - y1 + 1, x2 - x1 + 1):
        shown = f"{part.shape[1]} x {part.shape[0]}"
        return f"a mask of {shown} pixels from {x1}, {y1} to {x2}, {y2}, both included"
    if min(x1, y1) < 0 or x2 >= size[1] or y2 >= size[0]:
        return f"a mask to pixel {x2}, {y2} of an image {size[1]} wide and {size[0]} high"
    bitmap = np.zeros(size, np.uint8)
    bitmap[y1 : y2 + 1, x1 : x2 + 1] = part > 0
    one.bitmaps.append(bitmap)
    one.boxes.append((x1, y1, x2 + 1, y2 + 1))
    return None


def _add(one: _Object, image: dict, builder: CocoBuilder) -> None:
    corners = np.array(one.boxes)
    box = [*corners[:, :2].min(axis=0).tolist(), *corners[:, 2:].max(axis=0).tolist()]
    segmentation, area = None, None
    if one.bitmaps and not one.has_rectangle:
        segmentation = _rle(one, image)
        area = float(coco_mask.area(segmentation))
    elif one.polygons and not one.has_rectangle:
        segmentation, area = one.polygons, polygon_area(one.polygons)
    builder.add_object(image, one.label, box, one.where, segmentation, one.is_crowd, area)


def _rle(one: _Object, image: dict) -> dict[str, Any]:
    size = (image["height"], image["width"])
    rles = [coco_mask.encode(np.asfortranarray(bitmap)) for bitmap in one.bitmaps]
    if one.polygons:
        rles += coco_mask.frPyObjects(one.polygons, *size)
    rle = coco_mask.merge(rles)
    return {"size": list(size), "counts": rle["counts"].decode()}


def _shapes(annotation: dict, image: dict, label: str, group: int) -> list[dict]:
    """The shapes of one object."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, list) and segmentation:
        kind = "polygon"
        parts = [np.reshape(polygon, (-1, 2)).tolist() for polygon in segmentation]
    elif isinstance(segmentation, dict):
        kind = "mask"
        parts, png = _crop(segmentation, image)
    else:
        kind = "rectangle"
        x, y, width, height = annotation["bbox"]
        parts = [[[x, y], [tidy(x + width), tidy(y + height)]]]
    shape = {
        "label": label,
        "group_id": group if len(parts) > 1 else None,
        "shape_type": kind,
        "flags": {"iscrowd": True} if annotation.get("iscrowd") else {},
    }
    if kind == "mask":
        shape["mask"] = png
    return [shape | {"points": points} for points in parts]


def _crop(segmentation: dict, image: dict) -> tuple[list, str]:
    """The corners of a mask's extent, and what is in it as PNG."""
    rle = segmentation
    if not isinstance(rle["counts"], (str, bytes)):
        rle = coco_mask.frPyObjects(rle, image["height"], image["width"])
    bitmap = coco_mask.decode(rle)
    ys, xs = np.nonzero(bitmap)
    if not len(xs):
        return [], ""
    x1, y1, x2, y2 = (int(v) for v in (xs.min(), ys.min(), xs.max(), ys.max()))
    _, png = cv2.imencode(".png", bitmap[y1 : y2 + 1, x1 : x2 + 1] * np.uint8(255))
    return [[[x1, y1], [x2, y2]]], base64.b64encode(png.tobytes()).decode()
