"""ResNet (He et al. 2016) and ResNeXt (Xie et al. 2017) with torchvision's parameter names.

Letters: B images, Ci channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # also SyncBatchNorm
from torch.utils.checkpoint import checkpoint

from mmdet_lite.models.backbones.folded_norms import Folded, Pair, conv_norm, fold_norms
from mmdet_lite.models.backbones.pretrained import load_pretrained_backbone
from mmdet_lite.models.backbones.residual_blocks import (
    BlockStyle,
    architecture,
    build_stage,
    init_random,
    keep_statistics,
)
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class ResNet(nn.Module):
    """Residual network without the classifier; ResNeXt with ``groups`` and ``base_width``.

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels: channels of the stem and of the first stage.
        out_indices: stages whose output is returned, 0 (C2, stride 4) to 3 (C5, stride 32). Later
            stages are not built.
        strides, dilations: of each stage.
        frozen_stages: the stem and this many stages are not trained; -1: all are, 0: only the stem
            is frozen.
        norm_eval: batch norms keep their running statistics in training.
        style: 'pytorch' or 'caffe': which convolution of a bottleneck has the stride.
        groups, base_width: of the 3x3 convolution of a bottleneck (ResNeXt 32x4d: 32 and 4).
        norm_cfg: normalisation, in mmcv's form: ``dict(type='BN', requires_grad=False)`` trains no
            scale and shift, ``dict(type='GN', num_groups=32)`` is Group Normalization.
        conv_cfg: kind of convolution, in mmcv's form: ``dict(type='ConvWS')`` standardises weights.
        dcn_cfg: ``dict(type='DCN' or 'DCNv2', deform_groups=1)``: deformable 3x3 convolutions in
            the bottlenecks of the stages of ``dcn_stages``.
        dcn_stages: which stages, 0..3.
        pretrained: what :meth:`init_weights` loads: path of a state dict, 'torchvision://resnet50',
            'open-mmlab://detectron2/resnet50_caffe' or the like, a URL, or None for random weights.
        activation_checkpointing: recompute each block in the backward pass, to save memory.

    Raises:
        ValueError: an unknown depth or style, more frozen stages than there are, or groups or
            deformable convolutions in a network without bottlenecks.
    """

    def __init__(
        self,
        depth: int,
        base_channels: int = 64,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        strides: Sequence[int] = (1, 2, 2, 2),
        dilations: Sequence[int] = (1, 1, 1, 1),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        style: str = "pytorch",
        groups: int = 1,
        base_width: int = 4,
        norm_cfg: dict | None = None,
        conv_cfg: dict | None = None,
        dcn_cfg: dict | None = None,
        dcn_stages: Sequence[int] = (),
        pretrained: str | None = None,
        activation_checkpointing: bool = False,
    ):
        super().__init__()
        block, counts = architecture(depth)
        if not -1 <= frozen_stages <= 4:
            raise ValueError(f"ResNet frozen_stages must be in -1..4, got {frozen_stages}")
        if block.expansion == 1 and (groups > 1 or dcn_cfg is not None):
            raise ValueError(f"ResNet groups and dcn_cfg need a depth of 50 or more, got {depth}")
        self.depth = depth
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.strides = tuple(strides)
        self.norm_eval = norm_eval
        self.pretrained = pretrained
        self.activation_checkpointing = activation_checkpointing

        plain = BlockStyle(style, groups, base_width, base_channels, norm_cfg, conv_cfg)
        self.conv1 = plain.conv(3, base_channels, 7, stride=2, padding=3)
        self.norm_name, norm = plain.norm(base_channels, 1)
        self.add_module(self.norm_name, norm)
        in_channels = base_channels
        for stage in range(max(self.out_indices) + 1):
            shared = replace(plain, dcn_cfg=dcn_cfg if stage in dcn_stages else None)
            channels = base_channels * 2**stage
            layer = build_stage(
                *(block, counts[stage], in_channels, channels),
                *(strides[stage], dilations[stage], shared),
            )
            setattr(self, f"layer{stage + 1}", layer)
            in_channels = channels * block.expansion
        init_random(self)
        self._freeze()

    def init_weights(self) -> None:
        """Load the pretrained weights, if there are any; see ``load_pretrained_backbone``."""
        if self.pretrained is not None:
            load_pretrained_backbone(self, self.pretrained)

    def _frozen_modules(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        layers = [getattr(self, f"layer{i + 1}", None) for i in range(self.frozen_stages)]
        stem = [self.conv1, getattr(self, self.norm_name)]
        return stem + [layer for layer in layers if layer is not None]

    def _freeze(self) -> None:
        for module in self._frozen_modules():
            module.requires_grad_(False)

    def train(self, mode: bool = True) -> ResNet:
        """Switch the mode; frozen stages, and with ``norm_eval`` batch norms, stay in eval mode."""
        super().train(mode)
        for module in self._frozen_modules():
            module.eval()
        if self.norm_eval:
            keep_statistics(self)
        return self

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images (B, 3, H, W) to the chosen maps (B, Ci, H / stride, W / stride), finest first."""
        stem = (self.conv1, getattr(self, self.norm_name))
        stages = [getattr(self, f"layer{i + 1}") for i in range(max(self.out_indices) + 1)]
        folded = iter(self._fold(stem, stages, math.prod(x.shape[-2:])))
        x = F.relu(conv_norm(stem, next(folded), x), inplace=True)
        x = F.max_pool2d(x, kernel_size=3, stride=2, padding=1)
        outs = []
        for i, stage in enumerate(stages):
            for block in stage:
                x = self._run(block, x, [next(folded) for _ in block.pairs])
            if i in self.out_indices:
                outs.append(x)
        return outs

    def _fold(self, stem: Pair, stages: Sequence[nn.Sequential], pixels: int) -> list[Folded]:
        """Stem and blocks for an image of so many pixels, as far as that pays."""
        pairs, positions, stride = [stem], [pixels // 4], 4
        for stage, factor in zip(stages, self.strides, strict=False):
            stride *= factor
            own = [pair for block in stage for pair in block.pairs]
            pairs += own
            positions += [pixels // stride**2] * len(own)
        return fold_norms(pairs, positions)

    def _run(self, block: nn.Module, x: Tensor, folded: Sequence[Folded]) -> Tensor:
        if self.activation_checkpointing and self.training and torch.is_grad_enabled():
            if torch.compiler.is_compiling():  # which recomputes maps alone, and traces no contexts
                return checkpoint(block, x, folded, use_reentrant=False)
            contexts = nullcontext(), _fixed_statistics(block)  # of the forward pass, of the second
            return checkpoint(block, x, folded, use_reentrant=False, context_fn=lambda: contexts)
        return block(x, folded)


@MODELS.register_module()
class ResLayer(nn.Module):
    """One stage of a ResNet as a head on pooled RoIs (C4 models).

    Args:
        depth: of the network that the stage belongs to.
        stage: which stage, 0..3.
        stride, dilation: of the stage.
        norm_eval: batch norms keep their running statistics in training.
        style, norm_cfg: see :class:`ResNet`.
        pretrained: what :meth:`init_weights` loads, a whole ResNet's weights; see :class:`ResNet`.

    Raises:
        ValueError: an unknown depth or style.
    """

    def __init__(
        self,
        depth: int,
        stage: int = 3,
        stride: int = 2,
        dilation: int = 1,
        norm_eval: bool = True,
        style: str = "pytorch",
        norm_cfg: dict | None = None,
        pretrained: str | None = None,
    ):
        super().__init__()
        block, counts = architecture(depth)
        self.norm_eval = norm_eval
        self.pretrained = pretrained
        self.name = f"layer{stage + 1}"
        channels = 64 * 2**stage
        in_channels = channels // 2 * block.expansion
        shared = BlockStyle(style, norm_cfg=norm_cfg)
        stage_args = (block, counts[stage], in_channels, channels, stride, dilation, shared)
        self.add_module(self.name, build_stage(*stage_args))
        init_random(self)

    def init_weights(self) -> None:
        """Load the stage's part of the pretrained weights, if there are any."""
        if self.pretrained is not None:
            load_pretrained_backbone(self, self.pretrained)

    def train(self, mode: bool = True) -> ResLayer:
        """Switch the mode; with ``norm_eval`` batch norms stay in eval mode."""
        super().train(mode)
        if self.norm_eval:
            keep_statistics(self)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """(N, Ci, H, W) to (N, 2 * Ci, H / stride, W / stride)."""
        return getattr(self, self.name)(x)


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
