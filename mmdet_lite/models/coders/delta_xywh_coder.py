"""Boxes as offsets of the centre and logarithms of the size (R-CNN, appendix C)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdet_lite.models.fitting import FROM_ANCHORS
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import clip_boxes


@MODELS.register_module()
class DeltaXYWHBBoxCoder(nn.Module):
    """Encode a box as (dx, dy, dw, dh) relative to a prior, normalised by means and stds.

    Args:
        target_means: subtracted after encoding.
        target_stds: divided by after that.
        max_ratio: a decoded side is at most this many times the prior's.
        clip_shrinking: also at least the prior's divided by ``max_ratio`` (torchvision: False).
    """

    works_on = FROM_ANCHORS

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        max_ratio: float = 1000 / 16,
        clip_shrinking: bool = True,
    ):
        super().__init__()
        # Buffers, so that they are on the device already when a step needs them.
        self.register_buffer("means", torch.tensor(target_means), persistent=False)
        self.register_buffer("stds", torch.tensor(target_stds), persistent=False)
        self.max_log = math.log(max_ratio)
        self.min_log = -self.max_log if clip_shrinking else None

    def encode(self, priors: Tensor, boxes: Tensor) -> Tensor:
        """Deltas that turn priors into boxes; both must have positive sides.

        Args:
            priors: (..., 4).
            boxes: (..., 4).

        Returns:
            (..., 4) float32.
        """
        prior_center, prior_size = _center_size(priors.float())
        center, size = _center_size(boxes.float())
        shift = (center - prior_center) / prior_size
        deltas = torch.cat([shift, torch.log(size / prior_size)], dim=-1)
        return (deltas - self.means) / self.stds

    def decode(self, priors: Tensor, deltas: Tensor, shapes: Tensor | None = None) -> Tensor:
        """Boxes from priors and deltas.

        Args:
            priors: (B, ..., 4), broadcast against ``deltas``.
            deltas: (B, ..., 4).
            shapes: (B, 2) (height, width) to clip to; None: no clipping.

        Returns:
            (B, ..., 4) float32.
        """
        deltas = deltas.float() * self.stds + self.means
        log_size = deltas[..., 2:].clamp(min=self.min_log, max=self.max_log)
        prior_center, prior_size = _center_size(priors.float())
        center = prior_center + prior_size * deltas[..., :2]
        half = prior_size * log_size.exp() * 0.5
        boxes = torch.cat([center - half, center + half], dim=-1)
        return boxes if shapes is None else clip_boxes(boxes, shapes)


def _center_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    return (top_left + bottom_right) * 0.5, bottom_right - top_left
