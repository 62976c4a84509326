"""Boxes as offsets and logarithms where both corners are pixels inside (x2 - x1 + 1 wide)."""

from __future__ import annotations

import torch
from torch import Tensor

from mmdet_lite.models.coders.delta_xywh_coder import DeltaXYWHBBoxCoder
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import clip_boxes, outer_edges


@MODELS.register_module()
class InclusiveDeltaXYWHCoder(DeltaXYWHBBoxCoder):
    """Encode a box as :class:`DeltaXYWHBBoxCoder`, its right and bottom sides being pixels of it.

    The convention of Fast R-CNN's first implementations, and of :class:`APAssigner`. Clipping is to
    the last column and row of the image.
    """

    def encode(self, priors: Tensor, boxes: Tensor) -> Tensor:
        """Deltas that turn priors into boxes; (..., 4) each to (..., 4) float32."""
        low, high = boxes[..., :2], boxes[..., 2:]
        boxes = torch.cat([low, torch.maximum(high, low)], dim=-1)  # of at least one pixel
        return super().encode(outer_edges(priors), outer_edges(boxes))

    def decode(self, priors: Tensor, deltas: Tensor, shapes: Tensor | None = None) -> Tensor:
        """Boxes from priors and deltas; see :class:`DeltaXYWHBBoxCoder`.

        A box smaller than a pixel becomes its centre.
        """
        outer = super().decode(outer_edges(priors), deltas)
        low, high = outer[..., :2], outer[..., 2:] - 1
        center = (low + high) / 2
        boxes = torch.cat([torch.minimum(low, center), torch.maximum(high, center)], dim=-1)
        return boxes if shapes is None else clip_boxes(boxes, shapes - 1)
