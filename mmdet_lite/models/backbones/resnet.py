"""ResNet (He et al. 2016) with torchvision's parameter names. Letters: B images, Ci channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # also SyncBatchNorm
from torch.utils.checkpoint import checkpoint

from mmdet_lite.models.backbones.pretrained import load_pretrained_backbone
from mmdet_lite.registry import MODELS


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, style: str):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution and a shortcut; the stride is the 3x3's, or in caffe style the
    first one's."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, style: str):
        super().__init__()
        stride1, stride2 = (stride, 1) if style == "caffe" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, stride1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * 4)
        self.downsample = _shortcut(in_channels, channels * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, 4 * channels, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return F.relu(out + (x if self.downsample is None else self.downsample(x)))


_ARCHITECTURES = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


@MODELS.register_module()
class ResNet(nn.Module):
    """Residual network without the classifier.

    Args:
        depth: 18, 34, 50 or 101.
        base_channels: channels of the stem and of the first stage.
        out_indices: stages whose output is returned, 0 (C2, stride 4) to 3 (C5, stride 32).
        frozen_stages: the stem and this many stages are not trained; -1: all are, 0: only the stem
            is frozen.
        norm_eval: batch norms keep their running statistics in training.
        style: 'pytorch' or 'caffe': which convolution of a bottleneck has the stride.
        pretrained: what :meth:`init_weights` loads: path of a state dict, 'torchvision://resnet50'
            or the like, or None for random weights.
        activation_checkpointing: recompute each block in the backward pass, to save memory.

    Raises:
        ValueError: an unknown depth or style, or more frozen stages than there are.
    """

    def __init__(
        self,
        depth: int,
        base_channels: int = 64,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        style: str = "pytorch",
        pretrained: str | None = None,
        activation_checkpointing: bool = False,
    ):
        super().__init__()
        if depth not in _ARCHITECTURES:
            raise ValueError(f"ResNet depth must be one of {sorted(_ARCHITECTURES)}, got {depth}")
        if style not in ("pytorch", "caffe"):
            raise ValueError(f"ResNet style must be 'pytorch' or 'caffe', got {style!r}")
        if not -1 <= frozen_stages <= 4:
            raise ValueError(f"ResNet frozen_stages must be in -1..4, got {frozen_stages}")
        self.depth = depth
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.pretrained = pretrained
        self.activation_checkpointing = activation_checkpointing

        self.conv1 = nn.Conv2d(3, base_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        block, counts = _ARCHITECTURES[depth]
        in_channels = base_channels
        for stage, count in enumerate(counts[: max(self.out_indices) + 1]):
            channels = base_channels * 2**stage
            strides = [1 if stage == 0 else 2] + [1] * (count - 1)
            blocks = []
            for stride in strides:
                blocks.append(block(in_channels, channels, stride, style))
                in_channels = channels * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self._init_random()
        self._freeze()

    def _init_random(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def init_weights(self) -> None:
        """Load the pretrained weights, if there are any; see ``load_pretrained_backbone``."""
        if self.pretrained is not None:
            load_pretrained_backbone(self, self.pretrained)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        layers = [getattr(self, f"layer{i + 1}", None) for i in range(self.frozen_stages)]
        return [self.conv1, self.bn1] + [layer for layer in layers if layer is not None]

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> ResNet:
        """Switch the mode; frozen stages, and with ``norm_eval`` batch norms, stay in eval mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) to the chosen maps (B, Ci, H / stride, W / stride), finest first."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        outs = []
        for stage in range(max(self.out_indices) + 1):
            for block in getattr(self, f"layer{stage + 1}"):
                x = self._run(block, x)
            if stage in self.out_indices:
                outs.append(x)
        return outs

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        if self.activation_checkpointing and self.training and torch.is_grad_enabled():
            contexts = nullcontext(), _fixed_statistics(block)  # of the forward pass, of the second
            return checkpoint(block, x, use_reentrant=False, context_fn=lambda: contexts)
        return block(x)


@contextmanager
def _fixed_statistics(block: nn.Module) -> Iterator[None]:
    """While a block is recomputed its batch norms must not average the same batch in again."""
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _shortcut(in_channels: int, channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == channels:
        return None
    conv = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels))
