"""Instances on images. Letters: n instances, m ignore boxes, H, W image size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mmdet_lite.visualization.palette import Color, class_color
from mmdet_lite.visualization.text import Chip, PixelBox, TextStyle, draw_chips

_LEGIBLE_SIDE = 400  # smaller pictures are enlarged, so that labels can be read
_MASK_OPACITY = 0.45
_WHITE, _BLACK, _DARK_GREY = (255, 255, 255), (0, 0, 0), (40, 40, 40)


def draw_instances(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    scores: np.ndarray | None = None,
    masks: np.ndarray | None = None,
    ignore_boxes: np.ndarray | None = None,
) -> np.ndarray:
    """Draw objects with their masks, boxes and names; ignored regions get a dashed outline.

    A picture with a side under 400 pixels comes back enlarged by a whole number.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (n, 4) xyxy, pixels of the image.
        labels: (n,) places in ``class_names``.
        class_names: K names.
        scores: (n,) in 0..1, or None for ground truth. The highest is drawn on top; without scores
            the smallest object is.
        masks: (n, H, W) bool, or None.
        ignore_boxes: (m, 4), or None.

    Returns:
        A new (H', W', 3) uint8 RGB image.
    """
    canvas, factor = _enlarge(image)
    line = max(2, round(min(canvas.shape[:2]) / 300))
    pixel_boxes = [_to_pixels(box, factor, canvas) for box in np.asarray(boxes)]
    colors = [class_color(label) for label in labels]
    order = _bottom_to_top(boxes, scores)
    if masks is not None:
        for index in order:
            _draw_mask(canvas, masks[index], colors[index], line)
    for box in [] if ignore_boxes is None else ignore_boxes:
        _draw_dashed(canvas, _to_pixels(box, factor, canvas), line)
    for index in order:
        x1, y1, x2, y2 = pixel_boxes[index]
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colors[index], line)
    texts = _texts(labels, class_names, scores)
    draw_chips(canvas, [Chip(texts[i], pixel_boxes[i], colors[i]) for i in order[::-1]])
    return canvas


def side_by_side(
    left: np.ndarray,
    right: np.ndarray,
    titles: tuple[str, str] = ("ground truth", "prediction"),
) -> np.ndarray:
    """Set two pictures beside each other under their titles.

    Args:
        left: (H, W, 3) uint8 RGB.
        right: likewise; its size may differ.
        titles: of the two.
    """
    height = max(len(left), len(right))
    gap = np.full((height, max(4, height // 60), 3), 255, np.uint8)
    panels = np.hstack([_pad_to(left, height), gap, _pad_to(right, height)])
    style = TextStyle.for_canvas(panels)
    for title, panel in zip(titles, (left, right), strict=True):
        style = style.fit(title, panel.shape[1])
    band = np.full((style.size("")[1], panels.shape[1], 3), 255, np.uint8)
    for title, x in zip(titles, (0, left.shape[1] + gap.shape[1]), strict=True):
        style.draw(band, title, x, 0, _DARK_GREY)
    return np.vstack([band, panels])


def save_image(path: str | Path, rgb: np.ndarray) -> None:
    """Write a picture; its format follows from the suffix, its folder is made.

    Args:
        path: of the file.
        rgb: (H, W, 3) uint8.

    Raises:
        ValueError: OpenCV can't write the format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        written, encoded = cv2.imencode(path.suffix, rgb[..., ::-1])
    except cv2.error:
        written = False
    if not written:
        raise ValueError(f"{path}: can't write images as {path.suffix!r}; use '.png' or '.jpg'")
    path.write_bytes(encoded.tobytes())


def _enlarge(image: np.ndarray) -> tuple[np.ndarray, int]:
    factor = -(-_LEGIBLE_SIDE // min(image.shape[:2]))
    if factor == 1:
        return np.ascontiguousarray(image).copy(), 1
    height, width = image.shape[:2]
    size = (width * factor, height * factor)
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), factor


def _to_pixels(box: np.ndarray, factor: int, canvas: np.ndarray) -> PixelBox:
    height, width = canvas.shape[:2]
    limits = [width - 1, height - 1, width - 1, height - 1]
    x1, y1, x2, y2 = np.clip(np.round(np.asarray(box) * factor), 0, limits).astype(int).tolist()
    return x1, y1, x2, y2


def _bottom_to_top(boxes: np.ndarray, scores: np.ndarray | None) -> list[int]:
    if scores is not None:
        return np.argsort(scores, kind="stable").tolist()
    corners = np.asarray(boxes, dtype=float).reshape(-1, 4)
    return np.argsort(-(corners[:, 2:] - corners[:, :2]).prod(axis=1), kind="stable").tolist()


def _texts(labels: np.ndarray, class_names: Sequence[str], scores: np.ndarray | None) -> list[str]:
    names = [str(class_names[int(label)]) for label in labels]
    if scores is None:
        return names
    return [f"{name} {score:.2f}" for name, score in zip(names, scores, strict=True)]


def _draw_mask(canvas: np.ndarray, mask: np.ndarray, color: Color, line: int) -> None:
    """Tint a mask's inside, then trace its outline, holes included."""
    height, width = canvas.shape[:2]
    bitmap = np.asarray(mask, dtype=np.uint8)
    if bitmap.shape != (height, width):
        smooth = cv2.resize(bitmap * 255, (width, height), interpolation=cv2.INTER_LINEAR)
        bitmap = (smooth > 127).astype(np.uint8)
    x, y, w, h = cv2.boundingRect(bitmap)
    window, inside = canvas[y : y + h, x : x + w], bitmap[y : y + h, x : x + w] > 0
    tinted = (1 - _MASK_OPACITY) * window[inside] + _MASK_OPACITY * np.array(color)
    window[inside] = tinted.round().astype(np.uint8)
    contours = cv2.findContours(bitmap, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
    cv2.drawContours(canvas, contours, -1, color, max(1, line // 2), cv2.LINE_AA)


def _draw_dashed(canvas: np.ndarray, box: PixelBox, line: int) -> None:
    """White dashes on black: visible on any ground."""
    x1, y1, x2, y2 = box
    cv2.rectangle(canvas, (x1, y1), (x2, y2), _BLACK, line)
    dash = 5 * line
    for x in range(x1, x2, 2 * dash):
        for y in (y1, y2):
            cv2.line(canvas, (x, y), (min(x + dash, x2), y), _WHITE, line)
    for y in range(y1, y2, 2 * dash):
        for x in (x1, x2):
            cv2.line(canvas, (x, y), (x, min(y + dash, y2)), _WHITE, line)


def _pad_to(image: np.ndarray, height: int) -> np.ndarray:
    """White below."""
    return np.pad(image, ((0, height - len(image)), (0, 0), (0, 0)), constant_values=255)
