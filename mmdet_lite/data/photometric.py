"""Colour transforms: only the pixels change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np

from mmdet_lite.data.sample import Sample
from mmdet_lite.registry import TRANSFORMS

_LEVELS = np.arange(256, dtype=np.float64)


@TRANSFORMS.register_module()
class PhotometricDistortion:
    """Random brightness, contrast, saturation and hue, each applied to half of the images.

    The order is that of SSD (https://arxiv.org/abs/1512.02325): brightness first, contrast either
    before or after saturation and hue.

    Args:
        brightness_delta: most that is added to the levels 0..255, or taken away.
        contrast_range: factors to draw between.
        saturation_range: factors to draw between.
        hue_delta: most that the hue is turned either way, degrees.
    """

    def __init__(
        self,
        brightness_delta: float = 32,
        contrast_range: tuple[float, float] = (0.5, 1.5),
        saturation_range: tuple[float, float] = (0.5, 1.5),
        hue_delta: float = 18,
    ):
        self.brightness_delta = brightness_delta
        self.contrast_range = tuple(contrast_range)
        self.saturation_range = tuple(saturation_range)
        self.hue_delta = hue_delta

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        contrast_first = rng.random() < 0.5
        image = self._brightness(sample.image, rng)
        if contrast_first:
            image = self._contrast(image, rng)
        image = self._saturation_and_hue(image, rng)
        if not contrast_first:
            image = self._contrast(image, rng)
        return replace(sample, image=image)

    def _brightness(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        delta = _draw(rng, -self.brightness_delta, self.brightness_delta)
        return image if delta is None else cv2.LUT(image, _table(lambda levels: levels + delta))

    def _contrast(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        factor = _draw(rng, *self.contrast_range)
        return image if factor is None else cv2.LUT(image, _table(lambda levels: levels * factor))

    def _saturation_and_hue(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        factor = _draw(rng, *self.saturation_range)
        degrees = _draw(rng, -self.hue_delta, self.hue_delta)
        if factor is None and degrees is None:
            return image  # the way to HSV and back is not exact
        hue, saturation, value = cv2.split(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL))
        if factor is not None:
            saturation = cv2.LUT(saturation, _table(lambda levels: levels * factor))
        if degrees is not None:
            turn = degrees * 256 / 360
            hue = cv2.LUT(hue, _table(lambda levels: np.round(levels + turn) % 256))
        return cv2.cvtColor(cv2.merge((hue, saturation, value)), cv2.COLOR_HSV2RGB_FULL)


@TRANSFORMS.register_module()
class HSVJitter:
    """Multiply hue, saturation and value, each by a random factor of 1 - gain to 1 + gain.

    The gains are those that YOLOv5 trains with from scratch; hues wrap around.

    Args:
        hue, saturation, value: the gains, 0..1.

    Raises:
        ValueError: a gain is not in 0..1.
    """

    def __init__(self, hue: float = 0.015, saturation: float = 0.7, value: float = 0.4):
        for name, gain in (("hue", hue), ("saturation", saturation), ("value", value)):
            if not 0 <= gain <= 1:
                raise ValueError(f"HSVJitter: {name} must be between 0 and 1, got {gain}")
        self.gains = np.array([hue, saturation, value])

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if not self.gains.any():
            return sample  # the way to HSV and back is not exact
        factors = 1 + rng.uniform(-1, 1, size=3) * self.gains
        channels = cv2.split(cv2.cvtColor(sample.image, cv2.COLOR_RGB2HSV_FULL))
        tables = (
            _table(lambda levels: np.round(levels * factors[0]) % 256),
            _table(lambda levels: levels * factors[1]),
            _table(lambda levels: levels * factors[2]),
        )
        changed = [cv2.LUT(*pair) for pair in zip(channels, tables, strict=True)]
        return replace(sample, image=cv2.cvtColor(cv2.merge(changed), cv2.COLOR_HSV2RGB_FULL))


def _draw(rng: np.random.Generator, low: float, high: float) -> float | None:
    """A number of the range in half of the cases, else None."""
    return rng.uniform(low, high) if rng.random() < 0.5 else None


def _table(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.clip(np.round(change(_LEVELS)), 0, 255).astype(np.uint8)
