"""Transforms: the image, its boxes and its masks are changed together, on the host.

A transform is called as ``transform(sample, rng)`` and returns a new sample; everything random is
drawn from ``rng``. Sizes in arguments are (width, height), as in MMDetection's configs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import mmcv
import numpy as np

from mmdet_lite.data.geometry import crop, flip, resize_within
from mmdet_lite.data.sample import Sample
from mmdet_lite.ranges import check_positive
from mmdet_lite.registry import TRANSFORMS

CropType = Literal["absolute", "relative", "absolute_range", "relative_range"]


@TRANSFORMS.register_module()
class Resize:
    """Resize to one scale.

    Args:
        scale: with ``keep_ratio`` the (long, short) edges that the image must fit in, else the
            (width, height) that it gets.
        keep_ratio: scale both axes alike.

    Raises:
        ValueError: ``scale`` is not two positive integers.
    """

    def __init__(self, scale: tuple[int, int], keep_ratio: bool = True):
        self.scale = read_pair("Resize", "scale", scale)
        self.keep_ratio = keep_ratio

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return resize_within(sample, self.scale, self.keep_ratio)


@TRANSFORMS.register_module()
class RandomChoiceResize:
    """Resize to one of several scales, each as likely.

    Args:
        scales: see :class:`Resize`.
        keep_ratio: scale both axes alike.

    Raises:
        ValueError: there is no scale, or one is not two positive integers.
    """

    def __init__(self, scales: Sequence[tuple[int, int]], keep_ratio: bool = True):
        if not scales:
            raise ValueError("RandomChoiceResize: scales is empty, give at least one")
        self.scales = [read_pair("RandomChoiceResize", "scales", scale) for scale in scales]
        self.keep_ratio = keep_ratio

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        scale = self.scales[rng.integers(len(self.scales))]
        return resize_within(sample, scale, self.keep_ratio)


@TRANSFORMS.register_module()
class RandomResize:
    """Resize to a scale between two, or to one scale times a random ratio.

    Between two scales both edges are drawn on their own, bounds included.

    Args:
        scale: two scales, see :class:`Resize`; with ``ratio_range`` only one.
        keep_ratio: scale both axes alike.
        ratio_range: bounds of the ratio that both edges of the one scale are multiplied by, the
            product cut to whole pixels. (0.1, 2.0) is the large-scale jitter of Ghiasi et al.,
            https://arxiv.org/abs/2012.07177.

    Raises:
        ValueError: ``scale`` is not as many pairs of positive integers as are needed, or
            ``ratio_range`` is not two positive numbers in ascending order.
    """

    def __init__(
        self,
        scale: Sequence[tuple[int, int]] | tuple[int, int],
        keep_ratio: bool = True,
        ratio_range: tuple[float, float] | None = None,
    ):
        if ratio_range is not None:
            scale = [read_pair("RandomResize", "with ratio_range, scale", scale)] * 2
            ratio_range = read_range("RandomResize", "ratio_range", ratio_range)
        if len(scale) != 2:
            raise ValueError(f"RandomResize: scale must be two scales to draw between, got {scale}")
        scales = [read_pair("RandomResize", "scale", one) for one in scale]
        self.low, self.high = np.min(scales, axis=0), np.max(scales, axis=0)
        self.keep_ratio = keep_ratio
        self.ratio_range = ratio_range

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if self.ratio_range is None:
            scale = rng.integers(self.low, self.high + 1)
        else:
            scale = np.maximum((self.low * rng.uniform(*self.ratio_range)).astype(int), 1)
        return resize_within(sample, tuple(scale.tolist()), self.keep_ratio)


@TRANSFORMS.register_module()
class RandomFlip:
    """Mirror with probability ``prob``.

    Args:
        prob: of any flip, 0..1.
        direction: 'horizontal' or 'vertical'; or several, one of which is drawn.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(self, prob: float = 0.5, direction: str | Sequence[str] = "horizontal"):
        self.directions = [direction] if isinstance(direction, str) else list(direction)
        if not self.directions or not {"horizontal", "vertical"}.issuperset(self.directions):
            raise ValueError(
                f"RandomFlip: direction must be 'horizontal' or 'vertical', got {direction!r}"
            )
        self.prob = read_prob("RandomFlip", prob)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.prob:
            return sample
        return flip(sample, self.directions[rng.integers(len(self.directions))])


@TRANSFORMS.register_module()
class RandomCrop:
    """Cut out a random window; an object stays if any of its box does.

    Where a window without objects is not wanted and one is drawn, it is moved onto a random
    object, so that no sample is thrown away.

    Args:
        crop_size: (width, height) in pixels, cut to the image's; or as shares of the image; or
            bounds, see ``crop_type``.
        crop_type: 'absolute' for pixels, 'relative' for shares. 'absolute_range' draws width and
            height, each on its own, from the smaller to the larger of two numbers of pixels, all
            cut to the image's; 'relative_range' draws shares from those given to 1.
        allow_negative_crop: whether an image with objects may lose them all.

    Raises:
        ValueError: an argument is out of its range.
    """

    training_only = True  # the ground truth of an evaluation is that of the whole image

    def __init__(
        self,
        crop_size: tuple[float, float],
        crop_type: CropType = "absolute",
        allow_negative_crop: bool = False,
    ):
        if crop_type not in get_args(CropType):
            known = " or ".join(map(repr, get_args(CropType)))
            raise ValueError(f"RandomCrop: crop_type must be {known}, got {crop_type!r}")
        if crop_type.startswith("relative"):
            crop_size = tuple(crop_size)
            if len(crop_size) != 2 or not all(0 < share <= 1 for share in crop_size):
                raise ValueError(
                    f"RandomCrop: relative crop_size must be in (0, 1], got {crop_size}"
                )
        else:
            crop_size = read_pair("RandomCrop", "crop_size", crop_size)
        if crop_type == "absolute_range":
            crop_size = read_range("RandomCrop", "crop_size of 'absolute_range'", crop_size)
        self.crop_size = np.array(crop_size)
        self.crop_type = crop_type
        self.allow_negative_crop = allow_negative_crop

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        image_size = np.array(sample.size[::-1])  # x before y from here on
        window = np.minimum(self._window(image_size, rng), image_size)
        start = rng.integers(0, image_size - window + 1)
        cropped = crop(sample, *start.tolist(), *window.tolist())
        if self.allow_negative_crop or len(cropped.boxes) or not len(sample.boxes):
            return cropped
        box = sample.boxes[rng.integers(len(sample.boxes))]
        centre = np.minimum((box[:2] + box[2:]) / 2, image_size - 1).astype(int)
        low = np.maximum(centre - window + 1, 0)
        high = np.minimum(centre, image_size - window)
        return crop(sample, *rng.integers(low, high + 1).tolist(), *window.tolist())

    def _window(self, image_size: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if self.crop_type == "absolute":
            return self.crop_size
        if self.crop_type == "absolute_range":
            low, high = self.crop_size
            return rng.integers(np.minimum(image_size, low), np.minimum(image_size, high) + 1)
        shares = self.crop_size
        if self.crop_type == "relative_range":
            shares = rng.uniform(shares, 1)
        return np.maximum((image_size * shares + 0.5).astype(int), 1)


@TRANSFORMS.register_module()
class FilterAnnotations:
    """Leave out small objects; an image that loses all of them stays, and so do its crowds.

    Args:
        min_size: (width, height) in pixels of the image as it is now; an object stays if its box
            is wider and higher than that.

    Raises:
        ValueError: ``min_size`` is not two numbers from 0 on.
    """

    def __init__(self, min_size: tuple[float, float] = (1.0, 1.0)):
        pair = tuple(min_size) if isinstance(min_size, Sequence) else (min_size,)
        if len(pair) != 2 or not all(edge >= 0 for edge in pair):
            raise ValueError(
                f"FilterAnnotations: min_size must be two numbers from 0 on, got {min_size!r}"
            )
        self.min_size = pair

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        edges = sample.boxes[:, 2:] - sample.boxes[:, :2]
        return sample.select((edges > self.min_size).all(axis=1))


@TRANSFORMS.register_module()
class Pad:
    """Pad on the right and below; the padding counts as a part of the image.

    A batch is padded to its largest image anyway, see :class:`mmdet_lite.data.collate.Collate`.

    Args:
        size: (width, height) to reach at least.
        size_divisor: round both edges up to a multiple.
        pad_to_square: make both edges as long as the longer one.
        pad_val: grey level of the padding, 0..255.

    Raises:
        ValueError: not exactly one of the first three arguments is given, ``size_divisor`` is not
            above 0, or ``pad_val`` is no whole number of 0..255.
    """

    def __init__(
        self,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        pad_to_square: bool = False,
        pad_val: int = 0,
    ):
        given = [size is not None, size_divisor is not None, pad_to_square]
        if sum(given) != 1:
            raise ValueError("Pad: give exactly one of size, size_divisor and pad_to_square")
        if size_divisor is not None:
            check_positive(self, size_divisor=size_divisor)
        self.size = None if size is None else read_pair("Pad", "size", size)
        self.size_divisor = size_divisor
        self.pad_val = read_grey("Pad", pad_val)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = self._target(*sample.size)
        return replace(
            sample,
            image=mmcv.impad(sample.image, shape=(height, width), pad_val=(self.pad_val,) * 3),
            masks=None if sample.masks is None else sample.masks.pad((height, width)),
        )

    def _target(self, height: int, width: int) -> tuple[int, int]:
        if self.size is not None:
            return max(height, self.size[1]), max(width, self.size[0])
        if self.size_divisor is not None:
            return tuple(
                -(-edge // self.size_divisor) * self.size_divisor for edge in (height, width)
            )
        return max(height, width), max(height, width)


def read_pair(owner: str, name: str, value: Sequence[int]) -> tuple[int, int]:
    """Two positive integers, or a ValueError that names the argument."""
    pair = tuple(value) if isinstance(value, Sequence) else (value,)
    if len(pair) != 2 or not all(isinstance(edge, int) and edge > 0 for edge in pair):
        raise ValueError(f"{owner}: {name} must be two positive integers, got {value!r}")
    return pair


def read_range(owner: str, name: str, value: Sequence[float]) -> tuple[float, float]:
    """Two positive numbers in ascending order, or a ValueError that names the argument."""
    pair = tuple(value) if isinstance(value, Sequence) else (value,)
    if len(pair) != 2 or not 0 < pair[0] <= pair[1]:
        raise ValueError(
            f"{owner}: {name} must be two positive numbers, the smaller first, got {value!r}"
        )
    return pair


def read_prob(owner: str, value: float) -> float:
    """A probability, or a ValueError that names the owner."""
    if not 0 <= value <= 1:
        raise ValueError(f"{owner}: prob must be between 0 and 1, got {value}")
    return value


def read_grey(owner: str, value: int) -> int:
    """A whole number of 0..255, or a ValueError that names the owner."""
    if value not in range(256):
        raise ValueError(f"{owner}: pad_val must be a whole number from 0 to 255, got {value!r}")
    return int(value)
