"""A stack of 3x3 convolutions in front of a dense head's outputs."""

from __future__ import annotations

from mmcv.cnn import ConvModule
from torch import nn


def conv_tower(
    in_channels: int,
    channels: int,
    count: int,
    norm_cfg: dict | None,
    act_cfg: dict | None = None,
) -> nn.Sequential:
    """``count`` convolutions with activations.

    Args:
        in_channels: of the first.
        channels: of the others.
        count: how many.
        norm_cfg: normalisation, in mmcv's form; None: none.
        act_cfg: activation, in mmcv's form; None: ReLU.
    """
    widths = [in_channels] + [channels] * count
    shared = {"padding": 1, "norm_cfg": norm_cfg, "act_cfg": act_cfg or {"type": "ReLU"}}
    return nn.Sequential(*(ConvModule(widths[i], channels, 3, **shared) for i in range(count)))


def init_tower(head: nn.Module) -> None:
    """Small normal weights and zero biases for all convolutions of a head."""
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
