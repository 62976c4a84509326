"""Boxes as distances from a point to their four sides, each a distribution over bins."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmdet_lite.models.fitting import FROM_POINTS
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import boxes_around, side_distances


@MODELS.register_module()
class DistributionCoder(nn.Module):
    """A distance is the expectation over bins 0, 1, 2, ... of a softmax (Li et al. 2020, eq. 5).

    Args:
        num_bins: bins a side; the largest distance is ``num_bins - 1`` strides.
        margin: encoded distances stay this much below the largest.
    """

    works_on = FROM_POINTS

    def __init__(self, num_bins: int = 16, margin: float = 0.01):
        super().__init__()
        self.num_bins = num_bins
        self.margin = margin
        self.register_buffer("bins", torch.arange(float(num_bins)), persistent=False)

    def encode(self, points: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
        """Distances to the left, top, right and bottom side, clamped to what bins can express.

        Args:
            points: (..., 2) in pixels.
            strides: (..., 1) pixels of a bin.
            boxes: (..., 4).

        Returns:
            (..., 4) in bins, from 0 to ``num_bins - 1 - margin``.
        """
        distances = side_distances(points, boxes) / strides
        return distances.clamp(min=0, max=self.num_bins - 1 - self.margin)

    def decode(self, points: Tensor, strides: Tensor, logits: Tensor) -> Tensor:
        """Expected boxes.

        Args:
            points: (..., 2) in pixels.
            strides: (..., 1) pixels of a bin.
            logits: (..., 4 * num_bins), side after side.

        Returns:
            (..., 4) boxes, not clipped.
        """
        shares = logits.float().unflatten(-1, (4, self.num_bins)).softmax(dim=-1)
        distances = (shares * self.bins).sum(dim=-1)  # autocast would round a matrix product
        return boxes_around(points, distances * strides)
