"""Anchors of a feature pyramid. Letters: L levels, N anchors a cell, A over all levels, B images.

Torch is imported where tensors are made: the doctor asks for the anchors of a cell alone, and
reading its images takes less time than importing torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from mmdet_lite.ranges import check_positive
from mmdet_lite.registry import MODELS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_CACHED_SIZES = 16  # about 14 MiB each at 800 x 1344; multi-scale training meets hundreds


@dataclass
class Priors:
    """The priors of all levels, one after the other; within a level ordered by row, column, anchor.

    Attributes:
        boxes: (A, 4) float32, input pixels; float64 of an ``inclusive`` :class:`AnchorGenerator`.
        cells: (A, 2) int64 (row, column) in the level's feature map.
        strides: (A, 2) int64 (vertical, horizontal) stride of the level.
        ids: (A,) int64: level, row, column and anchor packed into one number, so that a prior's
            identity does not change with the padding of the batch.
        level_sizes: number of priors of each level.
    """

    boxes: Tensor
    cells: Tensor
    strides: Tensor
    ids: Tensor
    level_sizes: tuple[int, ...]

    @property
    def levels(self) -> Tensor:
        """(A,) int64 level of each prior."""
        return prior_level(self.ids)

    @property
    def centers(self) -> Tensor:
        """(A, 2): x, y."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @cached_property
    def cell_corners(self) -> Tensor:
        """(A, 2): y, x in input pixels at which each prior's cell begins."""
        return self.cells * self.strides

    def valid_flags(self, shapes: Tensor, pad_shapes: Tensor, allowed_border: float = -1) -> Tensor:
        """Which priors an image may use.

        A prior is valid if its cell begins inside the padded image; with ``allowed_border >= 0``
        its box must also lie inside the image extended by that border.

        Args:
            shapes: (B, 2) image (height, width).
            pad_shapes: (B, 2) padded (height, width).
            allowed_border: pixels; negative switches the test of the box off.

        Returns:
            (B, A) bool.
        """
        valid = (self.cell_corners < pad_shapes[:, None]).all(-1)
        if allowed_border >= 0:
            limit = (shapes + allowed_border).flip(-1)[:, None]  # (B, 1, 2): x, y
            inside = (self.boxes[:, :2] >= -allowed_border).all(-1)
            valid = valid & inside & (self.boxes[:, 2:] < limit).all(-1)
        return valid


@MODELS.register_module()
class AnchorGenerator:
    """Boxes of several scales and aspect ratios at every cell of every feature map.

    Anchor (row, column) is centred at (column, row) * stride, without a half-stride offset.

    Args:
        strides: input pixels between cells, one a level.
        ratios: height / width.
        scales: side of the square anchor in strides. Give these, the two ``octave`` arguments, or
            ``sizes``.
        octave_base_scale, scales_per_octave: RetinaNet's form:
            ``octave_base_scale * 2 ** (i / scales_per_octave)``.
        base_sizes: side that scale 1 stands for, one a level; the strides by default.
        scale_major: anchors of a cell run over all scales for each ratio; False: the other way.
        center_offset: shift of the anchors in strides.
        round_base_anchors: round corners to whole pixels, as torchvision does.
        sizes: sides of the square anchors in pixels, a list for each level.
        fit_strides: the distance of anchors is the padded image's side divided by the map's,
            rounded down, as in torchvision: 800 pixels and 13 rows are 61, not 64. Needs images
            padded to multiples of the first stride.
        inclusive: right and bottom sides are the last pixels inside, so that a side of s pixels
            ends s - 1 after its begin, and anchors are float64: :class:`APAssigner` needs both.

    Attributes:
        cell_anchors: for each level (N, 4) xyxy around the first cell, input pixels, in NumPy.

    Raises:
        ValueError: not exactly one kind of scales is given, lengths differ, or a number is not
            above 0.
    """

    def __init__(
        self,
        strides: Sequence[int],
        ratios: Sequence[float],
        scales: Sequence[float] | None = None,
        octave_base_scale: float | None = None,
        scales_per_octave: int | None = None,
        base_sizes: Sequence[float] | None = None,
        scale_major: bool = True,
        center_offset: float = 0.0,
        round_base_anchors: bool = False,
        sizes: Sequence[Sequence[float]] | None = None,
        fit_strides: bool = False,
        inclusive: bool = False,
    ):
        octaves = (octave_base_scale is not None, scales_per_octave is not None)
        no_others = scales is None and sizes is None
        if octaves != (no_others, no_others) or None not in (scales, sizes):
            raise ValueError(
                "AnchorGenerator needs either scales, or octave_base_scale and scales_per_octave, "
                f"or sizes; got {scales=}, {octave_base_scale=}, {scales_per_octave=}, {sizes=}"
            )
        if no_others:
            scales = [
                octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave)
            ]
        self.strides = tuple(strides)
        if sizes is not None:
            base_sizes = [1] * len(sizes)
        sides = [scales] * len(self.strides) if sizes is None else sizes
        numbers = {"strides": strides, "ratios": ratios, "base_sizes": base_sizes or ()}
        for name, values in (numbers | {"scales": scales or ()}).items():
            check_positive(self, **{f"{name}[{i}]": value for i, value in enumerate(values)})
        self.base_sizes = tuple(base_sizes or strides)
        if len(self.base_sizes) != len(self.strides):
            raise ValueError(
                f"AnchorGenerator got {len(self.base_sizes)} "
                f"{'base_sizes' if sizes is None else 'sizes'} for {len(self.strides)} strides"
            )
        self.center_offset = center_offset
        self.fit_strides = fit_strides
        self.inclusive = inclusive
        self.cell_anchors = [
            self._cell_anchors(size, stride, of_level, ratios, scale_major)
            for size, stride, of_level in zip(self.base_sizes, self.strides, sides, strict=True)
        ]
        if round_base_anchors:
            self.cell_anchors = [anchors.round() for anchors in self.cell_anchors]
        self._cache: dict[tuple, Priors] = {}

    @property
    def base_anchors(self) -> list[Tensor]:
        """``cell_anchors`` as tensors, which are not kept: a trace may have asked for them."""
        import torch

        return [torch.tensor(anchors) for anchors in self.cell_anchors]

    @property
    def num_base_priors(self) -> int:
        """Anchors a cell, the same on every level."""
        return len(self.cell_anchors[0])

    def __call__(self, level_shapes: Sequence[tuple[int, int]], device: torch.device) -> Priors:
        """The anchors for feature maps of these (height, width); the latest sizes are cached.

        Raises:
            ValueError: the number of feature maps is not the number of strides.
        """
        from mmdet_lite.models.exporting import is_exporting

        if len(level_shapes) != len(self.strides):
            raise ValueError(
                f"AnchorGenerator has {len(self.strides)} strides but got {len(level_shapes)} "
                "feature maps; check the neck's num_outs"
            )
        if is_exporting():  # its tensors are of no use to others
            return self._make_priors(level_shapes, device)
        key = (tuple(tuple(shape) for shape in level_shapes), device)
        priors = self._cache.pop(key, None) or self._make_priors(level_shapes, device)
        self._cache[key] = priors  # the last used is the last
        if len(self._cache) > _CACHED_SIZES:
            self._cache.pop(next(iter(self._cache)))
        return priors

    def _cell_anchors(
        self,
        base_size: float,
        stride: int,
        scales: Sequence[float],
        ratios: Sequence[float],
        scale_major: bool,
    ) -> np.ndarray:
        dtype = np.float64 if self.inclusive else np.float32
        root = np.sqrt(np.array(ratios, dtype))
        scale = np.array(scales, dtype)
        if scale_major:
            widths = (base_size * (1 / root)[:, None] * scale[None, :]).reshape(-1)
            heights = (base_size * root[:, None] * scale[None, :]).reshape(-1)
        else:
            widths = (base_size * scale[:, None] * (1 / root)[None, :]).reshape(-1)
            heights = (base_size * scale[:, None] * root[None, :]).reshape(-1)
        center = self.center_offset * stride
        last = int(self.inclusive)
        corners = [
            center - widths / 2,
            center - heights / 2,
            center + widths / 2 - last,
            center + heights / 2 - last,
        ]
        return np.stack(corners, axis=-1)

    def _make_priors(self, level_shapes: Sequence[tuple[int, int]], device: torch.device) -> Priors:
        import torch

        boxes, cells, strides, ids = [], [], [], []
        base_anchors = self.base_anchors
        for level, (height, width) in enumerate(level_shapes):
            stride = torch.tensor([self.strides[level]] * 2)  # vertical, horizontal
            if self.fit_strides:
                padded = torch.tensor(level_shapes[0]) * self.strides[0]
                stride = padded // torch.tensor([height, width])
            num_base = len(base_anchors[level])
            row, column, anchor = torch.meshgrid(
                torch.arange(height), torch.arange(width), torch.arange(num_base), indexing="ij"
            )
            row, column, anchor = row.reshape(-1), column.reshape(-1), anchor.reshape(-1)
            cell = torch.stack([row, column], dim=-1)
            shift = (cell * stride).flip(-1).repeat(1, 2)  # x, y, x, y
            boxes.append(base_anchors[level][anchor] + shift)
            cells.append(cell)
            strides.append(stride.expand(row.shape[0], 2))
            ids.append(pack_prior_id(level, row, column, anchor))
        return Priors(
            boxes=torch.cat(boxes).to(device),
            cells=torch.cat(cells).to(device),
            strides=torch.cat(strides).to(device),
            ids=torch.cat(ids).to(device),
            level_sizes=tuple(level_boxes.shape[0] for level_boxes in boxes),
        )


def pack_prior_id(
    level: int, row: int | Tensor, column: int | Tensor, anchor: int | Tensor
) -> int | Tensor:
    """Identity of a prior in one int64: 8 bits level, 20 row, 20 column, 8 anchor."""
    return ((level * (1 << 20) + row) * (1 << 20) + column) * (1 << 8) + anchor


def prior_level(ids: Tensor) -> Tensor:
    """The level in identities that :func:`pack_prior_id` made."""
    return ids >> 48


def unpack_prior_ids(
    ids: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Level, row, column and anchor of identities that :func:`pack_prior_id` made."""
    return ids >> 48, (ids >> 28) & 0xFFFFF, (ids >> 8) & 0xFFFFF, ids & 0xFF
