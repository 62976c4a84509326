"""Blocks of the YOLOs: cross-stage partial networks (Wang et al. 2020, "CSPNet") and their pooling.

Every convolution is followed by batch norm and SiLU. Letters: B images, C channels.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

CSPBlock = Literal["C2f", "C3"]

# YOLOv5's and YOLOv8's: statistics move 3 % a step.
_NORM_CFG = {"type": "BN", "eps": 1e-3, "momentum": 0.03}


def conv_bn_silu(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> ConvModule:
    """A convolution that keeps the size, or divides it by the stride, with batch norm and SiLU.

    Args:
        in_channels, out_channels: C of input and output.
        kernel: side.
        stride: of the convolution.
    """
    layer = ConvModule(
        *(in_channels, out_channels, kernel, stride, kernel // 2),
        norm_cfg=_NORM_CFG,
        act_cfg={"type": "SiLU"},
    )
    layer.conv.reset_parameters()  # torch's initial weights, which these networks train from
    return layer


class Bottleneck(nn.Module):
    """Two convolutions and, on demand, the identity beside them.

    Args:
        channels: C of input and output, and between the convolutions.
        kernels: sides of the two.
        shortcut: add the input to the output.
    """

    def __init__(self, channels: int, kernels: tuple[int, int], shortcut: bool):
        super().__init__()
        self.conv1 = conv_bn_silu(channels, channels, kernels[0])
        self.conv2 = conv_bn_silu(channels, channels, kernels[1])
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        out = self.conv2(self.conv1(x))
        return x + out if self.shortcut else out


class C2f(nn.Module):
    """YOLOv8's block: half of the channels pass through bottlenecks, whose outputs are all merged.

    Args:
        in_channels, out_channels: C of input and output.
        num_bottlenecks: 3x3, 3x3 bottlenecks on half of the output's channels.
        shortcut: of the bottlenecks.
    """

    def __init__(self, in_channels: int, out_channels: int, num_bottlenecks: int, shortcut: bool):
        super().__init__()
        half = out_channels // 2
        self.conv1 = conv_bn_silu(in_channels, 2 * half, 1)
        self.conv2 = conv_bn_silu((2 + num_bottlenecks) * half, out_channels, 1)
        self.blocks = nn.ModuleList(
            Bottleneck(half, (3, 3), shortcut) for _ in range(num_bottlenecks)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        parts = list(self.conv1(x).chunk(2, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.conv2(torch.cat(parts, dim=1))


class C3(nn.Module):
    """YOLOv5's block: bottlenecks on one 1x1 convolution of the input, merged with another.

    Args:
        in_channels, out_channels: C of input and output.
        num_bottlenecks: 1x1, 3x3 bottlenecks on half of the output's channels.
        shortcut: of the bottlenecks.
    """

    def __init__(self, in_channels: int, out_channels: int, num_bottlenecks: int, shortcut: bool):
        super().__init__()
        half = out_channels // 2
        self.conv1 = conv_bn_silu(in_channels, half, 1)
        self.conv2 = conv_bn_silu(in_channels, half, 1)
        self.conv3 = conv_bn_silu(2 * half, out_channels, 1)
        self.blocks = nn.Sequential(
            *(Bottleneck(half, (1, 3), shortcut) for _ in range(num_bottlenecks))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.conv3(torch.cat([self.blocks(self.conv1(x)), self.conv2(x)], dim=1))


class SPPF(nn.Module):
    """Spatial pyramid pooling (He et al. 2014) by pooling one, two and three times in a row.

    Args:
        channels: C of input and output.
        pool_size: side of the max pooling; three in a row see ``3 * pool_size - 2`` cells.
    """

    def __init__(self, channels: int, pool_size: int = 5):
        super().__init__()
        half = channels // 2
        self.conv1 = conv_bn_silu(channels, half, 1)
        self.conv2 = conv_bn_silu(4 * half, channels, 1)
        self.pool_size = pool_size

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        parts = [self.conv1(x)]
        for _ in range(3):
            pooled = F.max_pool2d(parts[-1], self.pool_size, stride=1, padding=self.pool_size // 2)
            parts.append(pooled)
        return self.conv2(torch.cat(parts, dim=1))


def csp_block(name: CSPBlock, owner: str) -> type[C2f] | type[C3]:
    """The class that a config names.

    Args:
        name: 'C2f' or 'C3'.
        owner: the class whose argument ``block`` it is, for the message.

    Raises:
        ValueError: an unknown name.
    """
    blocks = {"C2f": C2f, "C3": C3}
    if name not in blocks:
        raise ValueError(f"{owner}: block must be 'C2f' or 'C3', got {name!r}")
    return blocks[name]


def scaled_repeats(count: int, depth_multiple: float) -> int:
    """How often a block is repeated in a network of another depth; at least once."""
    return max(round(count * depth_multiple), 1)
