"""Path aggregation (Liu et al. 2018, "PANet") with cross-stage partial blocks, as the YOLOs do it.

Letters: B images, L levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_lite.models.backbones.csp_blocks import (
    CSPBlock,
    conv_bn_silu,
    csp_block,
    scaled_repeats,
)
from mmdet_lite.registry import MODELS

_BASE_REPEATS = 3  # bottlenecks of every block at depth_multiple=1


@MODELS.register_module()
class CSPPAN(nn.Module):
    """From coarse to fine and back, concatenating maps; channels stay as they come.

    Args:
        in_channels: channels of each backbone map, and of each output, finest first.
        depth_multiple: factor of the three bottlenecks in each block.
        block: 'C2f' (YOLOv8) or 'C3' (YOLOv5).
        reduce: a 1x1 convolution takes a map to the channels of the next finer one before it is
            upsampled (YOLOv5).

    Raises:
        ValueError: an unknown block.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        depth_multiple: float,
        block: CSPBlock = "C2f",
        reduce: bool = False,
    ):
        super().__init__()
        make = csp_block(block, "CSPPAN")
        count = scaled_repeats(_BASE_REPEATS, depth_multiple)
        self.in_channels = tuple(in_channels)
        self.reduce_convs, self.top_down_blocks = nn.ModuleList(), nn.ModuleList()
        self.downsamples, self.bottom_up_blocks = nn.ModuleList(), nn.ModuleList()
        # Entry i of each list connects level i with the coarser level i + 1.
        for fine, coarse in zip(self.in_channels, self.in_channels[1:], strict=False):
            lateral = fine if reduce else coarse
            self.reduce_convs.append(conv_bn_silu(coarse, fine, 1) if reduce else nn.Identity())
            self.top_down_blocks.append(make(lateral + fine, fine, count, shortcut=False))
            self.downsamples.append(conv_bn_silu(fine, fine, 3, stride=2))
            self.bottom_up_blocks.append(make(fine + lateral, coarse, count, shortcut=False))

    def forward(self, feats: Sequence[Tensor]) -> list[Tensor]:
        """Merge maps.

        Args:
            feats: L maps (B, in_channels[i], Hi, Wi), finest first.

        Returns:
            L maps of the same shapes.

        Raises:
            ValueError: not as many maps as ``in_channels``.
        """
        if len(feats) != len(self.in_channels):
            raise ValueError(
                f"CSPPAN has {len(self.in_channels)} in_channels, got {len(feats)} maps"
            )
        x, laterals = feats[-1], []
        for i in reversed(range(len(self.top_down_blocks))):
            lateral = self.reduce_convs[i](x)
            laterals.insert(0, lateral)
            above = F.interpolate(lateral, size=feats[i].shape[-2:], mode="nearest")
            x = self.top_down_blocks[i](torch.cat([above, feats[i]], dim=1))
        outs = [x]
        for i, lateral in enumerate(laterals):
            x = torch.cat([self.downsamples[i](x), lateral], dim=1)
            x = self.bottom_up_blocks[i](x)
            outs.append(x)
        return outs
