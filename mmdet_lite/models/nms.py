"""Suppression of duplicates among the detections of an image.

Letters: N candidates, J classes among them, n candidates of the largest class.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from mmdet_lite.ranges import check_positive, check_shares
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import aligned_iou


@MODELS.register_module()
class NMS:
    """Drop boxes that overlap a better one of the same class.

    Args:
        iou_thr: overlap above which the lower-scored box is dropped.
        class_agnostic: boxes of different classes compete too.

    Raises:
        ValueError: ``iou_thr`` is not between 0 and 1.
    """

    def __init__(self, iou_thr: float = 0.5, class_agnostic: bool = False):
        check_shares(self, iou_thr=iou_thr)
        self.iou_thr = iou_thr
        self.class_agnostic = class_agnostic

    def select(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, limit: int
    ) -> tuple[Tensor, Tensor]:
        """Choose among the candidates of one image.

        Args:
            boxes: (N, 4).
            scores: (N,).
            labels: (N,) int64.
            limit: how many to keep at most.

        Returns:
            Indices of those that stay, by falling score, and their scores.
        """
        group = torch.zeros_like(labels) if self.class_agnostic else labels
        kept = batched_nms(boxes, scores, group, self.iou_thr)[:limit]
        return kept, scores[kept]


@MODELS.register_module()
class SoftNMS:
    """Lower the scores of boxes that overlap a better one (Bodla et al. 2017).

    Args:
        iou_thr: overlap above which 'linear' and 'naive' act.
        sigma: of 'gaussian'.
        min_score: boxes whose score falls below this are dropped.
        method: factor on the score for an overlap ``iou``: 'linear' is ``1 - iou``, 'gaussian'
            ``exp(-iou ** 2 / sigma)`` at any overlap, 'naive' 0.
        class_agnostic: boxes of different classes compete too.

    Raises:
        ValueError: an unknown method, or a number out of its range.
    """

    def __init__(
        self,
        iou_thr: float = 0.3,
        sigma: float = 0.5,
        min_score: float = 1e-3,
        method: str = "linear",
        class_agnostic: bool = False,
    ):
        check_shares(self, iou_thr=iou_thr, min_score=min_score)
        check_positive(self, sigma=sigma)
        if method not in ("linear", "gaussian", "naive"):
            raise ValueError(
                f"SoftNMS: method must be 'linear', 'gaussian' or 'naive', got {method!r}"
            )
        self.iou_thr = iou_thr
        self.sigma = sigma
        self.min_score = min_score
        self.method = method
        self.class_agnostic = class_agnostic

    def select(
        self, boxes: Tensor, scores: Tensor, labels: Tensor, limit: int
    ) -> tuple[Tensor, Tensor]:
        """Choose among the candidates of one image, all classes in step; see :meth:`NMS.select`.

        The scores are those after lowering.
        """
        if not len(boxes):
            return labels, scores
        source = self._rows_of_classes(torch.zeros_like(labels) if self.class_agnostic else labels)
        boxes = boxes[source]  # (J, n, 4)
        left = torch.where(source >= 0, scores[source], -1)  # (J, n)
        rows = torch.arange(len(left), device=left.device)
        kept, kept_scores = [], []
        for _ in range(min(limit, left.shape[1])):  # no class gives more than the whole may
            best, place = left.max(dim=1)
            kept.append(source[rows, place])
            kept_scores.append(best)
            left = left * self._factor(aligned_iou(boxes[rows, place][:, None], boxes))
            left[rows, place] = -1
            left[left < self.min_score] = -1
        kept, kept_scores = torch.cat(kept), torch.cat(kept_scores)
        best, order = kept_scores.topk(min(limit, len(kept_scores)))
        order = order[best > 0]
        return kept[order], kept_scores[order]

    def _factor(self, iou: Tensor) -> Tensor:
        if self.method == "gaussian":
            return torch.exp(-(iou**2) / self.sigma)
        lowered = 1 - iou if self.method == "linear" else torch.zeros_like(iou)
        return torch.where(iou > self.iou_thr, lowered, 1)

    @staticmethod
    def _rows_of_classes(labels: Tensor) -> Tensor:
        """(N,) to (J, n) indices, a class a row, padded with -1."""
        _, row, counts = labels.unique(return_inverse=True, return_counts=True)
        order = row.argsort(stable=True)
        column = torch.arange(len(row), device=row.device) - (counts.cumsum(0) - counts)[row[order]]
        source = torch.full((len(counts), int(counts.max())), -1, device=row.device)
        source[row[order], column] = order
        return source
