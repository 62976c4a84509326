"""The second stage of Faster and Mask R-CNN.

Letters: B images, L levels, P proposals, R sampled RoIs an image, M mask RoIs, D detections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from mmdet_lite.models.assigners.max_iou_assigner import MaxIoUAssigner
from mmdet_lite.models.samplers.random_sampler import RandomSampler
from mmdet_lite.models.targets import BoxTargets, bbox_target, mask_target
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch, Detections, Proposals


@MODELS.register_module()
class RoIHead(nn.Module):
    """Sample RoIs, pool their features, predict classes, boxes and, if configured, masks.

    Args:
        bbox_roi_extractor, bbox_head: pooling and head of the box branch.
        assigner, sampler: decide which proposals are trained, on what.
        mask_roi_extractor, mask_head: pooling and head of the mask branch, both or neither.
        pos_weight: weight of positives in the classification loss.
        pad_mask_rois: give the mask head a fixed number of RoIs an image (the sampler's largest
            number of positives) instead of the positives there are. That removes one wait for the
            device a step and computes masks that do not count.

    Raises:
        ValueError: only one of the two mask modules is given, or the sampler is another kind.
    """

    def __init__(
        self,
        bbox_roi_extractor: nn.Module,
        bbox_head: nn.Module,
        assigner: MaxIoUAssigner,
        sampler: RandomSampler,
        mask_roi_extractor: nn.Module | None = None,
        mask_head: nn.Module | None = None,
        pos_weight: float = 1.0,
        pad_mask_rois: bool = False,
    ):
        super().__init__()
        if (mask_head is None) != (mask_roi_extractor is None):
            raise ValueError("RoIHead needs both mask_roi_extractor and mask_head, or neither")
        if not isinstance(sampler, RandomSampler):
            raise ValueError(
                f"RoIHead needs a RandomSampler (positives first, a fixed number), got {sampler!r}"
            )
        self.bbox_roi_extractor = bbox_roi_extractor
        self.bbox_head = bbox_head
        self.assigner = assigner
        self.sampler = sampler
        self.mask_roi_extractor = mask_roi_extractor
        self.mask_head = mask_head
        self.pos_weight = pos_weight
        self.pad_mask_rois = pad_mask_rois

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
        targets = bbox_target(
            proposals,
            batch.gt,
            batch.keys,
            self.assigner,
            self.sampler,
            None if self.bbox_head.reg_decoded_bbox else self.bbox_head.bbox_coder,
            self.bbox_head.num_classes,
            self.pos_weight,
        )
        logits, deltas = self.bbox_head(self.bbox_roi_extractor(feats, targets.priors))
        losses = self.bbox_head.loss(logits, deltas, targets)
        if self.mask_head is not None:
            losses |= self.mask_loss(feats, targets, batch)
        return losses

    def mask_loss(
        self, feats: Sequence[Tensor], targets: BoxTargets, batch: Batch
    ) -> dict[str, Tensor]:
        """Loss of the mask branch on the positives, which come first among an image's samples.

        Args:
            feats: L maps (B, C, Hi, Wi).
            targets: B x R.
            batch: with ground-truth masks.

        Returns:
            ``loss_mask``, a scalar.
        """
        most = self._num_mask_rois(targets.is_pos)
        rois, labels = targets.priors[:, :most], targets.labels[:, :most]
        valid = targets.is_pos[:, :most]
        target_masks = mask_target(
            rois,
            targets.assigned_gt[:, :most],
            valid,
            batch.gt,
            self.mask_head.mask_size,
            self.mask_head.target_rule,
        )
        logits = self.mask_head(self.mask_roi_extractor(feats, rois))
        return self.mask_head.loss(
            logits, target_masks.flatten(0, 1), labels.flatten(), valid.flatten()
        )

    def _num_mask_rois(self, is_pos: Tensor) -> int:
        most = min(self.sampler.max_pos, is_pos.shape[1])
        if self.pad_mask_rois:
            return most
        # At least one, so that every parameter takes part in every step.
        return max(int(is_pos.sum(dim=1).max()), 1)

    @torch.no_grad()
    def predict(self, feats: Sequence[Tensor], proposals: Proposals, batch: Batch) -> Detections:
        """Detections in network coordinates, with mask probabilities if there is a mask branch.

        Args:
            feats: L maps (B, C, Hi, Wi).
            proposals: B x P.
            batch: images and their shapes.
        """
        logits, deltas = self.bbox_head(self.bbox_roi_extractor(feats, proposals.boxes))
        detections = self.bbox_head.predict(logits, deltas, proposals, batch.shapes)
        if self.mask_head is None:
            return detections
        # Valid detections come first: no more columns than the fullest image has.
        most = max(int(detections.valid.sum(dim=1).max()), 1)
        detections = replace(
            detections,
            boxes=detections.boxes[:, :most],
            scores=detections.scores[:, :most],
            labels=detections.labels[:, :most],
            valid=detections.valid[:, :most],
        )
        mask_logits = self.mask_head(self.mask_roi_extractor(feats, detections.boxes))
        masks = self.mask_head.predict(mask_logits, detections.labels.flatten())
        detections.masks = masks.reshape(*detections.valid.shape, *masks.shape[1:])
        detections.mask_thr = self.mask_head.mask_thr
        detections.paste_rule = self.mask_head.paste_rule
        return detections
