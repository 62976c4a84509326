"""YOLOv5's assignment by shape, to several anchors and cells.

Letters: B images, L levels, N anchors a cell, G ground truths, E = 5 * N * G entries of a level.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdet_lite.models.fitting import SHAPES
from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import GroundTruth


@MODELS.register_module()
class ShapeRatioAssigner:
    """A ground truth is learnt by every anchor of about its shape, in up to three cells.

    Neither its place in the cell nor the IoU decides. The cells are the one that holds the centre
    and, on each axis, the neighbour that is nearer to it. Several ground truths may go to one
    anchor of a cell. The rules are those of YOLOv5 (https://github.com/ultralytics/yolov5, "Build
    Targets" of its documentation).

    Args:
        ratio_thr: width and height must each be less than this many times the anchor's, and more
            than 1 / this.

    Raises:
        ValueError: ``ratio_thr`` is not above 1, so nothing could match.
    """

    works_on = SHAPES

    def __init__(self, ratio_thr: float = 4.0):
        if ratio_thr <= 1:
            raise ValueError(f"ShapeRatioAssigner: ratio_thr must be above 1, got {ratio_thr}")
        self.ratio_thr = ratio_thr

    @torch.no_grad()
    def assign(self, priors: Priors, sizes: Tensor, gt: GroundTruth) -> tuple[Tensor, Tensor]:
        """List which ground truth goes to which anchors.

        Entry ``(offset * N + anchor) * G + g`` of a level is ground truth ``g`` with one of the
        level's anchors in one of the five cells: its own, left, above, right, below.

        Args:
            priors: the anchors at every cell of the L levels.
            sizes: (L, N, 2) their widths and heights.
            gt: padded ground truth; rows with ``valid`` False never match.

        Returns:
            (B, L, E) int64, indices into the priors, of a cell of the level also where nothing
            matches; and (B, L, E) bool, which entries match.
        """
        grid, strides = _grids(priors)  # (L, 2) each, x before y
        boxes = gt.boxes[:, None] / strides.repeat(1, 2)[:, None]  # (B, L, G, 4), in cells
        center = (boxes[..., :2] + boxes[..., 2:]) / 2
        fits = self._fits(boxes[..., 2:] - boxes[..., :2], sizes / strides[:, None])
        near, cells = _near_cells(center, grid[:, None])
        valid = near[:, :, :, None] & fits[:, :, None] & gt.valid[:, None, None, None]

        num_anchors = sizes.shape[1]
        anchor = torch.arange(num_anchors, device=grid.device)[:, None]
        counts = grid.prod(dim=1) * num_anchors  # priors of each level
        grid, start = grid[:, None, None, None], (counts.cumsum(0) - counts)[:, None, None, None]
        cells = cells[:, :, :, None]  # (B, L, 5, 1, G, 2)
        inds = start + (cells[..., 1] * grid[..., 0] + cells[..., 0]) * num_anchors + anchor
        return inds.flatten(2), valid.flatten(2)

    def _fits(self, size: Tensor, anchors: Tensor) -> Tensor:
        """(B, L, G, 2) and (L, N, 2) to (B, L, N, G) bool; a padded row's size is 0."""
        ratio = size[:, :, None] / anchors[:, :, None]
        return torch.maximum(ratio, 1 / ratio).amax(dim=-1) < self.ratio_thr


def _grids(priors: Priors) -> tuple[Tensor, Tensor]:
    """(columns, rows) and (horizontal, vertical) strides of the levels, (L, 2) each."""
    last_cells = [cells[-1] for cells in priors.cells.split(list(priors.level_sizes))]
    strides = [strides[-1] for strides in priors.strides.split(list(priors.level_sizes))]
    return torch.stack(last_cells).flip(-1) + 1, torch.stack(strides).flip(-1)


def _near_cells(center: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    """The five cells of each centre, and which of them are near enough.

    A neighbour is near if the centre is less than half a cell away from it, which leaves none on an
    axis where the centre is in the middle, and if it is on the map. On the border of two cells the
    right, or lower, one comes twice.

    Args:
        center: (B, L, G, 2) x and y in cells.
        grid: (L, 1, 2) columns and rows.

    Returns:
        (B, L, 5, G) bool and (B, L, 5, G, 2) int64 column and row, always on the map.
    """
    before = (center % 1 < 0.5) & (center > 1)
    rest = grid - center
    after = (rest % 1 < 0.5) & (rest > 1)
    own = torch.ones_like(before[..., :1])
    near = torch.cat([own, before, after], dim=-1).movedim(-1, 2)

    x, y = center.unbind(-1)
    steps = [(x, y), (x - 0.5, y), (x, y - 0.5), (x + 0.5, y), (x, y + 0.5)]
    cells = torch.stack([torch.stack(step, dim=-1) for step in steps], dim=2).long()
    return near, torch.minimum(cells.clamp(min=0), grid[:, None] - 1)
