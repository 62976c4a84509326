"""Which priors each ground truth got. Letters: A priors, G ground truths."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mmdet_lite.visualization.draw import draw_instances
from mmdet_lite.visualization.palette import class_color

_GREY, _BLACK = (150, 150, 150), (0, 0, 0)
_IGNORE = -2  # as assigners have it


def draw_assignment(
    image: np.ndarray,
    points: np.ndarray,
    strides: np.ndarray,
    gt_boxes: np.ndarray,
    assigned_gt: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str] | None = None,
) -> np.ndarray:
    """Draw ground truths in a colour each, and every prior as a disc in that of its ground truth.

    A ring is the larger the coarser the prior's level, and the more of it is filled, by area, the
    more the prior has to score. What is negative is a grey dot, what is ignored a grey cross.
    Priors that share a centre are drawn around it.

    Args:
        image: (H, W, 3) uint8 RGB; a side under 400 pixels comes back enlarged.
        points: (A, 2) x and y of the priors, pixels of the image.
        strides: (A,) pixels of their levels.
        gt_boxes: (G, 4) xyxy.
        assigned_gt: (A,) index into G, or negative.
        scores: (A,) in 0..1.
        names: G texts at the ground truths; None: their numbers.

    Returns:
        A new (H', W', 3) uint8 RGB image.
    """
    labels = np.arange(len(gt_boxes))
    if names is None:
        names = [f"box {label}" for label in labels]
    canvas = draw_instances(image, gt_boxes, labels, names)
    factor = len(canvas) / len(image)
    largest = 6 * strides.min(initial=1024)
    radii = (0.12 * strides.clip(max=largest) * factor + 3).round().astype(int)
    centers = points * factor + spread_apart(points) * radii[:, None]
    centers = centers.round().astype(int).tolist()
    for index in np.argsort(assigned_gt >= 0, kind="stable"):  # dots below rings
        center, radius = centers[index], int(radii[index])
        if assigned_gt[index] == _IGNORE:
            _cross(canvas, center, max(2, radius // 3))
        elif assigned_gt[index] < 0:
            _disc(canvas, center, max(1, radius // 4), _GREY)
        else:
            color = class_color(assigned_gt[index])
            _disc(canvas, center, round(radius * float(scores[index]) ** 0.5), color)
            cv2.circle(canvas, center, radius, _BLACK, 2, cv2.LINE_AA)
            cv2.circle(canvas, center, radius, color, 1, cv2.LINE_AA)
    return canvas


def spread_apart(points: np.ndarray) -> np.ndarray:
    """Where to draw marks whose points coincide: on a ring around it, side by side.

    Args:
        points: (A, 2).

    Returns:
        (A, 2) shifts, in radii of the marks; 0 for a point of its own.
    """
    if not len(points):
        return np.zeros((0, 2))
    _, group, count = np.unique(
        np.asarray(points).round(1), axis=0, return_inverse=True, return_counts=True
    )
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    first = np.cumsum(count) - count
    place = np.empty(len(points), dtype=np.int64)
    place[order] = np.arange(len(points)) - first[group[order]]
    total = count[group]
    angle = 2 * np.pi * place / total - np.pi / 2
    ring = np.where(total > 1, 0.9 / np.sin(np.pi / total.clip(min=2)), 0)
    return ring[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _cross(canvas: np.ndarray, center: list[int], arm: int) -> None:
    (x, y), size = center, 2 * arm
    cv2.drawMarker(canvas, (x, y), _GREY, cv2.MARKER_TILTED_CROSS, size, 1, cv2.LINE_AA)


def _disc(canvas: np.ndarray, center: list[int], radius: int, color: tuple[int, int, int]) -> None:
    cv2.circle(canvas, center, radius, color, cv2.FILLED, cv2.LINE_AA)
