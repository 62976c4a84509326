"""Who overlaps whom most, in bounded memory. Letters: B images, A priors, G padded ground truths.

On a GPU with Triton two kernels do it without a tensor of all pairs; what is here does it anywhere
else, part by part, with the same result bit for bit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType

import torch
from torch import Tensor

from mmdet_lite.structures.boxes import pairwise_iou

_logger = logging.getLogger(__name__)


@dataclass
class BestOverlaps:
    """The best partner of each prior, and of which ground truths it is the best partner.

    Attributes:
        iou: (B, A) the largest IoU of a prior with a ground truth; -1 where no pair counts.
        gt: (B, A) int64 which ground truth that is, the first on a tie.
        is_best: (B, A) bool: a ground truth overlaps no prior more than this one; None where nobody
            asked.
        best_for: (B, A) int64 the last such ground truth; any number where there is none.
    """

    iou: Tensor
    gt: Tensor
    is_best: Tensor | None = None
    best_for: Tensor | None = None


@dataclass
class Pairs:
    """All pairs of a ground truth and a prior, and which of them count.

    Attributes:
        gt_boxes: (B, G, 4) float32.
        priors: (1, A, 4) or (B, A, 4) float32.
        absent: (B, G) bool: rows that are padding.
        unusable: (B, A) bool: priors that take no part.
    """

    gt_boxes: Tensor
    priors: Tensor
    absent: Tensor
    unusable: Tensor

    def split(self, max_elements: int) -> list[Pairs]:
        """The same in parts, some priors after the others, of at most so many pairs each."""
        size = max(max_elements // self.absent.numel(), 1)
        priors, unusable = self.priors.split(size, dim=1), self.unusable.split(size, dim=1)
        return [
            Pairs(self.gt_boxes, part, self.absent, unusable_part)
            for part, unusable_part in zip(priors, unusable, strict=True)
        ]

    def overlaps(self) -> Tensor:
        """(B, G, A) IoU, -1 where a pair does not count; the same numbers in every call."""
        overlaps = pairwise_iou(self.gt_boxes, self.priors)  # the gt first: see pairwise_iou
        left_out = self.absent[:, :, None] | self.unusable[:, None, :]
        return overlaps.masked_fill_(left_out, -1)


def best_overlaps(
    pairs: Pairs, min_gt_iou: float | None, first_only: bool, max_elements: int
) -> BestOverlaps:
    """Find the best partners.

    Args:
        pairs: of ground truths and priors.
        min_gt_iou: >= 0, a ground truth that overlaps every prior less has no best one; None:
            best partners of ground truths are not asked for.
        first_only: on a tie, only the first of a ground truth's best priors is its best.
        max_elements: where there are more pairs, priors are looked at part by part, twice where
            best partners of ground truths are asked for.
    """
    on_gpu = pairs.priors.is_cuda and not torch.compiler.is_compiling()
    kernels = _kernels(pairs.priors.device) if on_gpu and not first_only else None
    if kernels is not None:
        return kernels.best_overlaps(pairs, min_gt_iou)
    parts = pairs.split(max_elements)
    overlaps: list[Callable[[], Tensor]] = [part.overlaps for part in parts]
    if len(parts) == 1:
        whole = pairs.overlaps()
        overlaps = [lambda: whole]
    if min_gt_iou is None:
        iou, gt = zip(*[part().max(dim=1) for part in overlaps], strict=True)
        return BestOverlaps(joined(iou), joined(gt))
    gt_iou = joined([part().amax(dim=2, keepdim=True) for part in overlaps], dim=2)
    if len(parts) > 1:
        gt_iou = gt_iou.amax(dim=2, keepdim=True)
    return _match_both_ways(overlaps, within_reach(gt_iou, min_gt_iou), first_only)


def within_reach(gt_iou: Tensor, min_gt_iou: float) -> Tensor:
    """What a prior's IoU has to equal for it to be a ground truth's best; infinite below the
    smallest that counts, which no IoU is."""
    return gt_iou.masked_fill(gt_iou < min_gt_iou, torch.inf)


def joined(parts: Sequence[Tensor], dim: int = 1) -> Tensor:
    """Parts one after the other; the only one as it is."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=dim)


def _match_both_ways(
    overlaps: Sequence[Callable[[], Tensor]], gt_iou: Tensor, first_only: bool
) -> BestOverlaps:
    """Args: functions that give the (B, G, part of A) overlaps; (B, G, 1) largest overlaps."""
    found, taken = [], torch.zeros_like(gt_iou, dtype=torch.bool) if first_only else None
    for part in overlaps:
        of_part = part()
        is_best = of_part == gt_iou  # bitwise: the very same numbers
        if first_only:
            is_best, taken = _first(is_best & ~taken), taken | is_best.any(dim=2, keepdim=True)
        # The last ground truth wins: the first from behind.
        any_gt, place = is_best.flip(1).max(dim=1)
        found.append((*of_part.max(dim=1), any_gt, gt_iou.shape[1] - 1 - place))
    return BestOverlaps(*(joined(column) for column in zip(*found, strict=True)))


def _first(is_best: Tensor) -> Tensor:
    """(B, G, A) bool with the first True of each row alone."""
    positions = torch.arange(is_best.shape[2], device=is_best.device)
    return is_best & (positions == is_best.max(dim=2, keepdim=True).indices)


@lru_cache(maxsize=1)
def _kernels(device: torch.device) -> ModuleType | None:
    """The module that needs Triton; None where that is missing or does not work."""
    try:
        from mmdet_lite.models.assigners import overlap_kernels

        boxes, mask = torch.ones(1, 1, 4), torch.zeros(1, 1, dtype=torch.bool)
        overlap_kernels.best_overlaps(Pairs(*(x.to(device) for x in (boxes, boxes, mask, mask))), 0)
    except ImportError:
        return None
    except Exception as error:  # anything: Triton needs a C compiler and Python's headers
        _logger.warning("assignment without Triton's kernels, which fail: %s", error)
        return None
    return overlap_kernels
