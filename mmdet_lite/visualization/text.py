"""Text on pictures: sized to the picture, in chips that stay inside it and off each other.

Pixel boxes here are integer (x1, y1, x2, y2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mmdet_lite.visualization.palette import Color, text_color

PixelBox = tuple[int, int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SMALLEST_SCALE = 0.1  # nobody reads smaller text


@dataclass(frozen=True)
class Chip:
    """A line of text on a coloured ground, to stand at a box."""

    text: str
    box: PixelBox
    color: Color


@dataclass(frozen=True)
class TextStyle:
    """How text is drawn: OpenCV's font scale, the thickness of its strokes, the space around."""

    scale: float
    thickness: int
    padding: int

    @classmethod
    def for_canvas(cls, canvas: np.ndarray) -> TextStyle:
        """A size that reads well on a picture (H, W, 3)."""
        scale = float(np.clip(min(canvas.shape[:2]) / 1100, 0.42, 4))
        return cls(scale, max(2, round(1.6 * scale)) if scale > 0.6 else 1, round(8 * scale))

    def fit(self, text: str, width: int) -> TextStyle:
        """A smaller style where the text would be wider than ``width`` pixels."""
        style = self
        # By trial: OpenCV 5 rounds letters to whole pixels, the width is no multiple of the scale.
        while style.size(text)[0] > width and style.scale > _SMALLEST_SCALE:
            style = TextStyle(0.95 * style.scale, 1, self.padding)
        return style

    def size(self, text: str) -> tuple[int, int]:
        """Width and height of a text with the space around it, in pixels."""
        (width, _), _ = cv2.getTextSize(text, _FONT, self.scale, self.thickness)
        return width + 2 * self.padding, sum(self._line()) + self.padding

    def draw(self, canvas: np.ndarray, text: str, x: int, y: int, color: Color) -> None:
        """Write so that text and space around it have their top left corner at (x, y)."""
        origin = (x + self.padding, y + self.padding // 2 + self._line()[0])
        cv2.putText(canvas, text, origin, _FONT, self.scale, color, self.thickness, cv2.LINE_AA)

    def _line(self) -> tuple[int, int]:
        """Height above and below the baseline, the same for every text."""
        (_, height), baseline = cv2.getTextSize("Ag", _FONT, self.scale, self.thickness)
        return height, baseline


def draw_chips(canvas: np.ndarray, chips: Sequence[Chip]) -> None:
    """Draw chips into a picture; the first get the best places and lie on top where room is short.

    Args:
        canvas: (H, W, 3) uint8 RGB, changed in place.
        chips: the most important first.
    """
    height, width = canvas.shape[:2]
    placed: list[tuple[Chip, TextStyle, PixelBox]] = []
    for chip in chips:
        style = TextStyle.for_canvas(canvas).fit(chip.text, width)
        taken = [place for _, _, place in placed]
        place = _place(style.size(chip.text), chip.box, (width, height), taken)
        placed.append((chip, style, place))
    for chip, style, (x1, y1, x2, y2) in placed[::-1]:
        cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), chip.color, cv2.FILLED)
        style.draw(canvas, chip.text, x1, y1, text_color(chip.color))


def _place(
    size: tuple[int, int], box: PixelBox, canvas_size: tuple[int, int], taken: Sequence[PixelBox]
) -> PixelBox:
    """The first place at the box that is free; above its left corner if none is."""
    width, height = size
    x1, y1, x2, y2 = box
    corners = [(x1, y1 - height), (x1, y2 - height), (x1, y1), (x1, y2), (x2 - width, y1 - height)]
    corners += [(x2 - width, y2 - height), (x2 - width, y1), (x2 - width, y2)]
    places = []
    for x, y in corners:
        left = max(min(x, canvas_size[0] - width), 0)
        top = max(min(y, canvas_size[1] - height), 0)
        places.append((left, top, left + width, top + height))
    free = [place for place in places if not any(_overlap(place, other) for other in taken)]
    return free[0] if free else places[0]


def _overlap(a: PixelBox, b: PixelBox) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
