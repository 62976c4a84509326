"""What a detector found beside what was to be found. Letters: n instances, m ignore boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmdet_lite.visualization.draw import draw_instances, side_by_side


@dataclass
class Instances:
    """The objects of one image, ground truth or prediction, in its pixels.

    Attributes:
        boxes: (n, 4) xyxy.
        labels: (n,) in 0..K-1.
        scores: (n,) in 0..1, or None for ground truth.
        masks: (n, H, W) bool, or None.
        ignore_boxes: (m, 4) regions that do not count, or None.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    masks: np.ndarray | None = None
    ignore_boxes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, score: float) -> Instances:
        """Those with at least this score."""
        keep = np.asarray(self.scores) >= score
        masks = None if self.masks is None else self.masks[keep]
        return Instances(
            self.boxes[keep], self.labels[keep], self.scores[keep], masks, self.ignore_boxes
        )

    def draw(self, image: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
        """Draw them on an image (H, W, 3) uint8 RGB."""
        return draw_instances(
            image,
            self.boxes,
            self.labels,
            class_names,
            self.scores,
            self.masks,
            self.ignore_boxes,
        )


def draw_comparison(
    image: np.ndarray,
    ground_truth: Instances,
    prediction: Instances,
    class_names: Sequence[str],
    score_threshold: float = 0.3,
) -> np.ndarray:
    """Draw the ground truth beside the prediction.

    Args:
        image: (H, W, 3) uint8 RGB in its original size.
        ground_truth: in the image's pixels.
        prediction: likewise, with scores.
        class_names: K names.
        score_threshold: detections below are not drawn, only counted in the title.

    Returns:
        (H', W', 3) uint8 RGB.
    """
    shown = prediction.above(score_threshold)
    left = ground_truth.draw(image, class_names)
    right = shown.draw(image, class_names)
    titles = (
        f"ground truth: {len(ground_truth)}",
        f"prediction: {len(shown)} of {len(prediction)}, score >= {score_threshold:g}",
    )
    return side_by_side(left, right, titles)
