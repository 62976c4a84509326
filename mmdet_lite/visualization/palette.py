"""Class colours that stay apart, also for colour-blind readers."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Color = tuple[int, int, int]  # RGB, 0..255

# Linear RGB as seen without red and without green cones (Vienot, Brettel, Mollon 1999).
_PROTANOPE = np.array([[0.112, 0.888, 0.0], [0.112, 0.888, 0.0], [0.004, -0.004, 1.0]])
_DEUTERANOPE = np.array([[0.293, 0.707, 0.0], [0.293, 0.707, 0.0], [-0.022, 0.022, 1.0]])

# Linear RGB to the perceptual space Oklab (Ottosson 2020).
_RGB_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def class_color(label: int) -> Color:
    """The colour of a class; it does not depend on how many classes there are."""
    colors = _ordered_colors()
    return colors[int(label) % len(colors)]


def text_color(background: Color) -> Color:
    """Black or white, whichever reads better on ``background``."""
    luminance = float(np.dot(_linear(np.array(background)), [0.2126, 0.7152, 0.0722]))
    return (0, 0, 0) if luminance > 0.18 else (255, 255, 255)


@lru_cache(maxsize=1)
def _ordered_colors() -> tuple[Color, ...]:
    """Each colour is the candidate farthest from all before it, for whoever confuses them most."""
    candidates = _candidates()
    views = _views(candidates)  # (3, n, 3)
    order = [int(np.abs(candidates - [255, 95, 50]).sum(axis=1).argmin())]
    nearest = np.full(len(candidates), np.inf)
    while len(order) < len(candidates):
        distance = np.linalg.norm(views - views[:, order[-1:]], axis=2)  # (3, n)
        # Two thirds by normal sight, or the colours of many classes would all look like mud.
        nearest = np.minimum(nearest, 2 * distance[0] + distance.min(axis=0))
        nearest[order[-1]] = -1
        order.append(int(nearest.argmax()))
    return tuple(tuple(map(int, candidates[i])) for i in order)


def _candidates() -> np.ndarray:
    """(n, 3) clear colours, neither glaring nor too dark or light to be seen on photographs."""
    steps = np.linspace(0, 255, 12).round().astype(int)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lightness, a, b = _oklab(_linear(grid)).T
    chroma = np.hypot(a, b)
    return grid[(lightness > 0.5) & (lightness < 0.88) & (chroma > 0.1) & (chroma < 0.23)]


def _views(colors: np.ndarray) -> np.ndarray:
    """Oklab of (n, 3) colours by normal sight and both red-green deficiencies: (3, n, 3)."""
    linear = _linear(colors)
    seen = [linear, linear @ _PROTANOPE.T, linear @ _DEUTERANOPE.T]
    return np.stack([_oklab(view.clip(0, 1)) for view in seen])


def _linear(colors: np.ndarray) -> np.ndarray:
    """sRGB 0..255 to linear light 0..1."""
    encoded = colors / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _oklab(linear: np.ndarray) -> np.ndarray:
    return np.cbrt(linear @ _RGB_TO_LMS.T) @ _LMS_TO_LAB.T
