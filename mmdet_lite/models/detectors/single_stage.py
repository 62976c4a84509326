"""RetinaNet and its kin. Letters: B images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmdet_lite.models.detectors.detector import Detector
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch, Detections


@MODELS.register_module()
class SingleStageDetector(Detector):
    """Predict classes and boxes at every place of the feature maps at once.

    Args:
        normalizer: from pixels to network input.
        backbone: images to feature maps.
        neck: feature maps to L feature maps; None: the backbone's.
        bbox_head: the dense head.
    """

    mask_format = None

    def __init__(
        self,
        normalizer: nn.Module,
        backbone: nn.Module,
        bbox_head: nn.Module,
        neck: nn.Module | None = None,
    ):
        super().__init__(normalizer, backbone, neck)
        self.bbox_head = bbox_head

    @property
    def num_classes(self) -> int:
        """K."""
        return self.bbox_head.num_classes

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """All losses of a batch by name, scalars."""
        return self.bbox_head.loss(self.bbox_head(self.extract(batch)), batch)

    @torch.no_grad()
    def predict_boxes(self, feats: Sequence[Tensor], batch: Batch) -> Detections:
        """Detections; see :meth:`Detector.predict_boxes`."""
        return self.bbox_head.predict(self.bbox_head(feats), batch.shapes)

    @torch.no_grad()
    def predict_all(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Every prior's box (B, A, 4) and class scores (B, A, K), for an NMS elsewhere."""
        return self.bbox_head.predict_all(self.bbox_head(self.extract(batch)), batch.shapes)
