"""RoIAlign over a feature pyramid. Letters: B images, R RoIs an image, L levels, C channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from mmdet_lite.models.cores import RoIAlignOnCores
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class RoIExtractor(nn.Module):
    """Pool each RoI from the one pyramid level that fits its size (Lin et al. 2017, FPN, eq. 1).

    Args:
        output_size: side of the pooled square.
        featmap_strides: stride of each level that is pooled from; later feature maps are not used.
        sampling_ratio: samples a bin and side; 0: as many as there are pixels in the bin.
        aligned: sample at pixel centres (RoIAlign with the half-pixel correction).
        finest_scale: RoIs whose side is below twice this many pixels go to the first level.
        roi_scale_factor: pool a region this many times as large around the same centre.
    """

    def __init__(
        self,
        output_size: int,
        featmap_strides: Sequence[int],
        sampling_ratio: int = 0,
        aligned: bool = True,
        finest_scale: int = 56,
        roi_scale_factor: float = 1.0,
    ):
        super().__init__()
        self.output_size = output_size
        self.featmap_strides = tuple(featmap_strides)
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned
        self.finest_scale = finest_scale
        self.roi_scale_factor = roi_scale_factor

    def map_levels(self, boxes: Tensor) -> Tensor:
        """The level of each box: (..., 4) to (...) int64."""
        size = boxes[..., 2:] - boxes[..., :2]
        side = torch.sqrt(size[..., 0] * size[..., 1])
        level = torch.floor(torch.log2(side / self.finest_scale + 1e-6))
        return level.clamp(0, len(self.featmap_strides) - 1).long()

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Pool, in float32.

        Args:
            feats: at least L maps (B, C, Hi, Wi).
            rois: (B, R, 4).

        Returns:
            (B * R, C, output_size, output_size) float32.
        """
        # A box that is not finite has no place on the maps, and roi_align would read outside of
        # them. Pooled as an empty one it lets the step come to its losses, which tell.
        rois = rois.masked_fill(~rois.isfinite().all(dim=-1, keepdim=True), 0)
        level = self.map_levels(rois).reshape(-1)
        image = torch.arange(rois.shape[0], device=rois.device)[:, None]
        image = image.expand(rois.shape[:2]).reshape(-1)
        boxes = torch.cat([image[:, None].to(rois), self._scaled(rois).reshape(-1, 4)], dim=1)
        if rois.device.type == "cpu" and not torch.compiler.is_compiling():
            return self._pool_by_level(feats, boxes, level)
        return self._pool_all_on_each_level(feats, boxes, level)

    def _pool_by_level(self, feats: Sequence[Tensor], boxes: Tensor, level: Tensor) -> Tensor:
        """On the CPU it costs nothing to ask how many RoIs a level has, and pooling is slow enough
        for the fixed shapes below to take four times as long."""
        scales = [1 / stride for stride in self.featmap_strides]
        maps = [feat.float() for feat in feats[: len(scales)]]
        settings = (self.output_size, scales, self.sampling_ratio, self.aligned)
        return RoIAlignOnCores.apply(boxes, level, *settings, *maps)

    def _pool_all_on_each_level(
        self, feats: Sequence[Tensor], boxes: Tensor, level: Tensor
    ) -> Tensor:
        """Every level pools all RoIs, those of other levels as empty boxes: shapes are fixed and
        nothing waits for the device. With ``sampling_ratio`` 0 an empty box takes no sample."""
        pooled = None
        for i in range(len(self.featmap_strides)):
            here = (level == i)[:, None]
            boxes_here = torch.cat([boxes[:, :1], torch.where(here, boxes[:, 1:], 0)], dim=1)
            out = self._pool(feats, boxes_here, i)
            pooled = out if pooled is None else torch.where(here[:, :, None, None], out, pooled)
        return pooled

    def _pool(self, feats: Sequence[Tensor], boxes: Tensor, i: int) -> Tensor:
        return roi_align(
            feats[i].float(),
            boxes,
            self.output_size,
            spatial_scale=1 / self.featmap_strides[i],
            sampling_ratio=self.sampling_ratio,
            aligned=self.aligned,
        )

    def _scaled(self, boxes: Tensor) -> Tensor:
        if self.roi_scale_factor == 1:
            return boxes
        center = (boxes[..., :2] + boxes[..., 2:]) * 0.5
        half = (boxes[..., 2:] - boxes[..., :2]) * 0.5 * self.roi_scale_factor
        return torch.cat([center - half, center + half], dim=-1)
