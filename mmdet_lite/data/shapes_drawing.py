"""Drawing of the shapes data set: backgrounds, and shapes with smooth edges and exact masks.

Outlines are rounded to integers before they are rasterised, so masks and boxes are the same on
every machine; a colour may differ by one level between builds of OpenCV.
"""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

_OVERSAMPLING = 4  # a shape is rasterised so many times finer; shares of a pixel smooth its edge
_SHADOW = 0.35  # darkest part of a shape's shadow
_SPIN = {"square": 90, "triangle": 120, "star": 72, "cross": 90}  # degrees until it looks the same


def _regular(points: int, radii: tuple[float, ...] = (1.0,)) -> np.ndarray:
    """Vertices (points, 2) on a circle, at radii taken in turn."""
    angles = np.arange(points) * 2 * np.pi / points - np.pi / 2
    radius = np.resize(radii, points)
    return np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _cross(arm: float) -> np.ndarray:
    quarter = np.array([[arm, -1.0], [arm, -arm], [1.0, -arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])  # by 90 degrees
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, i) for i in range(4)])


# Outlines in a circle of radius 1; what lies inside two of them is a hole.
SHAPES: dict[str, list[np.ndarray]] = {
    "circle": [_regular(64)],
    "square": [_regular(4)],
    "triangle": [_regular(3)],
    "star": [_regular(10, (1.0, 0.45))],
    "ring": [_regular(64), _regular(64) * 0.55],
    "cross": [_cross(0.32)],
}


def draw_background(size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A pale gradient between two colours, or clouds of them, with grain.

    Args:
        size: (height, width).
        rng: what to draw from.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = size
    if rng.random() < 0.5:
        corners = rng.random((2, 2), dtype=np.float32)
        blend = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        cells = rng.random((7, 7), dtype=np.float32)
        blend = np.clip(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    first, second = (_color(rng, saturation=(0.05, 0.35), value=(0.45, 0.95)) for _ in range(2))
    grain = rng.uniform(2, 20) * (rng.random(size, dtype=np.float32) - 0.5)
    planes = [blend * (b - a) + a + grain for a, b in zip(first, second, strict=True)]
    return np.clip(cv2.merge(planes), 0, 255).astype(np.uint8)


def draw_shape(
    image: np.ndarray, name: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw a shape of random place, size, turn and colour onto a copy of ``image``.

    Args:
        image: (H, W, 3) uint8 RGB.
        name: one of SHAPES.
        rng: what to draw from.

    Returns:
        The new image, and the (H, W) uint8 mask of pixels that are the shape's by half or more.
    """
    size = np.array([image.shape[1], image.shape[0]])  # x before y
    radius = rng.uniform(0.1, 0.25) * size.min()
    centre = rng.uniform(0.6 * radius, size - 0.6 * radius)
    degrees = rng.uniform(0, _SPIN.get(name, 1))
    color = _color(rng, saturation=(0.55, 1.0), value=(0.35, 1.0))

    reach = 1.4 * radius + 2  # with its shadow
    x1, y1 = np.maximum(centre - reach, 0).astype(int)
    x2, y2 = np.minimum(centre + reach, size).astype(int)
    window = np.s_[y1:y2, x1:x2]
    cover = _coverage(name, radius, centre - (x1, y1), degrees, (y2 - y1, x2 - x1))
    drawn, mask = image.copy(), np.zeros(image.shape[:2], dtype=np.uint8)
    drawn[window] = _paint(image[window], cover, color, max(1, round(radius / 10)))
    mask[window] = cover >= 0.5
    return drawn, mask


def _paint(patch: np.ndarray, cover: np.ndarray, color: np.ndarray, offset: int) -> np.ndarray:
    """Blend a shape, lit from above, and its shadow ``offset`` pixels to the lower right."""
    height, width = cover.shape
    alpha = cv2.merge([cover] * 3)
    light = np.linspace(1.12, 0.85, height, dtype=np.float32)[:, None, None]
    shadow = cv2.copyMakeBorder(alpha, offset, 0, offset, 0, cv2.BORDER_CONSTANT)
    shadow = cv2.blur(shadow, (2 * offset + 1, 2 * offset + 1))[:height, :width]
    behind = patch * (1 - _SHADOW * shadow) * (1 - alpha)
    return np.round(behind + np.minimum(color * light, 255) * alpha).astype(np.uint8)


def _coverage(
    name: str, radius: float, centre: np.ndarray, degrees: float, size: tuple[int, int]
) -> np.ndarray:
    """Share of every pixel that the shape covers: (H, W) float32 in 0..1."""
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    outlines = [
        np.round((points @ turn * radius + centre) * _OVERSAMPLING).astype(np.int32)
        for points in SHAPES[name]
    ]
    canvas = np.zeros((size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING), dtype=np.uint8)
    cv2.fillPoly(canvas, outlines, 255)  # even-odd rule: an outline inside another is a hole
    small = cv2.resize(canvas, (size[1], size[0]), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _color(
    rng: np.random.Generator, saturation: tuple[float, float], value: tuple[float, float]
) -> np.ndarray:
    """(3,) float32 RGB in 0..255 of random hue."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return np.array(rgb, dtype=np.float32) * 255
