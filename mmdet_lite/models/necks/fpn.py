"""Feature pyramid network (Lin et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdet_lite.ranges import check_positive
from mmdet_lite.registry import MODELS

ExtraConvs = Literal["on_input", "on_lateral", "on_output"]


@MODELS.register_module()
class FPN(nn.Module):
    """Top-down pyramid with lateral connections, and levels above the last map.

    Args:
        in_channels: channels of each backbone map, finest first.
        out_channels: channels of every output map.
        num_outs: output maps, at least as many as input maps that are used.
        start_level: the first of the input maps that is used.
        add_extra_convs: the levels above the last map are convolutions of stride 2, the first of
            them on the last input map ('on_input', RetinaNet's), on its lateral or on its output;
            None: the last output is subsampled (Faster R-CNN's).
        relu_before_extra_convs: before each such convolution but the first (RetinaNet's paper).
        norm_cfg: normalisation, in mmcv's form; None: none.
        conv_cfg: kind of convolution, in mmcv's form; None: the plain one.

    Raises:
        ValueError: ``num_outs`` is smaller than the number of maps that are used, ``out_channels``
            is not above 0, or ``add_extra_convs`` is unknown.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        add_extra_convs: ExtraConvs | None = None,
        relu_before_extra_convs: bool = False,
        norm_cfg: dict | None = None,
        conv_cfg: dict | None = None,
    ):
        super().__init__()
        check_positive(self, out_channels=out_channels)
        used = list(in_channels)[start_level:]
        if num_outs < len(used):
            raise ValueError(f"FPN: num_outs={num_outs} is below the {len(used)} in_channels")
        if add_extra_convs not in (None, "on_input", "on_lateral", "on_output"):
            raise ValueError(
                "FPN: add_extra_convs must be None, 'on_input', 'on_lateral' or 'on_output', got "
                f"{add_extra_convs!r}"
            )
        self.in_channels = tuple(in_channels)
        self.num_ins = len(in_channels)
        self.num_outs = num_outs
        self.start_level = start_level
        self.add_extra_convs = add_extra_convs
        self.relu_before_extra_convs = relu_before_extra_convs
        shared = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": None}
        self.lateral_convs = nn.ModuleList(
            ConvModule(channels, out_channels, 1, **shared) for channels in used
        )
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, **shared) for _ in used
        )
        channels = used[-1] if add_extra_convs == "on_input" else out_channels
        for _ in range(num_outs - len(used) if add_extra_convs else 0):
            extra = ConvModule(channels, out_channels, 3, stride=2, padding=1, **shared)
            self.fpn_convs.append(extra)
            channels = out_channels
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
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
        if len(feats) != self.num_ins:
            raise ValueError(f"FPN has {self.num_ins} in_channels, got {len(feats)} maps")
        used = feats[self.start_level :]
        laterals = [conv(feat) for conv, feat in zip(self.lateral_convs, used, strict=True)]
        for i in range(len(laterals) - 1, 0, -1):
            above = F.interpolate(laterals[i], size=laterals[i - 1].shape[-2:], mode="nearest")
            laterals[i - 1] = laterals[i - 1] + above
        outs = [conv(level) for conv, level in zip(self.fpn_convs, laterals, strict=False)]
        if self.add_extra_convs is None:
            while len(outs) < self.num_outs:
                outs.append(F.max_pool2d(outs[-1], kernel_size=1, stride=2))
            return outs
        sources = {"on_input": feats[-1], "on_lateral": laterals[-1], "on_output": outs[-1]}
        extra = sources[self.add_extra_convs]
        for place, conv in enumerate(self.fpn_convs[len(laterals) :]):
            extra = conv(F.relu(extra) if place and self.relu_before_extra_convs else extra)
            outs.append(extra)
        return outs
