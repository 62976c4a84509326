"""Deformable convolutions (Dai et al. 2017; Zhu et al. 2019) on torchvision's operator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d


class DeformConv2d(nn.Conv2d):
    """A convolution whose sampling points are moved by offsets that a convolution predicts.

    The names of the parameters are mmcv's: ``weight`` and ``conv_offset``.

    Args:
        in_channels, channels, kernel_size, stride, padding, dilation, groups: as of ``nn.Conv2d``.
        deform_groups: groups of input channels that share their offsets.
        modulated: weigh each sampling point too (version 2).
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        deform_groups: int = 1,
        modulated: bool = True,
    ):
        geometry = (kernel_size, stride, padding, dilation)
        super().__init__(in_channels, channels, *geometry, groups, bias=False)
        self.modulated = modulated
        points = deform_groups * kernel_size**2
        outputs = points * (3 if modulated else 2)
        self.conv_offset = nn.Conv2d(in_channels, outputs, *geometry)
        nn.init.zeros_(self.conv_offset.weight)  # it begins as a plain convolution
        nn.init.zeros_(self.conv_offset.bias)
        self._num_offsets = 2 * points

    @torch.autocast("cuda", enabled=False)
    @torch.autocast("cpu", enabled=False)
    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, H / stride, W / stride), in float32."""
        x = x.float()
        predicted = self.conv_offset(x)
        mask = predicted[:, self._num_offsets :].sigmoid() if self.modulated else None
        return deform_conv2d(
            x,
            predicted[:, : self._num_offsets],
            self.weight,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            mask=mask,
        )


def build_deform_conv(
    cfg: dict[str, Any], in_channels: int, channels: int, kernel_size: int, **geometry: int
) -> DeformConv2d:
    """A deformable convolution from ``dict(type='DCN' or 'DCNv2', deform_groups=1)``.

    Raises:
        ValueError: another type.
    """
    kinds = {"DCN": False, "DCNv2": True}
    if cfg.get("type") not in kinds:
        raise ValueError(f"dcn_cfg: type must be 'DCN' or 'DCNv2', got {cfg.get('type')!r}")
    return DeformConv2d(
        *(in_channels, channels, kernel_size),
        deform_groups=cfg.get("deform_groups", 1),
        modulated=kinds[cfg["type"]],
        **geometry,
    )
