"""Anchors of given widths and heights, as YOLO has. Letters: L levels, N anchors a cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from mmdet_lite.models.priors.anchor_generator import AnchorGenerator
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class YOLOAnchorGenerator(AnchorGenerator):
    """Boxes of given sizes around the middle of every cell.

    Args:
        strides: input pixels between cells, one a level.
        base_sizes: (width, height) of the anchors in pixels, a list for each level; as many on
            every level.

    Raises:
        ValueError: the sizes are not as many positive pairs for each of the strides.
    """

    def __init__(
        self,
        strides: Sequence[int],
        base_sizes: Sequence[Sequence[tuple[float, float]]],
    ):
        super().__init__(strides, ratios=[1.0], scales=[1.0], center_offset=0.5)
        _check_sizes(base_sizes, len(self.strides))
        self.sizes = torch.tensor(base_sizes, dtype=torch.float32)  # (L, N, 2): width, height
        centers = torch.tensor(self.strides)[:, None, None] / 2
        self.base_anchors = list(
            torch.cat([centers - self.sizes / 2, centers + self.sizes / 2], -1)
        )


def _check_sizes(sizes: Sequence, num_levels: int) -> None:
    counts = {len(of_level) for of_level in sizes}
    are_pairs = all(_is_pair(pair) for of_level in sizes for pair in of_level)
    if len(sizes) != num_levels or len(counts) != 1 or 0 in counts or not are_pairs:
        raise ValueError(
            f"YOLOAnchorGenerator: base_sizes must be {num_levels} lists, one a stride, of equally "
            f"many (width, height) in pixels, got {sizes!r}"
        )


def _is_pair(value: object) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and min(value) > 0
