"""Masks of RoIs. Letters: B images, M RoIs, C channels, K classes, h mask size."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdet_lite.models.class_rows import ClassRows
from mmdet_lite.models.fitting import MASKS, check_fit
from mmdet_lite.models.losses.reduce import check_normalizer, normalize
from mmdet_lite.models.targets import MaskRule
from mmdet_lite.ranges import check_positive, check_shares
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.pasting import PasteRule


@MODELS.register_module()
class FCNMaskHead(nn.Module):
    """Convolutions, one 2x upsampling, one mask a class (He et al. 2017, fig. 4 right).

    Args:
        num_classes: K.
        in_channels: C of the pooled features.
        loss_mask: loss on the channel of the true class.
        num_convs, conv_out_channels: 3x3 convolutions and their channels.
        roi_feat_size: side of the pooled features; masks are twice that, h.
        norm_cfg: normalisation of the convolutions, in mmcv's form; None: none.
        conv_cfg: kind of the convolutions, in mmcv's form; None: the plain one.
        class_agnostic: one mask for all classes.
        target_rule: how targets are cut out of ground-truth masks, see ``mask_target``.
        mask_thr: a pixel belongs to a detected object from this probability on.
        paste_rule: how masks are put back into the image, see ``paste_masks``.
        normalizer: the loss is divided by the positives of this process ('rank') or by the mean
            over all processes ('global').

    Raises:
        ValueError: a number is out of its range, or the loss does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss_mask: nn.Module,
        num_convs: int = 4,
        conv_out_channels: int = 256,
        roi_feat_size: int = 14,
        norm_cfg: dict | None = None,
        conv_cfg: dict | None = None,
        class_agnostic: bool = False,
        target_rule: MaskRule = "roi_align",
        mask_thr: float = 0.5,
        paste_rule: PasteRule = "sample",
        normalizer: str = "rank",
    ):
        super().__init__()
        check_fit(self, "loss_mask", loss_mask, (MASKS,))
        check_shares(self, mask_thr=mask_thr)
        check_positive(self, num_classes=num_classes)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.loss_mask = loss_mask
        self.mask_size = 2 * roi_feat_size
        self.class_agnostic = class_agnostic
        self.target_rule = target_rule
        self.mask_thr = mask_thr
        self.paste_rule = paste_rule
        self.normalizer = check_normalizer(self, normalizer)

        kind = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        channels = [in_channels] + [conv_out_channels] * num_convs
        self.convs = nn.ModuleList(
            ConvModule(channels[i], conv_out_channels, 3, padding=1, **kind)
            for i in range(num_convs)
        )
        self.upsample = nn.ConvTranspose2d(channels[-1], conv_out_channels, 2, stride=2)
        self.conv_logits = nn.Conv2d(conv_out_channels, 1 if class_agnostic else num_classes, 1)
        for layer in (self.upsample, self.conv_logits):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def class_rows(self) -> dict[str, ClassRows]:
        """Tensors that grow with K, by name."""
        if self.class_agnostic:
            return {}
        return dict.fromkeys(("conv_logits.weight", "conv_logits.bias"), ClassRows(1))

    def forward(self, feats: Tensor) -> Tensor:
        """(M, C, roi_feat_size, roi_feat_size) to logits (M, K or 1, h, h)."""
        for conv in self.convs:
            feats = conv(feats)
        return self.conv_logits(F.relu(self.upsample(feats), inplace=True))

    def loss(
        self, logits: Tensor, targets: Tensor, labels: Tensor, valid: Tensor
    ) -> dict[str, Tensor]:
        """Loss of positive RoIs.

        Args:
            logits: (M, K or 1, h, h).
            targets: (M, h, h) in {0, 1}.
            labels: (M,) int64 in 0..K; K (padding) is read as 0.
            valid: (M,) bool; the others do not count.

        Returns:
            ``loss_mask``: the mean over the pixels of valid RoIs; 0 where there is none.
        """
        num_pos = normalize(valid.sum(dtype=torch.float32), self.normalizer).clamp(min=1)
        channel = self._channel(labels)
        return {"loss_mask": self.loss_mask(logits, targets, channel, valid.float(), num_pos)}

    @torch.no_grad()
    def predict(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mask probabilities of the predicted classes: (M, K or 1, h, h), (M,) to (M, h, h)."""
        rows = torch.arange(logits.shape[0], device=logits.device)
        return logits[rows, self._channel(labels)].float().sigmoid()

    def _channel(self, labels: Tensor) -> Tensor:
        if self.class_agnostic:
            return torch.zeros_like(labels)
        return labels.masked_fill(labels >= self.num_classes, 0)
