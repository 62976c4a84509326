"""Random pictures for property tests: objects lie apart, each with a colour of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.data.sample import Sample
from mmdet_lite.structures.masks import InstanceMasks, rasterize_polygons, tight_boxes

NUM_CLASSES = 5
BACKGROUND = 128  # in the middle of the colours
CROWD = (128, 28, 128)
SMALLEST, LARGEST = 40, 80  # edges of the pictures
_CELLS = 2  # the picture is divided into so many by so many places for one object each
_MARGIN = 2
_KINDS = {"nothing": 0.1, "polygon": 0.3, "rle": 0.25, "bitmap": 0.2, "crowd": 0.15}  # shares


def colour_of(key: int) -> np.ndarray:
    """(3,) uint8; points on a sphere, none of which is a blend of others or of the background."""
    longitude, height = 2.399963 * key, 1 - 2 * ((0.618034 * key + 0.3) % 1)
    x, z = np.cos(longitude), np.sin(longitude)
    radius = np.sqrt(1 - height**2)
    point = np.array([radius * x, height, radius * z])
    return np.round(BACKGROUND + 100 * point).astype(np.uint8)


def label_of(key: int) -> int:
    """The label of the object with an annotation id."""
    return key % NUM_CLASSES


def scenes(seed: int, only_rectangles: bool = False) -> Iterator[Sample]:
    """Pictures without end, whose boxes are the extents of the masks; no id is used twice.

    Args:
        seed: of everything random.
        only_rectangles: otherwise objects are rectangles, octagons, Ls or have two parts.
    """
    rng, ids = np.random.default_rng(seed), count(1)
    for image_id in count(1):
        yield _draw(rng, ids, image_id, 1 if only_rectangles else 4)


def _draw(rng: np.random.Generator, ids: Iterator[int], image_id: int, num_kinds: int) -> Sample:
    size = tuple(rng.integers(SMALLEST, LARGEST + 1, 2).tolist())
    image = np.full((*size, 3), BACKGROUND, dtype=np.uint8)
    boxes, shapes, keys, crowds = [], [], [], []
    for place in range(_CELLS**2):
        kind = rng.choice(list(_KINDS), p=list(_KINDS.values()))
        if kind == "nothing":
            continue
        cell = np.array(size[::-1]) / _CELLS
        polygons = _polygons(rng, num_kinds, np.array(divmod(place, _CELLS)) * cell, cell)
        bitmap = rasterize_polygons(polygons, size)
        if kind == "crowd":
            crowds.append(tight_boxes(bitmap[None])[0])
            image[bitmap == 1] = CROWD
            continue
        keys.append(next(ids))
        image[bitmap == 1] = colour_of(keys[-1])
        if kind == "polygon":
            points = np.concatenate(polygons)
            boxes.append([*points.min(axis=0), *points.max(axis=0)])
            shapes.append(polygons)
        else:
            boxes.append(tight_boxes(bitmap[None])[0])
            shapes.append(
                bitmap if kind == "bitmap" else coco_mask.encode(np.asfortranarray(bitmap))
            )
    return Sample(
        image=image,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array([label_of(key) for key in keys], dtype=np.int64),
        annotation_ids=np.array(keys, dtype=np.int64),
        ignore_boxes=np.array(crowds, dtype=np.float32).reshape(-1, 4),
        masks=InstanceMasks(shapes, size),
        image_id=image_id,
        file="",
        index=0,
        ori_shape=size,
    )


def _polygons(
    rng: np.random.Generator, num_kinds: int, corner: np.ndarray, cell: np.ndarray
) -> list[np.ndarray]:
    """An object in a place with an upper left corner and a size; nowhere thin or pointed."""
    low = corner + _MARGIN + rng.uniform(0, 3, 2)
    high = corner + cell - _MARGIN - rng.uniform(0, 3, 2)
    middle = low + rng.uniform(0.4, 0.6, 2) * (high - low)
    kind = rng.integers(num_kinds)
    if kind == 0:
        return [_rectangle(low, high)]
    (x1, y1), (x2, y2), (x3, y3) = low, middle, high
    if kind == 1:
        (a, b), (c, d) = low + (high - low) / 4, high - (high - low) / 4
        octagon = [[a, y1], [c, y1], [x3, b], [x3, d], [c, y3], [a, y3], [x1, d], [x1, b]]
        return [np.array(octagon)]
    if kind == 2:
        return [np.array([[x1, y1], [x2, y1], [x2, y2], [x3, y2], [x3, y3], [x1, y3]])]
    return [_rectangle(low, middle - 1), _rectangle(middle + 1, high)]


def _rectangle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    (x1, y1), (x2, y2) = low, high
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
