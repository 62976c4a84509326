"""The backbone of YOLOv5 and YOLOv8: Darknet with cross-stage partial blocks.

Letters: B images, Ci channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from mmdet_lite.models.backbones.csp_blocks import (
    SPPF,
    CSPBlock,
    conv_bn_silu,
    csp_block,
    scaled_repeats,
)
from mmdet_lite.registry import MODELS

_STEM_PADDING = {3: 1, 6: 2}  # of a stem that halves the image's sides
_BASE_CHANNELS = (64, 128, 256, 512, 1024)  # of the stem and the stages at width_multiple=1


@MODELS.register_module()
class CSPDarknet(nn.Module):
    """Stem and four stages, each a convolution of stride 2 and a CSP block; pooling at the end.

    Numbers of YOLOv8 n, s, m: depth 0.33, 0.33, 0.67; width 0.25, 0.5, 0.75; ``max_channels`` 1024,
    1024, 768. Of YOLOv5 n, s, m: the same depths and widths, ``max_channels`` 1024,
    ``base_repeats`` (3, 6, 9, 3), ``stem_kernel`` 6, ``block`` 'C3'.

    Args:
        depth_multiple: factor of ``base_repeats``.
        width_multiple: factor of the channels 64, 128, 256, 512, 1024; the results are rounded up
            to multiples of 8.
        max_channels: limit of the channels before they are multiplied.
        block: 'C2f' (YOLOv8) or 'C3' (YOLOv5).
        base_repeats: bottlenecks of each stage at ``depth_multiple=1``.
        stem_kernel: side of the first convolution, 3 or 6.
        out_indices: stages whose output is returned, 0 (stride 4) to 3 (stride 32).

    Raises:
        ValueError: an unknown block or kernel, or not four repeats.
    """

    def __init__(
        self,
        depth_multiple: float,
        width_multiple: float,
        max_channels: int = 1024,
        block: CSPBlock = "C2f",
        base_repeats: Sequence[int] = (3, 6, 6, 3),
        stem_kernel: int = 3,
        out_indices: Sequence[int] = (1, 2, 3),
    ):
        super().__init__()
        block_class = csp_block(block, "CSPDarknet")
        if stem_kernel not in _STEM_PADDING:
            raise ValueError(f"CSPDarknet: stem_kernel must be 3 or 6, got {stem_kernel!r}")
        if len(base_repeats) != 4:
            raise ValueError(f"CSPDarknet: base_repeats must be four numbers, got {base_repeats!r}")
        self.out_indices = tuple(out_indices)
        widths = [_scaled(channels, width_multiple, max_channels) for channels in _BASE_CHANNELS]
        self.stem = conv_bn_silu(3, widths[0], stem_kernel, stride=2)
        self.stem.conv.padding = (_STEM_PADDING[stem_kernel],) * 2
        self.downsamples, self.stages = nn.ModuleList(), nn.ModuleList()
        for stage, repeats in enumerate(base_repeats):
            width = widths[stage + 1]
            self.downsamples.append(conv_bn_silu(widths[stage], width, 3, stride=2))
            count = scaled_repeats(repeats, depth_multiple)
            self.stages.append(block_class(width, width, count, shortcut=True))
        self.sppf = SPPF(widths[-1])

    def init_weights(self) -> None:
        """Nothing: these networks are trained from random weights, or from a whole detector's."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) to the chosen maps (B, Ci, H / stride, W / stride), finest first."""
        x = self.stem(x)
        outs = []
        for stage, (downsample, block) in enumerate(
            zip(self.downsamples, self.stages, strict=True)
        ):
            x = block(downsample(x))
            if stage == len(self.stages) - 1:
                x = self.sppf(x)
            if stage in self.out_indices:
                outs.append(x)
        return outs


def _scaled(channels: int, width_multiple: float, max_channels: int) -> int:
    return math.ceil(min(channels, max_channels) * width_multiple / 8) * 8
