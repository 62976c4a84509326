"""Test-time augmentation: what several views of an image show is merged.

Letters: V views, B images, D detections an image, m mask size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.postprocess import dense_nms
from mmdet_lite.structures.coordinates import to_network_boxes, to_original_boxes
from mmdet_lite.structures.samples import Batch, Detections, ImageMeta, Views

_MIRRORED_AXES = {"": (), "horizontal": (-1,), "vertical": (-2,), "both": (-2, -1)}


class MultiViewDetector(nn.Module):
    """A detector that sees every image in several views.

    Boxes are predicted in each view, taken back to the original image and merged. Then every view
    predicts masks of the merged boxes, and their probabilities are averaged.

    Args:
        detector: a trained detector.
        nms: how duplicates among the views are suppressed; None: ``NMS()``, class by class above an
            overlap of 0.5.
        max_per_img: detections an image.
    """

    def __init__(
        self, detector: nn.Module, nms: NMS | SoftNMS | None = None, max_per_img: int = 100
    ):
        super().__init__()
        self.detector = detector
        self.nms = nms or NMS()
        self.max_per_img = max_per_img

    @torch.no_grad()
    def forward(self, views: Views) -> Detections:
        """Detections in the coordinates of the original images, as ``views.metas`` says."""
        has_masks = self.detector.mask_format is not None
        found, kept_feats = [], []
        for batch in views.batches:
            feats = self.detector.extract(batch)
            detections = self.detector.predict_boxes(feats, batch)
            boxes = _map_boxes(to_original_boxes, detections.boxes, batch.metas)
            found.append(replace(detections, boxes=boxes))
            if has_masks:
                kept_feats.append(feats)
        merged = merge_detections(found, self.nms, self.max_per_img)
        return self._add_masks(merged, kept_feats, views.batches) if has_masks else merged

    def _add_masks(
        self, merged: Detections, feats: Sequence[Sequence[Tensor]], batches: Sequence[Batch]
    ) -> Detections:
        """The mean of the probabilities that the views predict for the merged boxes."""
        total = 0
        for feats_of_view, batch in zip(feats, batches, strict=True):
            boxes = _map_boxes(to_network_boxes, merged.boxes, batch.metas)
            seen = self.detector.predict_masks(feats_of_view, replace(merged, boxes=boxes))
            total = total + _unflip_masks(seen.masks, batch.metas)
        # Without the columns that are empty in all images, which the mask branch leaves out.
        boxes = merged.boxes[:, : total.shape[1]]
        return replace(seen, boxes=boxes, masks=total / len(batches))


def merge_detections(
    found: Sequence[Detections], nms: NMS | SoftNMS, max_per_img: int
) -> Detections:
    """Suppress duplicates among the detections of several views, and keep the best of all.

    Args:
        found: V times detections of the same B images, all in the same coordinates.
        nms: how duplicates are suppressed.
        max_per_img: detections kept an image.

    Returns:
        Detections without masks, in these coordinates.
    """
    names = ("boxes", "scores", "labels", "valid")
    together = [torch.cat([getattr(one, name) for one in found], dim=1) for name in names]
    return dense_nms(*together, nms, max_per_img)


def _map_boxes(
    move: Callable[[Tensor, ImageMeta], Tensor], boxes: Tensor, metas: Sequence[ImageMeta]
) -> Tensor:
    """Each image's boxes by its own scale and flip: (B, D, 4)."""
    return torch.stack([move(own, meta) for own, meta in zip(boxes, metas, strict=True)])


def _unflip_masks(masks: Tensor, metas: Sequence[ImageMeta]) -> Tensor:
    """(B, D, m, m) as they are in the original image."""
    return torch.stack(
        [own.flip(_MIRRORED_AXES[meta.flip]) for own, meta in zip(masks, metas, strict=True)]
    )
