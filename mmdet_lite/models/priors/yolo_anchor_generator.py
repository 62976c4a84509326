"""Anchors of given widths and heights, as YOLO has. Letters: L levels, N anchors a cell."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from mmdet_lite.models.priors.anchor_generator import AnchorGenerator
from mmdet_lite.registry import MODELS

if TYPE_CHECKING:
    from torch import Tensor


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
        sizes = np.array(base_sizes, np.float32)  # (L, N, 2): width, height
        centers = np.array(self.strides, np.float32)[:, None, None] / 2
        self.cell_anchors = list(np.concatenate([centers - sizes / 2, centers + sizes / 2], -1))
        self._sizes = sizes

    @property
    def sizes(self) -> Tensor:
        """(L, N, 2) width and height of the anchors, input pixels."""
        import torch

        return torch.tensor(self._sizes)


def _check_sizes(sizes: Sequence, num_levels: int) -> None:
    """The first rule that is not kept is told."""
    name = "YOLOAnchorGenerator: base_sizes"
    lists = all(isinstance(of_level, (list, tuple)) for of_level in sizes)
    if not lists or len(sizes) != num_levels:
        raise ValueError(f"{name} must be {num_levels} lists, one a stride, got {sizes!r}")
    if wrong := [pair for of_level in sizes for pair in of_level if not _is_pair(pair)]:
        raise ValueError(
            f"{name} must be pairs (width, height) above 0, in pixels, got {wrong[0]!r}"
        )
    counts = [len(of_level) for of_level in sizes]
    if len(set(counts)) != 1 or 0 in counts:
        raise ValueError(f"{name} must have as many anchors on every level, got {counts}")


def _is_pair(value: object) -> bool:
    is_pair = isinstance(value, (list, tuple)) and len(value) == 2
    return is_pair and all(isinstance(side, Real) and side > 0 for side in value)
