"""From dense scores to a few boxes: top-k, batched NMS, padding of ragged results.

NMS is where the ragged world begins and ends: every function here takes and gives padded tensors.
Letters: B images, A priors over all levels, N candidates, P proposals, D detections, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Detections, Proposals


@MODELS.register_module()
class ProposalSelector:
    """Turn a dense head's scores and deltas into proposals.

    Args:
        nms_pre: candidates of each level that are decoded, the best ones.
        max_per_img: proposals kept an image, P.
        nms_iou_thr: overlap above which the lower-scored box is dropped, level by level.
        min_bbox_size: boxes must be wider and higher than this; negative: not tested.
    """

    def __init__(
        self, nms_pre: int, max_per_img: int, nms_iou_thr: float = 0.7, min_bbox_size: float = 0
    ):
        self.nms_pre = nms_pre
        self.max_per_img = max_per_img
        self.nms_iou_thr = nms_iou_thr
        self.min_bbox_size = min_bbox_size

    @torch.no_grad()
    def select(
        self, scores: Tensor, deltas: Tensor, priors: Priors, coder: nn.Module, shapes: Tensor
    ) -> Proposals:
        """Decode the best of each level, drop duplicates, keep the best of all.

        Args:
            scores: (B, A) in 0..1.
            deltas: (B, A, 4).
            priors: A priors.
            coder: decodes deltas.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            P = min(max_per_img, candidates) proposals an image, sorted by score.
        """
        scores, inds, level = self._best_of_each_level(scores, priors.level_sizes)
        deltas = deltas.gather(1, inds[..., None].expand(-1, -1, 4))
        boxes = coder.decode(priors.boxes[inds], deltas, shapes)
        valid = torch.ones_like(scores, dtype=torch.bool)
        if self.min_bbox_size >= 0:
            valid = (boxes[..., 2:] - boxes[..., :2] > self.min_bbox_size).all(-1)
        keep = nms_mask(boxes, scores, level, valid, self.nms_iou_thr)

        ranked, order = scores.masked_fill(~keep, -1).topk(min(self.max_per_img, keep.shape[1]))
        valid = ranked >= 0
        boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
        return Proposals(
            boxes=torch.where(valid[..., None], boxes, 0),
            scores=torch.where(valid, ranked, 0),
            valid=valid,
            ids=priors.ids[inds.gather(1, order)],
        )

    def _best_of_each_level(
        self, scores: Tensor, level_sizes: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores and prior indices (B, N) and levels (N,) of the candidates."""
        best, inds, levels, start = [], [], [], 0
        for level, size in enumerate(level_sizes):
            count = min(self.nms_pre, size)
            level_best, level_inds = scores[:, start : start + size].topk(count, dim=1)
            best.append(level_best)
            inds.append(level_inds + start)
            levels.append(torch.full((count,), level, device=scores.device))
            start += size
        return torch.cat(best, dim=1), torch.cat(inds, dim=1), torch.cat(levels)


def nms_mask(boxes: Tensor, scores: Tensor, group: Tensor, valid: Tensor, iou_thr: float) -> Tensor:
    """Non-maximum suppression of a padded batch; boxes of different groups do not compete.

    The one place of the training step whose size depends on the data, and so its one host sync an
    image. It goes image by image because ``batched_nms`` keeps groups apart by shifting them, which
    costs digits: with all images in one call the result would depend on an image's place.

    Args:
        boxes: (B, N, 4).
        scores: (B, N).
        group: (N,) int64, the same for all images.
        valid: (B, N) bool; the others are dropped and suppress nothing.
        iou_thr: overlap above which the lower-scored box is dropped.

    Returns:
        (B, N) bool, the boxes that stay.
    """
    boxes = torch.where(valid[..., None], boxes, 0)  # empty boxes overlap nothing
    keep = torch.zeros_like(valid)
    for i in range(len(boxes)):
        keep[i, batched_nms(boxes[i], scores[i], group, iou_thr)] = True
    return keep & valid


@torch.no_grad()
def multiclass_nms(
    boxes: Tensor, scores: Tensor, valid: Tensor, score_thr: float, iou_thr: float, max_per_img: int
) -> tuple[Detections, Tensor]:
    """Every class of every box is a candidate; NMS for each class; keep the best of all.

    Args:
        boxes: (B, P, K, 4), or (B, P, 1, 4) shared by the classes.
        scores: (B, P, K).
        valid: (B, P) bool.
        score_thr: candidates must score more than this.
        iou_thr: overlap above which the lower-scored box of the same class is dropped.
        max_per_img: detections kept an image, D.

    Returns:
        Detections without masks, and (B, D) int64 which of the P boxes each came from.
    """
    num_images, num_boxes, num_classes = scores.shape
    candidates = (scores > score_thr) & valid[..., None]
    image, source, label = candidates.nonzero(as_tuple=True)
    found = boxes.expand(-1, -1, num_classes, 4)[image, source, label]
    found_scores = scores[image, source, label]
    # Image by image, for the reason that nms_mask gives; candidates are in the order of images.
    kept, start = [], 0
    for count in candidates.sum(dim=(1, 2)).tolist():
        part = slice(start, start + count)
        best = batched_nms(found[part], found_scores[part], label[part], iou_thr)  # by score
        kept.append(best[:max_per_img] + start)
        start += count
    chosen = torch.cat(kept)
    row = image[chosen]
    column = torch.cat([torch.arange(len(best), device=boxes.device) for best in kept])

    detections = Detections(
        boxes=boxes.new_zeros(num_images, max_per_img, 4),
        scores=scores.new_zeros(num_images, max_per_img),
        labels=torch.zeros(num_images, max_per_img, dtype=torch.long, device=boxes.device),
        valid=torch.zeros(num_images, max_per_img, dtype=torch.bool, device=boxes.device),
    )
    sources = torch.zeros_like(detections.labels)
    detections.boxes[row, column] = found[chosen]
    detections.scores[row, column] = found_scores[chosen]
    detections.labels[row, column] = label[chosen]
    detections.valid[row, column] = True
    sources[row, column] = source[chosen]
    return detections, sources
