"""The convolution that NanoDet's neck and head are made of."""

from __future__ import annotations

from mmcv.cnn import DepthwiseSeparableConvModule

LEAKY_RELU = {"type": "LeakyReLU", "negative_slope": 0.1}


def separable_conv(
    in_channels: int, out_channels: int, stride: int = 1
) -> DepthwiseSeparableConvModule:
    """A depthwise 5x5 and a pointwise convolution, each with batch norm and leaky ReLU.

    Args:
        in_channels, out_channels: of the maps.
        stride: of the depthwise convolution.
    """
    return DepthwiseSeparableConvModule(
        *(in_channels, out_channels, 5),
        stride=stride,
        padding=2,
        norm_cfg={"type": "BN"},
        act_cfg=LEAKY_RELU,
    )
