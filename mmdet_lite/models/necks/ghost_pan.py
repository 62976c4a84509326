"""NanoDet-Plus's neck: a path aggregation network of ghost bottlenecks.

Path aggregation: Liu et al. 2018, "Path Aggregation Network for Instance Segmentation". Ghost
bottlenecks: Han et al. 2020, "GhostNet". Letters: B images, Ci channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule, DepthwiseSeparableConvModule
from torch import Tensor, nn

from mmdet_lite.models.separable_conv import LEAKY_RELU, separable_conv
from mmdet_lite.registry import MODELS

_NORM = {"type": "BN"}


class GhostModule(nn.Module):
    """Half of the channels from a 1x1 convolution, the other half from a depthwise one on those.

    Args:
        in_channels, out_channels: of the maps.
        act_cfg: activation of both convolutions, in mmcv's form; None: none.
    """

    def __init__(self, in_channels: int, out_channels: int, act_cfg: dict | None):
        super().__init__()
        half = out_channels // 2
        shared = {"norm_cfg": _NORM, "act_cfg": act_cfg}
        self.primary = ConvModule(in_channels, half, 1, **shared)
        self.cheap = ConvModule(half, half, 3, padding=1, groups=half, **shared)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        primary = self.primary(x)
        return torch.cat([primary, self.cheap(primary)], dim=1)


class GhostBottleneck(nn.Module):
    """Two ghost modules and a shortcut of a depthwise 5x5 and a pointwise convolution.

    Args:
        in_channels, out_channels: of the maps; the number between the modules is the latter.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.ghost1 = GhostModule(in_channels, out_channels, LEAKY_RELU)
        self.ghost2 = GhostModule(out_channels, out_channels, None)
        self.shortcut = DepthwiseSeparableConvModule(
            in_channels, out_channels, 5, padding=2, norm_cfg=_NORM, act_cfg=None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.ghost2(self.ghost1(x)) + self.shortcut(x)


@MODELS.register_module()
class GhostPAN(nn.Module):
    """Maps of equal width, merged from coarse to fine and back again, and one coarser map.

    Args:
        in_channels: channels of each backbone map, finest first.
        out_channels: channels of every output map, an even number.

    Raises:
        ValueError: ``out_channels`` is odd.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int):
        super().__init__()
        if out_channels % 2:
            raise ValueError(f"GhostPAN: out_channels must be even, got {out_channels}")
        self.in_channels = tuple(in_channels)
        self.num_ins = len(in_channels)
        self.reduce_layers = nn.ModuleList(
            ConvModule(channels, out_channels, 1, norm_cfg=_NORM, act_cfg=LEAKY_RELU)
            for channels in in_channels
        )
        steps = range(self.num_ins - 1)
        self.top_down_blocks = nn.ModuleList(
            GhostBottleneck(out_channels * 2, out_channels) for _ in steps
        )  # the coarsest first
        self.downsamples = nn.ModuleList(
            separable_conv(out_channels, out_channels, stride=2) for _ in steps
        )
        self.bottom_up_blocks = nn.ModuleList(
            GhostBottleneck(out_channels * 2, out_channels) for _ in steps
        )
        self.extra_in = separable_conv(out_channels, out_channels, stride=2)
        self.extra_out = separable_conv(out_channels, out_channels, stride=2)

    def forward(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Merge maps.

        Args:
            feats: (B, in_channels[i], Hi, Wi), finest first.

        Returns:
            One map (B, out_channels, Hi, Wi) more than ``feats``.

        Raises:
            ValueError: not as many maps as ``in_channels``.
        """
        if len(feats) != self.num_ins:
            raise ValueError(f"GhostPAN has {self.num_ins} in_channels, got {len(feats)} maps")
        reduced = [layer(feat) for layer, feat in zip(self.reduce_layers, feats, strict=True)]
        outs = self._bottom_up(self._top_down(reduced))
        return [*outs, self.extra_in(reduced[-1]) + self.extra_out(outs[-1])]

    def _top_down(self, maps: list[Tensor]) -> list[Tensor]:
        merged = [maps[-1]]  # finest first
        for block, finer in zip(self.top_down_blocks, maps[-2::-1], strict=True):
            above = F.interpolate(merged[0], size=finer.shape[-2:], mode="bilinear")
            merged.insert(0, block(torch.cat([above, finer], dim=1)))
        return merged

    def _bottom_up(self, maps: list[Tensor]) -> list[Tensor]:
        merged = [maps[0]]
        for downsample, block, coarser in zip(
            self.downsamples, self.bottom_up_blocks, maps[1:], strict=True
        ):
            merged.append(block(torch.cat([downsample(merged[-1]), coarser], dim=1)))
        return merged
