"""The second stage of Faster and Mask R-CNN.

Letters: B images, L levels, P proposals, R sampled RoIs an image, M mask RoIs, N boxes an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_lite.models.assigners.max_iou_assigner import MaxIoUAssigner
from mmdet_lite.models.fitting import OVERLAPS, check_fit
from mmdet_lite.models.roi_heads.mask_branch import (
    add_masks,
    mask_feats,
    mask_loss,
    num_mask_rois,
)
from mmdet_lite.models.samplers.random_sampler import RandomSampler
from mmdet_lite.models.targets import MaskRule, bbox_target
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch, Detections, Proposals


@MODELS.register_module()
class RoIHead(nn.Module):
    """Sample RoIs, pool their features, predict classes, boxes and, if configured, masks.

    Args:
        bbox_roi_extractor, bbox_head: pooling and head of the box branch.
        assigner, sampler: decide which proposals are trained, on what.
        mask_roi_extractor: pooling of the mask branch; None: the box branch's.
        mask_head: head of the mask branch; None: there is none.
        shared_head: layers between pooling and heads, the last stage of the backbone in C4 models.
        pos_weight: weight of positives in the classification loss.
        pad_mask_rois: give the mask head a fixed number of RoIs an image (the sampler's largest
            number of positives) instead of the positives there are. That removes one wait for the
            device a step and computes masks that do not count.

    Raises:
        ValueError: there is a mask_roi_extractor without mask_head, or the sampler or the assigner
            is of another kind.
    """

    def __init__(
        self,
        bbox_roi_extractor: nn.Module,
        bbox_head: nn.Module,
        assigner: MaxIoUAssigner,
        sampler: RandomSampler,
        mask_roi_extractor: nn.Module | None = None,
        mask_head: nn.Module | None = None,
        shared_head: nn.Module | None = None,
        pos_weight: float = 1.0,
        pad_mask_rois: bool = False,
    ):
        super().__init__()
        if mask_head is None and mask_roi_extractor is not None:
            raise ValueError("RoIHead has a mask_roi_extractor, but no mask_head")
        check_sampler(sampler, "RoIHead")
        check_fit(self, "assigner", assigner, (OVERLAPS,))
        self.bbox_roi_extractor = bbox_roi_extractor
        self.bbox_head = bbox_head
        self.assigner = assigner
        self.sampler = sampler
        self.mask_roi_extractor = mask_roi_extractor
        self.mask_head = mask_head
        self.shared_head = shared_head
        self.pos_weight = pos_weight
        self.pad_mask_rois = pad_mask_rois

    @property
    def num_classes(self) -> int:
        """K."""
        return self.bbox_head.num_classes

    @property
    def mask_rule(self) -> MaskRule | None:
        """How mask targets are cut out; None: there is no mask branch."""
        return None if self.mask_head is None else self.mask_head.target_rule

    def init_weights(self) -> None:
        """Load the shared head's pretrained weights, if there is one."""
        if self.shared_head is not None:
            self.shared_head.init_weights()

    def loss(
        self, feats: Sequence[Tensor], proposals: Proposals, batch: Batch
    ) -> dict[str, Tensor]:
        """Losses of the box branch and, if there is one, the mask branch.

        Args:
            feats: L maps (B, C, Hi, Wi).
            proposals: B x P.
            batch: with ground truth.

        Returns:
            ``loss_cls``, ``loss_bbox``, ``acc`` and ``loss_mask``, scalars.
        """

        pool = partial(self._pool, self.bbox_roi_extractor, feats)
        targets = bbox_target(
            proposals,
            batch.gt,
            batch.keys,
            self.assigner,
            self.sampler,
            None if self.bbox_head.reg_decoded_bbox else self.bbox_head.bbox_coder,
            self.bbox_head.num_classes,
            self.pos_weight,
            hardness=hardness_of(self.bbox_head, pool) if self.sampler.by_loss else None,
        )
        pooled = pool(targets.priors)
        logits, deltas = self.bbox_head(pooled)
        losses = self.bbox_head.loss(logits, deltas, targets)
        if self.mask_head is not None:
            own = self.mask_roi_extractor and partial(self._pool, self.mask_roi_extractor, feats)
            most = num_mask_rois(targets, self.sampler.max_pos, self.pad_mask_rois)
            pooled = mask_feats(own, pooled, targets, most)
            losses |= mask_loss(self.mask_head, pooled, targets, batch)
        return losses

    @torch.no_grad()
    def predict(self, feats: Sequence[Tensor], proposals: Proposals, batch: Batch) -> Detections:
        """Detections in network coordinates, with mask probabilities if there is a mask branch.

        Args:
            feats: L maps (B, C, Hi, Wi).
            proposals: B x P.
            batch: images and their shapes.
        """
        return self.predict_masks(feats, self.predict_boxes(feats, proposals, batch))

    @torch.no_grad()
    def predict_boxes(
        self, feats: Sequence[Tensor], proposals: Proposals, batch: Batch
    ) -> Detections:
        """Detections without masks; arguments as for :meth:`predict`."""
        logits, deltas = self.bbox_head(self._pool(self.bbox_roi_extractor, feats, proposals.boxes))
        return self.bbox_head.predict(logits, deltas, proposals, batch.shapes)

    @torch.no_grad()
    def predict_masks(self, feats: Sequence[Tensor], detections: Detections) -> Detections:
        """Detections with mask probabilities; as they are if there is no mask branch.

        Args:
            feats: L maps (B, C, Hi, Wi).
            detections: B x D.
        """
        if self.mask_head is None:
            return detections
        extractor = self.mask_roi_extractor or self.bbox_roi_extractor
        return add_masks(detections, [self.mask_head], partial(self._pool, extractor, feats))

    def _pool(self, extractor: nn.Module, feats: Sequence[Tensor], boxes: Tensor) -> Tensor:
        pooled = extractor(feats, boxes)
        return pooled if self.shared_head is None else self.shared_head(pooled)


def check_sampler(sampler: RandomSampler, owner: str) -> None:
    """Refuse a sampler that does not put a fixed number of RoIs in order.

    Raises:
        ValueError: it is no RandomSampler.
    """
    if not isinstance(sampler, RandomSampler):
        raise ValueError(
            f"{owner} needs a RandomSampler (positives first, a fixed number), got {sampler!r}"
        )


def hardness_of(
    head: nn.Module, pool: Callable[[Tensor], Tensor]
) -> Callable[[Tensor, Tensor], Tensor]:
    """How hard a RoI is: the cross entropy of its class, which :class:`OHEMSampler` goes by.

    Args:
        head: the box head.
        pool: (B, N, 4) boxes to pooled features.

    Returns:
        A function of (B, N, 4) boxes and (B, N) labels in 0..K that gives (B, N) losses.
    """

    @torch.no_grad()
    def hardness(boxes: Tensor, labels: Tensor) -> Tensor:
        logits, _ = head(pool(boxes))
        return F.cross_entropy(logits, labels.flatten(), reduction="none").reshape(labels.shape)

    return hardness
