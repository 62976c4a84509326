"""The head that guides NanoDet-Plus's training: FCOS's towers, wide and shared by the levels.

Letters: B images, L levels, A points over all levels, K classes, S = 4 * bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdet_lite.models.class_rows import ClassRows
from mmdet_lite.models.dense_heads.fcos_head import Scale
from mmdet_lite.models.dense_heads.flatten import flatten_map
from mmdet_lite.models.dense_heads.tower import conv_tower, init_tower
from mmdet_lite.models.separable_conv import LEAKY_RELU
from mmdet_lite.registry import MODELS


@MODELS.register_module()
class SimpleConvHead(nn.Module):
    """Class scores and distributions of distances for every point, from two towers.

    Args:
        num_classes: K.
        in_channels: channels of the feature maps.
        num_levels: L.
        num_bins: of each side's distribution, as the main head's coder has them.
        feat_channels, stacked_convs: channels and 3x3 convolutions of each tower.
        num_groups: of the towers' group normalisation.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_levels: int = 4,
        num_bins: int = 8,
        feat_channels: int = 192,
        stacked_convs: int = 4,
        num_groups: int = 32,
    ):
        super().__init__()
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.num_bins = num_bins
        norm_cfg = {"type": "GN", "num_groups": num_groups}
        tower = (in_channels, feat_channels, stacked_convs, norm_cfg, LEAKY_RELU)
        self.cls_convs = conv_tower(*tower)
        self.reg_convs = conv_tower(*tower)
        self.conv_cls = nn.Conv2d(feat_channels, num_classes, 3, padding=1)
        self.conv_reg = nn.Conv2d(feat_channels, 4 * num_bins, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in range(num_levels))
        init_tower(self)
        nn.init.constant_(self.conv_cls.bias, -math.log(99))  # a score of 0.01

    def class_rows(self) -> dict[str, ClassRows]:
        """Tensors that grow with K, by name."""
        return dict.fromkeys(("conv_cls.weight", "conv_cls.bias"), ClassRows(1))

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Run the layers on L maps (B, C, Hi, Wi) and flatten the levels.

        Returns:
            Class logits (B, A, K), and logits of the distances (B, A, S).
        """
        logits, sides = [], []
        for feat, scale in zip(feats, self.scales, strict=True):
            logits.append(flatten_map(self.conv_cls(self.cls_convs(feat)), self.num_classes))
            scaled = scale(self.conv_reg(self.reg_convs(feat)))
            sides.append(flatten_map(scaled, 4 * self.num_bins))
        return torch.cat(logits, dim=1).float(), torch.cat(sides, dim=1).float()
