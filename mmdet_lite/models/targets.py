"""The places where targets are made: assign, sample, encode, in this order.

Letters: B images, A priors over all levels, G padded ground truths, P proposals, S sampled priors,
R sampled RoIs, M mask RoIs an image, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from mmdet_lite.models.assigners.dynamic_assigner import DynamicAssigner
from mmdet_lite.models.assigners.fcos_assigner import FCOSAssigner
from mmdet_lite.models.assigners.max_iou_assigner import IGNORE, MaxIoUAssigner
from mmdet_lite.models.assigners.shape_ratio_assigner import ShapeRatioAssigner
from mmdet_lite.models.priors.anchor_generator import Priors, pack_prior_id, prior_level
from mmdet_lite.models.samplers.random_sampler import Sampled
from mmdet_lite.models.target_record import Decision, is_recording, record
from mmdet_lite.random_keys import box_keys
from mmdet_lite.structures.masks import InstanceMasks, crop_and_resize
from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.samples import GroundTruth, Proposals

MaskRule = Literal["roi_align", "polygon", "legacy"]

_ANCHOR_STREAM, _ROI_STREAM = 1, 2  # what is drawn for anchors is independent of what is for RoIs
_BITMAPS_AT_ONCE = 32  # as float32: 137 MB at 800 x 1344
GT_LEVEL = 255  # "level" in the identity of ground truths that join the proposals


@dataclass
class BoxTargets:
    """What sampled priors or RoIs have to predict; rows that are padding have weight 0.

    Attributes:
        priors: (B, S, 4) boxes of the sampled priors; (0, 0, 0, 0) in padding.
        inds: (B, S) int64 index of each into the priors (or into ground truths, then proposals).
        labels: (B, S) int64 in 0..K, K for negatives and padding.
        label_weights: (B, S) float32.
        boxes: (B, S, 4) deltas, or boxes where the coder is None; harmless where not positive.
        is_pos: (B, S) bool.
        valid: (B, S) bool.
        assigned_gt: (B, S) int64 index into G, 0 where not positive.
        ids: (B, S) int64 identity of each prior.
    """

    priors: Tensor
    inds: Tensor
    labels: Tensor
    label_weights: Tensor
    boxes: Tensor
    is_pos: Tensor
    valid: Tensor
    assigned_gt: Tensor
    ids: Tensor

    @property
    def is_gt(self) -> Tensor:
        """(B, S) bool: the prior is a ground truth that joined the proposals."""
        return self.valid & (prior_level(self.ids) == GT_LEVEL)


@dataclass
class DenseTargets:
    """What each prior of a one-stage head has to predict; row i is prior i.

    Attributes:
        labels: (B, A) int64 in 0..K, K for negatives and ignored priors.
        scores: (B, A) float32, what a positive has to score as its class: 1, or what a
            :class:`DynamicAssigner` says; 0 for the others.
        weights: (B, A) float32 weight of the classification: 0 where ignored.
        boxes: (B, A, 4) the ground truth of positives; harmless for the others.
        is_pos: (B, A) bool.
        assigned_gt: (B, A) int64 index into G, 0 where not positive.
    """

    labels: Tensor
    scores: Tensor
    weights: Tensor
    boxes: Tensor
    is_pos: Tensor
    assigned_gt: Tensor

    def class_scores(self, num_classes: int) -> Tensor:
        """(B, A, K) float32: ``scores`` at the label, 0 elsewhere."""
        classes = torch.arange(num_classes, device=self.labels.device)
        return torch.where(self.labels[..., None] == classes, self.scores[..., None], 0.0)


@torch.no_grad()
def dense_target(
    priors: Priors,
    prior_valid: Tensor | None,
    gt: GroundTruth,
    assigner: MaxIoUAssigner | FCOSAssigner | DynamicAssigner,
    num_classes: int,
    logits: Tensor,
    decode: Callable[[], Tensor],
    pos_weight: float = 1.0,
) -> DenseTargets:
    """Targets of a head that trains every prior on the spot: assign, without sampling.

    Args:
        priors: A priors, shared by the batch.
        prior_valid: (B, A) bool, the others are ignored; None: all are valid.
        gt: padded ground truth.
        assigner: one that goes by the priors' geometry, or a :class:`DynamicAssigner`.
        num_classes: K; 1 makes every object class 0.
        logits: (B, A, K).
        decode: gives the predicted boxes (B, A, 4); called where the assigner looks at them.
        pos_weight: weight of positives.
    """
    if isinstance(assigner, DynamicAssigner):
        assigned, scores = assigner.assign(priors, gt, prior_valid, logits, decode())
    else:
        assigned = assigner.assign(priors, gt, prior_valid)
        scores = (assigned >= 0).float()
    is_pos, gt_index = assigned >= 0, assigned.clamp(min=0)
    labels = gt.labels.gather(1, gt_index) if num_classes > 1 else gt_index * 0
    # Like the padding's, the box of a negative must not be empty: its logarithm is not finite.
    harmless = torch.cat([gt.boxes.new_zeros(2), gt.boxes.new_ones(2)])
    targets = DenseTargets(
        labels=torch.where(is_pos, labels, num_classes),
        scores=scores,
        weights=torch.where(is_pos, pos_weight, (assigned != IGNORE).float()),
        boxes=torch.where(is_pos[..., None], _gather_boxes(gt.boxes, gt_index), harmless),
        is_pos=is_pos,
        assigned_gt=gt_index,
    )
    if is_recording():
        found = Decision(targets, assigner, priors.boxes, priors.ids, assigned, priors, decode())
        record(found)
    return targets


@dataclass
class EntryTargets:
    """What a head's priors have to predict where one may learn several ground truths.

    An entry is a prior and a ground truth; there are E on each of L levels.

    Attributes:
        inds: (B, L, E) int64 index into the priors, also where ``valid`` is False.
        labels: (B, L, E) int64 in 0..K-1.
        boxes: (B, L, E, 4) centre, relative to the prior's cell, and size, in cells; harmless where
            not valid.
        sizes: (B, L, E, 2) the prior's width and height in cells.
        valid: (B, L, E) bool.
    """

    inds: Tensor
    labels: Tensor
    boxes: Tensor
    sizes: Tensor
    valid: Tensor


@torch.no_grad()
def entry_target(
    priors: Priors,
    prior_valid: Tensor,
    sizes: Tensor,
    gt: GroundTruth,
    assigner: ShapeRatioAssigner,
    num_classes: int,
) -> EntryTargets:
    """Targets of a head whose priors may learn several ground truths each: assign and encode.

    Args:
        priors: A priors, shared by the batch.
        prior_valid: (B, A) bool; the others learn nothing.
        sizes: (L, N, 2) widths and heights of the N priors of a cell of each level.
        gt: padded ground truth.
        assigner: lists the entries.
        num_classes: K; 1 makes every object class 0.
    """
    inds, valid = assigner.assign(priors, sizes, gt)
    valid &= prior_valid.gather(1, inds.flatten(1)).view_as(inds)
    num_gt = gt.valid.shape[1]
    times = inds.shape[2] // num_gt  # entries of a ground truth
    strides = priors.strides[inds].flip(-1)  # (B, L, E, 2): x, y
    corners = gt.boxes.repeat(1, times, 1)[:, None] / strides.repeat(1, 1, 1, 2)
    center = (corners[..., :2] + corners[..., 2:]) / 2 - priors.cells[inds].flip(-1)
    boxes = torch.cat([center, corners[..., 2:] - corners[..., :2]], dim=-1)
    labels = gt.labels.repeat(1, times) if num_classes > 1 else gt.labels.repeat(1, times) * 0
    of_anchors = sizes.repeat_interleave(num_gt, dim=1)  # (L, N * G, 2)
    targets = EntryTargets(
        inds=inds,
        labels=labels[:, None].expand_as(inds),
        boxes=torch.where(valid[..., None], boxes, 1.0),
        sizes=of_anchors.repeat(1, times // sizes.shape[1], 1) / strides,
        valid=valid,
    )
    if is_recording():
        record(Decision(targets, assigner, priors.boxes, priors.ids, None, priors))
    return targets


@torch.no_grad()
def anchor_target(
    priors: Priors,
    prior_valid: Tensor,
    gt: GroundTruth,
    keys: Tensor,
    assigner: MaxIoUAssigner,
    sampler: nn.Module,
    coder: nn.Module | None,
    num_classes: int,
    pos_weight: float = 1.0,
) -> BoxTargets:
    """Targets of a dense head that samples its priors.

    Args:
        priors: A priors, shared by the batch.
        prior_valid: (B, A) bool.
        gt: padded ground truth.
        keys: (B,) int64, each image's random key.
        assigner, sampler, coder: the three leaves; without a coder the targets are boxes.
        num_classes: K; 1 makes every object class 0 (RPN).
        pos_weight: label weight of positives.
    """
    assigned_gt = assigner.assign(priors.boxes, gt, prior_valid)
    sampled = sampler.sample(assigned_gt, box_keys(keys, priors.ids, _ANCHOR_STREAM))
    boxes, ids = priors.boxes.expand(len(keys), -1, 4), priors.ids.expand(len(keys), -1)
    targets = _encode(boxes, ids, assigned_gt, sampled, gt, coder, num_classes, pos_weight)
    if is_recording():
        record(Decision(targets, assigner, priors.boxes, priors.ids, assigned_gt, priors))
    return targets


@torch.no_grad()
def bbox_target(
    proposals: Proposals,
    gt: GroundTruth,
    keys: Tensor,
    assigner: MaxIoUAssigner,
    sampler: nn.Module,
    coder: nn.Module | None,
    num_classes: int,
    pos_weight: float = 1.0,
    stage: int = 0,
    hardness: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> BoxTargets:
    """Sample RoIs and make the targets of a box head; arguments as in :func:`anchor_target`.

    Where the sampler says so the ground truths lead the list of proposals, each assigned to itself.

    Args:
        stage: of a cascade; each draws its own random keys.
        hardness: (B, P, 4) boxes and their (B, P) labels in 0..K to (B, P) what the sampler prefers
            in place of random keys (OHEM).
    """
    boxes, ids = proposals.boxes, proposals.ids
    assigned_gt = assigner.assign(boxes, gt, proposals.valid)
    if sampler.add_gt_as_proposals:
        position = torch.arange(gt.valid.shape[1], device=boxes.device).expand_as(gt.valid)
        boxes = torch.cat([gt.boxes, boxes], dim=1)
        ids = torch.cat([pack_prior_id(GT_LEVEL, 0, position, 0), ids], dim=1)
        to_itself = position.masked_fill(~gt.valid, IGNORE)
        assigned_gt = torch.cat([to_itself, assigned_gt], dim=1)
    if hardness is None:
        preference = box_keys(keys, ids, _ROI_STREAM + stage)
    else:
        labels = gt.labels.gather(1, assigned_gt.clamp(min=0))
        preference = hardness(boxes, torch.where(assigned_gt >= 0, labels, num_classes))
    sampled = sampler.sample(assigned_gt, preference)
    targets = _encode(boxes, ids, assigned_gt, sampled, gt, coder, num_classes, pos_weight)
    if is_recording():
        record(Decision(targets, assigner, boxes, ids, assigned_gt))
    return targets


@torch.no_grad()
def mask_target(
    rois: Tensor,
    assigned_gt: Tensor,
    valid: Tensor,
    gt: GroundTruth,
    mask_size: int,
    rule: MaskRule = "roi_align",
) -> Tensor:
    """Crop each RoI's ground-truth mask and resize it to the mask head's output.

    Args:
        rois: (B, M, 4).
        assigned_gt: (B, M) int64 index into G.
        valid: (B, M) bool; the targets of other rows are zero.
        gt: ground truth; ``masks`` are packed bitmaps for 'roi_align', lists of
            :class:`InstanceMasks` otherwise.
        mask_size: side of the square targets.
        rule: 'roi_align' averages the bitmap on the device; 'polygon' rasterises the moved
            polygons; 'legacy' crops whole pixels and resizes. The last two run on the host.

    Returns:
        (B, M, mask_size, mask_size) float32 in {0, 1}.

    Raises:
        TypeError: the masks are not in the form that the rule needs.
    """
    on_host = rule != "roi_align"
    if isinstance(gt.masks, PackedBitmaps) == on_host or gt.masks is None:
        needed = "lazy" if on_host else "bitmaps"
        raise TypeError(
            f"mask targets by rule {rule!r} need masks='{needed}' in the config's train_data, "
            f"but the batch has {'none' if gt.masks is None else type(gt.masks).__name__}"
        )
    rois = torch.where(valid[..., None], rois, 0)
    crop = _crop_on_host if on_host else _crop_bitmaps
    targets = [
        crop(gt.masks[i], rois[i], assigned_gt[i], valid[i], mask_size, rule)
        for i in range(len(rois))  # image by image: bitmaps of all images as float32 are too large
    ]
    return torch.stack(targets)


def _encode(
    boxes: Tensor,
    ids: Tensor,
    assigned_gt: Tensor,
    sampled: Sampled,
    gt: GroundTruth,
    coder: nn.Module | None,
    num_classes: int,
    pos_weight: float,
) -> BoxTargets:
    is_pos, valid = sampled.is_pos, sampled.valid
    is_other = ~is_pos  # negatives and padding
    priors = _gather_boxes(boxes, sampled.inds)
    gt_index = assigned_gt.gather(1, sampled.inds) * is_pos
    labels = is_other.long()  # 0 and K of a single class
    if num_classes > 1:
        labels = gt.labels.gather(1, gt_index).masked_fill_(is_other, num_classes)
    weights = valid.float()
    return BoxTargets(
        priors=priors * valid[..., None],
        inds=sampled.inds,
        labels=labels,
        label_weights=weights if pos_weight == 1 else weights.masked_fill_(is_pos, pos_weight),
        boxes=_box_targets(priors, _gather_boxes(gt.boxes, gt_index), is_other, coder),
        is_pos=is_pos,
        valid=valid,
        assigned_gt=gt_index,
        ids=ids.gather(1, sampled.inds),
    )


def _box_targets(
    priors: Tensor, gt_boxes: Tensor, is_other: Tensor, coder: nn.Module | None
) -> Tensor:
    """(B, S, 4) deltas, or boxes; rows of pairs that are not positive are harmless."""
    if coder is not None:  # where a side is empty the logarithm is not finite
        return coder.encode(priors, gt_boxes).masked_fill_(is_other[..., None], 0)
    unit = torch.cat([gt_boxes.new_zeros(2), gt_boxes.new_ones(2)])  # made on the device
    return torch.where(is_other[..., None], unit, gt_boxes)


def _gather_boxes(boxes: Tensor, inds: Tensor) -> Tensor:
    return boxes.gather(1, inds[..., None].expand(-1, -1, 4))


def _crop_bitmaps(
    bitmaps: PackedBitmaps,
    rois: Tensor,
    gt_index: Tensor,
    valid: Tensor,
    size: int,
    rule: MaskRule,
) -> Tensor:
    """(G, H, W) bitmaps and (M, 4) to (M, size, size); an empty RoI gives zeros.

    The numbers that roi_align needs take 32 times the memory of bits: only some are at a time.
    """
    height, width = bitmaps.shape[-2:]
    x, y = rois[:, 0::2].clamp(0, width), rois[:, 1::2].clamp(0, height)
    boxes = torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)
    share = 0
    for start in range(0, len(bitmaps), _BITMAPS_AT_ONCE):
        few = bitmaps[start : start + _BITMAPS_AT_ONCE]
        place = gt_index - start
        is_here = (place >= 0) & (place < len(few))
        boxes_here = torch.cat([place.clamp(0, len(few) - 1).to(boxes)[:, None], boxes], dim=1)
        boxes_here = boxes_here * is_here[:, None]  # those of others are empty and take no sample
        share = share + roi_align(
            few.unpack()[:, None].float(), boxes_here, size, sampling_ratio=0, aligned=True
        )
    return (share[:, 0] >= 0.5).float()


def _crop_on_host(
    masks: InstanceMasks, rois: Tensor, gt_index: Tensor, valid: Tensor, size: int, rule: MaskRule
) -> Tensor:
    count = int(valid.sum())  # valid rows come first; the host needs the number
    targets = rois.new_zeros(len(rois), size, size)
    if count:
        cropped = crop_and_resize(
            masks, rois[:count].cpu().numpy(), gt_index[:count].cpu().numpy(), size, rule
        )
        targets[:count] = torch.from_numpy(cropped).to(targets)
    return targets
