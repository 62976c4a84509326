"""Which priors each ground truth got. Letters: A priors, G ground truths."""

from __future__ import annotations

import cv2
import numpy as np

from mmdet_lite.visualization.draw import draw_instances
from mmdet_lite.visualization.palette import class_color

_GREY, _BLACK = (150, 150, 150), (0, 0, 0)


def draw_assignment(
    image: np.ndarray,
    points: np.ndarray,
    strides: np.ndarray,
    gt_boxes: np.ndarray,
    assigned_gt: np.ndarray,
    scores: np.ndarray,
) -> np.ndarray:
    """Draw ground truths in a colour each, and every prior as a disc in that of its ground truth.

    A ring is the larger the coarser the prior's level, and the more of it is filled, by area, the
    more the prior has to score. What is negative or ignored is a grey dot.

    Args:
        image: (H, W, 3) uint8 RGB; a side under 400 pixels comes back enlarged.
        points: (A, 2) x and y of the priors, pixels of the image.
        strides: (A,) pixels of their levels.
        gt_boxes: (G, 4) xyxy.
        assigned_gt: (A,) index into G, or negative.
        scores: (A,) in 0..1.

    Returns:
        A new (H', W', 3) uint8 RGB image.
    """
    labels = np.arange(len(gt_boxes))
    names = [f"box {label}" for label in labels]
    canvas = draw_instances(image, gt_boxes, labels, names)
    factor = len(canvas) / len(image)
    radii = (0.12 * strides.clip(max=6 * strides.min()) * factor + 3).round().astype(int)
    centers = (points * factor).round().astype(int).tolist()
    for index in np.argsort(assigned_gt >= 0, kind="stable"):  # dots below rings
        if assigned_gt[index] < 0:
            _disc(canvas, centers[index], max(1, radii[index] // 4), _GREY)
            continue
        radius = int(radii[index])
        filled = round(radius * float(scores[index]) ** 0.5)
        _disc(canvas, centers[index], filled, class_color(assigned_gt[index]))
        cv2.circle(canvas, centers[index], radius, _BLACK, 2, cv2.LINE_AA)
        cv2.circle(canvas, centers[index], radius, class_color(assigned_gt[index]), 1, cv2.LINE_AA)
    return canvas


def _disc(canvas: np.ndarray, center: list[int], radius: int, color: tuple[int, int, int]) -> None:
    cv2.circle(canvas, center, radius, color, cv2.FILLED, cv2.LINE_AA)
