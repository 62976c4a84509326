"""Faster R-CNN, Mask R-CNN, Cascade R-CNN and their kin. Letters: B images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdet_lite.models.detectors.detector import Detector
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch, Detections


@MODELS.register_module()
class TwoStageDetector(Detector):
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
        super().__init__(normalizer, backbone, neck)
        self.rpn_head = rpn_head
        self.roi_head = roi_head

    @property
    def num_classes(self) -> int:
        """K."""
        return self.roi_head.num_classes

    @property
    def mask_format(self) -> str | None:
        """How training needs ground-truth masks: 'bitmaps', 'lazy', or None for not at all."""
        rule = self.roi_head.mask_rule
        return None if rule is None else "bitmaps" if rule == "roi_align" else "lazy"

    def init_weights(self) -> None:
        """Load the pretrained weights; called before training from scratch only."""
        super().init_weights()
        self.roi_head.init_weights()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """All losses of a batch by name, scalars; what has no 'loss' in its name is for the log."""
        feats = self.extract(batch)
        output = self.rpn_head(feats)
        losses = self.rpn_head.loss(output, batch)
        proposals = self.rpn_head.propose(output, batch.shapes, training=True)
        own = {_as_rpn(name): value for name, value in losses.items()}
        return own | self.roi_head.loss(feats, proposals, batch)

    @torch.no_grad()
    def predict_boxes(self, feats: Sequence[Tensor], batch: Batch) -> Detections:
        """Detections without masks; see :meth:`Detector.predict_boxes`."""
        output = self.rpn_head(feats)
        proposals = self.rpn_head.propose(output, batch.shapes, training=False)
        return self.roi_head.predict_boxes(feats, proposals, batch)

    @torch.no_grad()
    def predict_masks(self, feats: Sequence[Tensor], detections: Detections) -> Detections:
        """Detections with masks, if there is a mask branch; see :meth:`Detector.predict_masks`."""
        return self.roi_head.predict_masks(feats, detections)


def _as_rpn(name: str) -> str:
    """A one-stage head's 'loss_cls' must not meet the RoI head's."""
    return name if "_rpn_" in name else name.replace("loss_", "loss_rpn_")
