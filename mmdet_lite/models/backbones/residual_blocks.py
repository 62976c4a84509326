"""The blocks of ResNet (He et al. 2016) and ResNeXt (Xie et al. 2017), and stages of them.

Parameters have torchvision's names. Letters: B images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from mmcv.cnn import build_conv_layer, build_norm_layer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # also SyncBatchNorm

from mmdet_lite.models.backbones.deform_conv import build_deform_conv
from mmdet_lite.models.backbones.folded_norms import Folded, Pair, conv_norm


@dataclass(frozen=True)
class BlockStyle:
    """What the blocks of a network have in common.

    Args:
        style: 'pytorch' or 'caffe': the stride of a bottleneck is its 3x3 convolution's, or that of
            its first one.
        groups, base_width: of the 3x3 convolution of a bottleneck (ResNeXt).
        base_channels: what ``base_width`` is compared with.
        norm_cfg: normalisation, in mmcv's form.
        conv_cfg: kind of convolution, in mmcv's form; None: the plain one.
        dcn_cfg: ``dict(type='DCN' or 'DCNv2', deform_groups=1)`` makes the 3x3 convolution of a
            bottleneck a deformable one.

    Raises:
        ValueError: an unknown style.
    """

    style: str = "pytorch"
    groups: int = 1
    base_width: int = 4
    base_channels: int = 64
    norm_cfg: dict | None = None
    conv_cfg: dict | None = None
    dcn_cfg: dict | None = None

    def __post_init__(self) -> None:
        if self.style not in ("pytorch", "caffe"):
            raise ValueError(f"ResNet style must be 'pytorch' or 'caffe', got {self.style!r}")

    def conv(self, in_channels: int, channels: int, kernel_size: int, **kwargs: int) -> nn.Module:
        """A convolution without bias."""
        args = (in_channels, channels, kernel_size)
        return build_conv_layer(self.conv_cfg, *args, bias=False, **kwargs)

    def middle_conv(self, width: int, stride: int, dilation: int) -> nn.Module:
        """The 3x3 convolution of a bottleneck."""
        geometry = {"stride": stride, "padding": dilation, "dilation": dilation}
        if self.dcn_cfg is not None:
            return build_deform_conv(self.dcn_cfg, width, width, 3, groups=self.groups, **geometry)
        return self.conv(width, width, 3, groups=self.groups, **geometry)

    def norm(self, channels: int, number: int | str = "") -> tuple[str, nn.Module]:
        """A normalisation layer and its name: 'bn1', 'gn2', ..."""
        return build_norm_layer(self.norm_cfg or {"type": "BN"}, channels, postfix=number)

    def width(self, channels: int) -> int:
        """Channels of the 3x3 convolution of a bottleneck (ResNeXt, table 1)."""
        if self.groups == 1:
            return channels
        return channels * self.base_width // self.base_channels * self.groups


class _Block(nn.Module):
    """What the two kinds of blocks share: norms under the names of their kind, the shortcut."""

    def __init__(self, shared: BlockStyle):
        super().__init__()
        self.shared = shared
        self.norms: list[str] = []

    @property
    def pairs(self) -> list[Pair]:
        """Convolutions with their norms, the shortcut's last."""
        pairs = [
            (getattr(self, f"conv{i}"), getattr(self, name))
            for i, name in enumerate(self.norms, start=1)
        ]
        return pairs if self.downsample is None else [*pairs, tuple(self.downsample)]

    def forward(self, x: Tensor, folded: Sequence[Folded] | None = None) -> Tensor:
        """(B, in_channels, H, W) to (B, channels * expansion, H / stride, W / stride).

        Args:
            x: a map.
            folded: of :attr:`pairs`; None: none is folded.
        """
        pairs = self.pairs
        folded = folded or [None] * len(pairs)
        out = x
        for number, pair in enumerate(pairs[: len(self.norms)], start=1):
            out = conv_norm(pair, folded[number - 1], out)
            if number < len(self.norms):
                out = F.relu(out, inplace=True)  # neither a convolution nor a norm needs it again
        if self.downsample is not None:
            x = conv_norm(pairs[-1], folded[-1], x)
        return F.relu(out.add_(x), inplace=True)

    def _add_norm(self, channels: int) -> None:
        name, layer = self.shared.norm(channels, len(self.norms) + 1)
        self.add_module(name, layer)
        self.norms.append(name)


class BasicBlock(_Block):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(
        self, in_channels: int, channels: int, stride: int, dilation: int, shared: BlockStyle
    ):
        super().__init__(shared)
        self.conv1 = shared.conv(
            in_channels, channels, 3, stride=stride, padding=dilation, dilation=dilation
        )
        self._add_norm(channels)
        self.conv2 = shared.conv(channels, channels, 3, padding=1)
        self._add_norm(channels)
        self.downsample = _shortcut(in_channels, channels, stride, shared)


class Bottleneck(_Block):
    """1x1, 3x3 and 1x1 convolution and a shortcut."""

    expansion = 4

    def __init__(
        self, in_channels: int, channels: int, stride: int, dilation: int, shared: BlockStyle
    ):
        super().__init__(shared)
        stride1, stride2 = (stride, 1) if shared.style == "caffe" else (1, stride)
        width = shared.width(channels)
        self.conv1 = shared.conv(in_channels, width, 1, stride=stride1)
        self._add_norm(width)
        self.conv2 = shared.middle_conv(width, stride2, dilation)
        self._add_norm(width)
        self.conv3 = shared.conv(width, channels * 4, 1)
        self._add_norm(channels * 4)
        self.downsample = _shortcut(in_channels, channels * 4, stride, shared)


_ARCHITECTURES = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


def architecture(depth: int) -> tuple[type[_Block], tuple[int, ...]]:
    """The kind of block of a depth, and how many there are in each of the four stages.

    Raises:
        ValueError: an unknown depth.
    """
    if depth not in _ARCHITECTURES:
        raise ValueError(f"ResNet depth must be one of {sorted(_ARCHITECTURES)}, got {depth}")
    return _ARCHITECTURES[depth]


def build_stage(
    block: type[_Block],
    count: int,
    in_channels: int,
    channels: int,
    stride: int,
    dilation: int,
    shared: BlockStyle,
) -> nn.Sequential:
    """``count`` blocks, the first of which changes size and channels.

    Args:
        block: the kind.
        count: how many.
        in_channels: of the stage's input.
        channels: before the expansion.
        stride: of the first block.
        dilation: of all.
        shared: what they have in common.
    """
    blocks = [block(in_channels, channels, stride, dilation, shared)]
    width = channels * block.expansion
    blocks += [block(width, channels, 1, dilation, shared) for _ in range(count - 1)]
    return nn.Sequential(*blocks)


def _shortcut(
    in_channels: int, channels: int, stride: int, shared: BlockStyle
) -> nn.Sequential | None:
    if stride == 1 and in_channels == channels:
        return None
    conv = shared.conv(in_channels, channels, 1, stride=stride)
    return nn.Sequential(conv, shared.norm(channels)[1])


def init_random(network: nn.Module) -> None:
    """Initialise the convolutions for ReLUs (He et al. 2015)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:  # not those that give offsets
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def keep_statistics(network: nn.Module) -> None:
    """Put batch norms in evaluation mode."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
