"""Task-aligned assignment (Feng et al. 2021, "TOOD", sec. 3.2) in the form of YOLOv8.

Letters: B images, A priors, G padded ground truths, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmdet_lite.models.assigners.dynamic_assigner import DynamicAssigner
from mmdet_lite.models.assigners.max_iou_assigner import IGNORE, NEGATIVE
from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.ranges import check_not_negative, check_positive
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import aligned_ciou, side_distances
from mmdet_lite.structures.samples import GroundTruth

_MAX_PAIRS = 16_000_000  # above this many B * G * A images go one by one, which bounds the memory


@MODELS.register_module()
class TaskAlignedAssigner(DynamicAssigner):
    """A ground truth gets the points inside it whose predictions fit it best.

    How well a prediction fits is ``score ** alpha * overlap ** beta``, of its score as the ground
    truth's class and its CIoU with it. A positive has to score as much as it fits, scaled so that
    the best of a ground truth has to score that ground truth's largest overlap.

    Args:
        topk: points that a ground truth may get. YOLOv8: 10; TOOD: 13.
        alpha: exponent of the score. YOLOv8: 0.5; TOOD: 1.
        beta: exponent of the overlap.
        min_side: sides of a ground truth that are shorter than this, in pixels, count as this long
            where points are sought inside it; 0: as long as they are. Newer releases of YOLOv8
            take the stride of the second level, so that small objects get points.

    Raises:
        ValueError: ``topk`` is not above 0, or another argument below 0.
    """

    def __init__(
        self, topk: int = 10, alpha: float = 0.5, beta: float = 6.0, min_side: float = 0.0
    ):
        check_positive(self, topk=topk)
        check_not_negative(self, alpha=alpha, beta=beta, min_side=min_side)
        self.topk = topk
        self.alpha = alpha
        self.beta = beta
        self.min_side = min_side

    @torch.no_grad()
    def assign(
        self, priors: Priors, gt: GroundTruth, valid: Tensor | None, logits: Tensor, boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Match every prior to at most one ground truth; see :meth:`DynamicAssigner.assign`."""
        scores, boxes, points = logits.float().sigmoid(), boxes.float(), priors.centers
        usable = gt.valid[:, :, None].expand(-1, -1, len(points))
        if valid is not None:
            usable = usable & valid[:, None]
        inputs = (gt.boxes, gt.labels, usable, scores, boxes)
        if usable.numel() <= _MAX_PAIRS:
            assigned, target = self._assign(points, *inputs)
        else:
            images = [slice(i, i + 1) for i in range(len(scores))]
            parts = [self._assign(points, *(x[i] for x in inputs)) for i in images]
            assigned, target = (torch.cat(part) for part in zip(*parts, strict=True))
        return assigned if valid is None else torch.where(valid, assigned, IGNORE), target

    def _assign(self, points: Tensor, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """The arguments of :meth:`_fit` to (B, A) twice."""
        candidates, overlap, fit = self._fit(points, *inputs)
        return _share_out(self._claims(fit, candidates), fit, overlap)

    def _fit(
        self,
        points: Tensor,
        gt_boxes: Tensor,
        gt_labels: Tensor,
        usable: Tensor,
        scores: Tensor,
        boxes: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Which points a ground truth may get, their overlap with it, and how well they fit.

        Args:
            points: (A, 2).
            gt_boxes, gt_labels: (B, G, 4), (B, G).
            usable: (B, G, A) bool, what is neither padding nor ignored.
            scores, boxes: (B, A, K), (B, A, 4), what is predicted.

        Returns:
            (B, G, A) three times; the last two are 0 where a point is no candidate.
        """
        candidates = self._inside(points, gt_boxes) & usable
        overlap = aligned_ciou(gt_boxes[:, :, None], boxes[:, None]).clamp(min=0)
        overlap = torch.where(candidates, overlap, 0)
        labels = gt_labels[..., None].expand(-1, -1, len(points))
        score = scores.transpose(1, 2).gather(1, labels)
        return candidates, overlap, score.pow(self.alpha) * overlap.pow(self.beta)

    def _inside(self, points: Tensor, gt_boxes: Tensor) -> Tensor:
        """(A, 2) and (B, G, 4) to (B, G, A): whether a point is strictly inside a box."""
        if self.min_side > 0:
            center = (gt_boxes[..., :2] + gt_boxes[..., 2:]) / 2
            size = gt_boxes[..., 2:] - gt_boxes[..., :2]
            half = size.clamp(min=self.min_side) / 2
            enlarged = torch.cat([center - half, center + half], dim=-1)
            # A side that is long enough stays what it is, to the bit.
            gt_boxes = torch.where((size < self.min_side).repeat(1, 1, 2), enlarged, gt_boxes)
        return side_distances(points, gt_boxes[:, :, None]).amin(dim=-1) > 1e-9

    def _claims(self, fit: Tensor, candidates: Tensor) -> Tensor:
        """(B, G, A): the best ``topk`` candidates of each ground truth.

        Where fewer than that fit at all, those that do not follow in their order: any order is
        within the rule, and this one is the same everywhere.
        """
        total = fit.shape[-1]
        place = torch.arange(1, total + 1, device=fit.device) / total  # 0 < place <= 1
        rank = torch.where(fit > 0, fit, torch.where(candidates, -place, -2.0))
        best = rank.topk(min(self.topk, total), dim=-1).indices
        return torch.zeros_like(candidates).scatter_(-1, best, True) & candidates


def _share_out(claims: Tensor, fit: Tensor, overlap: Tensor) -> tuple[Tensor, Tensor]:
    """Give every point to one ground truth, and say what it has to score.

    A point that several claim goes to the one that its prediction overlaps most, whether that
    claims it or not; on a tie to the first.

    Args:
        claims: (B, G, A) bool.
        fit, overlap: (B, G, A).

    Returns:
        (B, A) int64, index into G or NEGATIVE, and (B, A) float32.
    """
    claimants = claims.sum(dim=1)
    owner = torch.where(claimants > 1, overlap.max(dim=1).indices, claims.int().argmax(dim=1))
    owner = torch.where(claimants > 0, owner, NEGATIVE)
    owned = owner[:, None] == torch.arange(fit.shape[1], device=fit.device)[:, None]  # (B, G, A)
    best_fit = torch.where(owned, fit, 0).amax(dim=2, keepdim=True)
    best_overlap = torch.where(owned, overlap, 0).amax(dim=2, keepdim=True)
    target = fit * best_overlap / (best_fit + 1e-9)
    return owner, torch.where(owned, target, 0).amax(dim=1)
