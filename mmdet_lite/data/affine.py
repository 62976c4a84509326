"""Turning, scaling, shearing and moving images at random.

Letters: n objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmdet_lite.data.geometry import clip, move_boxes, warp
from mmdet_lite.data.sample import Sample
from mmdet_lite.data.transforms import read_grey, read_pair, read_range
from mmdet_lite.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomAffine:
    """Stretch, scale, turn, shear and move an image around its centre, in this order.

    The centre comes to lie in the middle of the result, or as far from it as ``translate`` says.
    Of a mosaic of twice ``size`` this cuts out a part, as YOLOv5 trains; after a
    ``Resize(..., keep_ratio=False)`` it is what NanoDet-Plus trains with. Boxes are those of the
    moved corners; where masks are loaded and the image is turned, or a box is cut at the edge, they
    fit what is seen of the object. Crowds follow, and are left out where nothing of them is seen.
    Detections cannot be taken back through it: for training only.

    Args:
        size: (width, height) of the result; None: that of the image.
        degrees: most that is turned either way.
        scale: bounds of the factor on both axes.
        stretch: bounds of one more factor on each axis, x and y drawn each on its own.
        shear: most degrees that each axis is sheared either way.
        translate: most that the centre moves either way, as a share of ``size``, for each axis.
        pad_val: grey level where no image lies, 0..255.
        min_size: an object stays if both sides of its box are longer, in pixels; 2 is YOLOv5's.
        min_area_ratio: an object stays if more than this share of its moved box lies inside; 0.1 is
            YOLOv5's.
        max_aspect_ratio: an object stays if its box is less than so many times as long as wide, or
            wide as long; 100 is YOLOv5's.

    Raises:
        ValueError: an argument is out of its range.
    """

    training_only = True

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        degrees: float = 0.0,
        scale: tuple[float, float] = (0.5, 1.5),
        stretch: tuple[float, float] = (1.0, 1.0),
        shear: float = 0.0,
        translate: float = 0.1,
        pad_val: int = 114,
        min_size: float = 2.0,
        min_area_ratio: float = 0.1,
        max_aspect_ratio: float = 100.0,
    ):
        self.size = None if size is None else read_pair("RandomAffine", "size", size)
        self.degrees = _read_below("degrees", degrees, 180)
        self.scale = read_range("RandomAffine", "scale", scale)
        self.stretch = read_range("RandomAffine", "stretch", stretch)
        self.shear = _read_below("shear", shear, 89)
        self.translate = _read_below("translate", translate, 1)
        self.pad_val = read_grey("RandomAffine", pad_val)
        self.min_size = _read_below("min_size", min_size, np.inf)
        self.min_area_ratio = _read_below("min_area_ratio", min_area_ratio, 1)
        if not max_aspect_ratio > 1:
            raise ValueError(
                f"RandomAffine: max_aspect_ratio must be larger than 1, got {max_aspect_ratio!r}"
            )
        self.max_aspect_ratio = max_aspect_ratio

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        size = self.size or sample.size[::-1]
        matrix = self._matrix(sample.size[::-1], size, rng)
        share = _share_inside(move_boxes(sample.boxes, matrix), size)
        sample = sample.select(share > self.min_area_ratio)
        warped = warp(sample, matrix, size, self.pad_val)
        return warped.select(self._are_large(warped.boxes))

    def _matrix(
        self, old: Sequence[int], new: Sequence[int], rng: np.random.Generator
    ) -> np.ndarray:
        """(2, 3) from the old coordinates to the new ones, sizes being (width, height)."""
        angle = np.radians(rng.uniform(-self.degrees, self.degrees))
        factors = rng.uniform(*self.scale) * rng.uniform(*self.stretch, size=2)
        shear_x, shear_y = np.tan(np.radians(rng.uniform(-self.shear, self.shear, size=2)))
        place = rng.uniform(0.5 - self.translate, 0.5 + self.translate, size=2) * new
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        linear = np.array([[1, shear_x], [shear_y, 1]]) @ turn @ np.diag(factors)
        return np.column_stack([linear, place - linear @ np.divide(old, 2)])

    def _are_large(self, boxes: np.ndarray) -> np.ndarray:
        """(n,) bool, which boxes may stay for their sides."""
        sides = boxes[:, 2:] - boxes[:, :2]
        short, long = sides.min(axis=1), sides.max(axis=1)
        return (short > self.min_size) & (long < self.max_aspect_ratio * short)


def _share_inside(boxes: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(n,) which share of (n, 4) boxes lies inside an image of (width, height) ``size``."""
    inside, whole = (np.prod(b[:, 2:] - b[:, :2], axis=1) for b in (clip(boxes, *size), boxes))
    return inside / np.maximum(whole, 1e-9)


def _read_below(name: str, value: float, limit: float) -> float:
    if not isinstance(value, (int, float)) or not 0 <= value <= limit:
        raise ValueError(f"RandomAffine: {name} must be between 0 and {limit}, got {value!r}")
    return float(value)
