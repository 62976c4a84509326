"""Feature pyramid network (Lin et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdet_lite.registry import MODELS


@MODELS.register_module()
class FPN(nn.Module):
    """Top-down pyramid with lateral connections; levels above the last are subsampled.

    Args:
        in_channels: channels of each backbone map, finest first.
        out_channels: channels of every output map.
        num_outs: output maps, at least as many as input maps.

    Raises:
        ValueError: ``num_outs`` is smaller than the number of inputs.
    """

    def __init__(self, in_channels: Sequence[int], out_channels: int, num_outs: int):
        super().__init__()
        if num_outs < len(in_channels):
            raise ValueError(
                f"FPN: num_outs={num_outs} is below the {len(in_channels)} in_channels"
            )
        self.num_outs = num_outs
        self.lateral_convs = nn.ModuleList(
            ConvModule(channels, out_channels, 1, act_cfg=None) for channels in in_channels
        )
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, act_cfg=None) for _ in in_channels
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Merge maps.

        Args:
            feats: (B, in_channels[i], Hi, Wi), finest first.

        Returns:
            ``num_outs`` maps (B, out_channels, Hi, Wi).

        Raises:
            ValueError: not as many maps as ``in_channels``.
        """
        if len(feats) != len(self.lateral_convs):
            raise ValueError(
                f"FPN has {len(self.lateral_convs)} in_channels, got {len(feats)} maps"
            )
        merged = [conv(feat) for conv, feat in zip(self.lateral_convs, feats, strict=True)]
        for i in range(len(merged) - 1, 0, -1):
            above = F.interpolate(merged[i], size=merged[i - 1].shape[-2:], mode="nearest")
            merged[i - 1] = merged[i - 1] + above
        outs = [conv(level) for conv, level in zip(self.fpn_convs, merged, strict=True)]
        while len(outs) < self.num_outs:
            outs.append(F.max_pool2d(outs[-1], kernel_size=1, stride=2))
        return outs
