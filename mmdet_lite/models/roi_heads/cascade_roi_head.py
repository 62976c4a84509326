"""The second stage of Cascade R-CNN (Cai and Vasconcelos 2018), with or without masks.

Letters: B images, L levels, P proposals, R sampled RoIs an image, K classes, T stages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from mmdet_lite.models.assigners.max_iou_assigner import MaxIoUAssigner
from mmdet_lite.models.fitting import OVERLAPS, check_fit
from mmdet_lite.models.roi_heads.mask_branch import (
    add_masks,
    mask_feats,
    mask_loss,
    num_mask_rois,
)
from mmdet_lite.models.roi_heads.roi_head import check_sampler, hardness_of
from mmdet_lite.models.samplers.random_sampler import RandomSampler
from mmdet_lite.models.targets import BoxTargets, MaskRule, bbox_target
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch, Detections, Proposals


@MODELS.register_module()
class CascadeRoIHead(nn.Module):
    """T stages, each of which begins with the boxes that the one before refined.

    Scores are the softmax of the stages' mean logits, masks the mean of the stages' probabilities.

    Args:
        bbox_roi_extractor: pooling of the box branches.
        bbox_head: T heads of the box branch.
        assigner: T assigners, as a rule with rising thresholds.
        sampler: T samplers.
        stage_loss_weights: T factors on a stage's losses.
        mask_roi_extractor: pooling of the mask branches; None: the box branch's.
        mask_head: T heads of the mask branch; None: there is none.
        pos_weight: weight of positives in the classification loss.
        pad_mask_rois: see :class:`mmdet_lite.models.roi_heads.roi_head.RoIHead`.

    Raises:
        ValueError: the lists differ in length, or a sampler or an assigner is of another kind.
    """

    def __init__(
        self,
        bbox_roi_extractor: nn.Module,
        bbox_head: Sequence[nn.Module],
        assigner: Sequence[MaxIoUAssigner],
        sampler: Sequence[RandomSampler],
        stage_loss_weights: Sequence[float] = (1.0, 0.5, 0.25),
        mask_roi_extractor: nn.Module | None = None,
        mask_head: Sequence[nn.Module] | None = None,
        pos_weight: float = 1.0,
        pad_mask_rois: bool = False,
    ):
        super().__init__()
        per_stage = {
            "bbox_head": bbox_head,
            "assigner": assigner,
            "sampler": sampler,
            "stage_loss_weights": stage_loss_weights,
            "mask_head": bbox_head if mask_head is None else mask_head,
        }
        if len({len(items) for items in per_stage.values()}) > 1:
            lengths = ", ".join(f"{len(items)} {name}" for name, items in per_stage.items())
            raise ValueError(f"CascadeRoIHead needs one of each for every stage, got {lengths}")
        if mask_head is None and mask_roi_extractor is not None:
            raise ValueError("CascadeRoIHead has a mask_roi_extractor, but no mask_head")
        for one in sampler:
            check_sampler(one, "CascadeRoIHead")
        for one in assigner:
            check_fit(self, "assigner", one, (OVERLAPS,))
        self.bbox_roi_extractor = bbox_roi_extractor
        self.bbox_head = nn.ModuleList(bbox_head)
        self.assigner = list(assigner)
        self.sampler = list(sampler)
        self.stage_loss_weights = tuple(stage_loss_weights)
        self.mask_roi_extractor = mask_roi_extractor
        self.mask_head = None if mask_head is None else nn.ModuleList(mask_head)
        self.pos_weight = pos_weight
        self.pad_mask_rois = pad_mask_rois

    @property
    def num_classes(self) -> int:
        """K."""
        return self.bbox_head[-1].num_classes

    @property
    def mask_rule(self) -> MaskRule | None:
        """How mask targets are cut out; None: there is no mask branch."""
        return None if self.mask_head is None else self.mask_head[-1].target_rule

    def init_weights(self) -> None:
        """Nothing here begins with pretrained weights."""

    def loss(
        self, feats: Sequence[Tensor], proposals: Proposals, batch: Batch
    ) -> dict[str, Tensor]:
        """Losses of all stages.

        Args:
            feats: L maps (B, C, Hi, Wi).
            proposals: B x P.
            batch: with ground truth.

        Returns:
            ``s0.loss_cls``, ``s0.loss_bbox``, ``s0.acc``, ``s0.loss_mask``, ``s1.loss_cls``, ...,
            scalars.
        """
        losses = {}
        for stage, weight in enumerate(self.stage_loss_weights):
            targets = self._targets(stage, feats, proposals, batch)
            pooled = self.bbox_roi_extractor(feats, targets.priors)
            logits, deltas = self.bbox_head[stage](pooled)
            own = self.bbox_head[stage].loss(logits, deltas, targets)
            if self.mask_head is not None:
                extractor = self.mask_roi_extractor
                most = num_mask_rois(targets, self.sampler[stage].max_pos, self.pad_mask_rois)
                pool = extractor and partial(extractor, feats)
                pooled = mask_feats(pool, pooled, targets, most)
                own |= mask_loss(self.mask_head[stage], pooled, targets, batch)
            for name, value in own.items():
                losses[f"s{stage}.{name}"] = value * weight if "loss" in name else value
            if stage + 1 < len(self.bbox_head):
                proposals = self._refined(stage, logits, deltas, targets, batch)
        return losses

    def _targets(
        self, stage: int, feats: Sequence[Tensor], proposals: Proposals, batch: Batch
    ) -> BoxTargets:
        head, sampler = self.bbox_head[stage], self.sampler[stage]
        pool = partial(self.bbox_roi_extractor, feats)
        return bbox_target(
            proposals,
            batch.gt,
            batch.keys,
            self.assigner[stage],
            sampler,
            None if head.reg_decoded_bbox else head.bbox_coder,
            head.num_classes,
            self.pos_weight,
            stage,
            hardness_of(head, pool) if sampler.by_loss else None,
        )

    def _refined(
        self, stage: int, logits: Tensor, deltas: Tensor, targets: BoxTargets, batch: Batch
    ) -> Proposals:
        """What the next stage begins with: the samples, but for the ground truths among them."""
        head = self.bbox_head[stage]
        valid = targets.valid & ~targets.is_gt
        boxes = head.refine(targets.priors, logits, deltas, targets.labels, batch.shapes)
        return Proposals(
            boxes=boxes.masked_fill(~valid[..., None], 0),
            scores=valid.float(),
            valid=valid,
            ids=targets.ids,
        )

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
        boxes, total, last = proposals.boxes, 0, len(self.bbox_head) - 1
        for stage, head in enumerate(self.bbox_head):
            logits, deltas = head(self.bbox_roi_extractor(feats, boxes))
            total = total + logits
            if stage < last:
                boxes = head.refine(boxes, logits, deltas, None, batch.shapes)
        mean = total / len(self.bbox_head)
        refined = replace(proposals, boxes=boxes)
        return self.bbox_head[-1].predict(mean, deltas, refined, batch.shapes)

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
        return add_masks(detections, self.mask_head, partial(extractor, feats))
