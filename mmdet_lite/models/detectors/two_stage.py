"""Faster R-CNN, Mask R-CNN and their kin. Letters: B images, L levels, C channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch, Detections


@MODELS.register_module()
class ImageNormalizer(nn.Module):
    """Subtract a mean, divide by a standard deviation, keep the padding at zero.

    Args:
        mean, std: three values each, on the scale 0..255, in the channel order of the output.
        to_bgr: swap the channels of the RGB input (weights that come from caffe).
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_bgr: bool = False):
        super().__init__()
        self.to_bgr = to_bgr
        self.register_buffer("mean", torch.tensor(mean).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, shapes: Tensor) -> Tensor:
        """(B, 3, H, W) uint8 or float and (B, 2) picture shapes to (B, 3, H, W) float32."""
        if self.to_bgr:
            images = images.flip(1)
        images = (images.float() - self.mean) / self.std
        height, width = images.shape[-2:]
        rows = torch.arange(height, device=images.device) < shapes[:, :1]  # (B, H)
        columns = torch.arange(width, device=images.device) < shapes[:, 1:]  # (B, W)
        return torch.where(rows[:, None, :, None] & columns[:, None, None, :], images, 0)


@MODELS.register_module()
class TwoStageDetector(nn.Module):
    """Propose regions, then classify and refine them. Which detector it is, the config says.

    Args:
        normalizer: from pixels to network input.
        backbone: images to feature maps.
        neck: feature maps to L feature maps; None: the backbone's.
        rpn_head: proposes regions.
        roi_head: predicts on proposals.
    """

    def __init__(
        self,
        normalizer: nn.Module,
        backbone: nn.Module,
        rpn_head: nn.Module,
        roi_head: nn.Module,
        neck: nn.Module | None = None,
    ):
        super().__init__()
        self.normalizer = normalizer
        self.backbone = backbone
        self.neck = neck
        self.rpn_head = rpn_head
        self.roi_head = roi_head

    @property
    def num_classes(self) -> int:
        """K."""
        return self.roi_head.bbox_head.num_classes

    @property
    def mask_format(self) -> str | None:
        """How training needs ground-truth masks: 'bitmaps', 'lazy', or None for not at all."""
        head = self.roi_head.mask_head
        if head is None:
            return None
        return "bitmaps" if head.target_rule == "roi_align" else "lazy"

    def init_weights(self) -> None:
        """Load the backbone's pretrained weights; called before training from scratch only."""
        self.backbone.init_weights()

    def class_rows(self) -> dict[str, tuple[int, bool]]:
        """Tensors that grow with K: name to (rows a class, whether the background's follow)."""
        rows = {}
        for name, module in self.named_modules():
            if module is not self and hasattr(module, "class_rows"):
                rows |= {f"{name}.{key}": value for key, value in module.class_rows().items()}
        return rows

    def extract(self, batch: Batch) -> Sequence[Tensor]:
        """L feature maps (B, C, Hi, Wi)."""
        feats = self.backbone(self.normalizer(batch.images, batch.shapes))
        return feats if self.neck is None else self.neck(feats)

    def forward(self, batch: Batch) -> dict[str, Tensor] | Detections:
        """:meth:`loss` in training mode, :meth:`predict` in evaluation mode."""
        return self.loss(batch) if self.training else self.predict(batch)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """All losses of a batch by name, scalars; what has no 'loss' in its name is for the log."""
        feats = self.extract(batch)
        output = self.rpn_head(feats)
        losses = self.rpn_head.loss(output, batch)
        proposals = self.rpn_head.propose(output, batch.shapes, training=True)
        return losses | self.roi_head.loss(feats, proposals, batch)

    @torch.no_grad()
    def predict(self, batch: Batch) -> Detections:
        """Detections in the coordinates of the network input."""
        feats = self.extract(batch)
        output = self.rpn_head(feats)
        proposals = self.rpn_head.propose(output, batch.shapes, training=False)
        return self.roi_head.predict(feats, proposals, batch)
