"""FCOS's assignment of points (Tian et al. 2019). Letters: B images, A points, G ground truths."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmdet_lite.models.assigners.max_iou_assigner import IGNORE, NEGATIVE
from mmdet_lite.models.fitting import POINTS
from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import side_distances
from mmdet_lite.structures.samples import GroundTruth


@MODELS.register_module()
class FCOSAssigner:
    """A point belongs to the smallest ground truth around it that is of its level's size.

    Args:
        regress_ranges: for each level the least and the largest distance, in pixels, of a point
            from the farthest side of its ground truth (sec. 3.2); both bounds included.
    """

    works_on = POINTS

    def __init__(
        self,
        regress_ranges: Sequence[tuple[float, float]] = (
            (-1, 64),
            (64, 128),
            (128, 256),
            (256, 512),
            (512, math.inf),
        ),
    ):
        self.regress_ranges = [tuple(bounds) for bounds in regress_ranges]

    @torch.no_grad()
    def assign(self, priors: Priors, gt: GroundTruth, valid: Tensor | None = None) -> Tensor:
        """Match every point to at most one ground-truth box.

        Args:
            priors: A boxes, whose centres are the points.
            gt: padded ground truth; rows with ``valid`` False never match.
            valid: (B, A) bool, priors that may be used; the others are IGNORE. All by default.

        Returns:
            (B, A) int64: index into G, or NEGATIVE, or IGNORE.

        Raises:
            ValueError: not as many levels as ranges.
        """
        if len(priors.level_sizes) != len(self.regress_ranges):
            raise ValueError(
                f"FCOSAssigner has {len(self.regress_ranges)} regress_ranges, but there are "
                f"{len(priors.level_sizes)} levels; check its regress_ranges and the strides"
            )
        distances = side_distances(priors.centers[None, None], gt.boxes[:, :, None])
        farthest = distances.amax(dim=-1)  # (B, G, A)
        low, high = self._bounds(priors)
        matches = (distances.amin(dim=-1) > 0) & (farthest >= low) & (farthest <= high)
        matches &= gt.valid[:, :, None]
        sides = gt.boxes[..., 2:] - gt.boxes[..., :2]
        areas = (sides[..., 0] * sides[..., 1])[:, :, None]  # (B, G, 1)
        smallest, assigned = torch.where(matches, areas, math.inf).min(dim=1)
        assigned = torch.where(smallest < math.inf, assigned, NEGATIVE)
        return assigned if valid is None else torch.where(valid, assigned, IGNORE)

    def _bounds(self, priors: Priors) -> tuple[Tensor, Tensor]:
        """Least and largest distance of each point, (A,) each, made on the device."""
        levels = priors.levels
        low, high = torch.zeros_like(priors.boxes[:, 0]), torch.zeros_like(priors.boxes[:, 0])
        for level, (least, largest) in enumerate(self.regress_ranges):
            low = torch.where(levels == level, least, low)
            high = torch.where(levels == level, largest, high)
        return low, high
