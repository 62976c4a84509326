"""One image's share of a step's targets, as arrays to count and to draw.

Letters: A priors over all levels or RoIs, G ground truths of the image, L levels, N that are shown.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mmdet_lite.assignment.capture import Captured
from mmdet_lite.assignment.rows import Rows, Status, read_rows
from mmdet_lite.models.fitting import POINTS, PREDICTIONS
from mmdet_lite.models.priors.anchor_generator import prior_level
from mmdet_lite.models.targets import GT_LEVEL
from mmdet_lite.structures.boxes import (
    aligned_iou,
    inclusive_iou,
    outer_edges,
    pairwise_iou,
    side_distances,
)
from mmdet_lite.structures.samples import Batch


@dataclass
class Stage:
    """What one head, or one stage of it, learns from the image; nan where there is no number.

    Attributes:
        name: of the part of the model, as the config has it.
        kind: 'anchors', 'points' (only their centres matter to the assigner) or 'RoIs'.
        assigner: its class and settings.
        strides: L pixels; of RoIs those of the maps that they are pooled from.
        sizes: (L,) int64 priors or RoIs of each level.
        best_iou: (G,) largest IoU of any prior or RoI, or, of points, of what is predicted there.
        inside: (G,) int64 points strictly inside; None of anchors and RoIs.
        status, gt, score, weight: (N,) see :class:`Rows`.
        level: (N,) int64.
        boxes: (N, 4) the prior or RoI.
        iou: (N,) of the prior or RoI with its ground truth, where it has none the largest with
            any; nan of points.
        predicted: (N, 4) the box that is predicted there.
        predicted_iou: (N,) of that box with the ground truth.
        ids: (N,) int64 identity of the prior, or of that which a RoI came from.
        is_gt: (N,) bool, the RoI is a ground truth that joined the proposals.
    """

    name: str
    kind: str
    assigner: str
    strides: tuple[int, ...]
    sizes: np.ndarray
    best_iou: np.ndarray
    inside: np.ndarray | None
    status: np.ndarray
    gt: np.ndarray
    score: np.ndarray
    weight: np.ndarray
    level: np.ndarray
    boxes: np.ndarray
    iou: np.ndarray
    predicted: np.ndarray
    predicted_iou: np.ndarray
    ids: np.ndarray
    is_gt: np.ndarray

    @property
    def num_gts(self) -> int:
        """G."""
        return len(self.best_iou)

    @property
    def centers(self) -> np.ndarray:
        """(N, 2): x, y."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    @property
    def background(self) -> int:
        """Priors or RoIs that are background and, where there is a sampler, not picked by it."""
        listed = self.status if self.kind == "RoIs" else self.status[_first_of_each(self.ids)]
        return int(self.sizes.sum()) - len(listed)

    def count(self, status: Status) -> int:
        """Priors or RoIs of which this became."""
        return int((self.status == status).sum())

    def positives(self) -> np.ndarray:
        """(G, L) int64 positives of each ground truth on each level."""
        is_pos = self.status == Status.POSITIVE
        counts = np.zeros((self.num_gts, len(self.strides)), dtype=np.int64)
        np.add.at(counts, (self.gt[is_pos], self.level[is_pos]), 1)
        return counts

    def unsampled(self) -> np.ndarray:
        """(G,) int64 matches of each ground truth that the sampler left out."""
        return np.bincount(self.gt[self.status == Status.UNSAMPLED], minlength=self.num_gts)

    def weights(self) -> np.ndarray:
        """(G,) sums of the weights of each ground truth's positives."""
        is_pos = self.status == Status.POSITIVE
        return np.bincount(self.gt[is_pos], self.weight[is_pos], minlength=self.num_gts)


def _first_of_each(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_index=True)[1]


def read_stages(
    model: nn.Module, captured: list[Captured], batch: Batch, image: int
) -> list[Stage]:
    """The stages of one image of the batch, in the order of the step.

    Args:
        model: whose step was captured.
        captured: of :func:`mmdet_lite.assignment.capture.capture`.
        batch: that was given to it.
        image: its row of the batch.

    Raises:
        ValueError: the RoI head pools by other means than levels.
    """
    gt_boxes = batch.gt.boxes[image][batch.gt.valid[image]]
    of_rois = [one.decision.priors is None for one in captured]
    names = _names(of_rois)
    extractor = model.roi_head.bbox_roi_extractor if any(of_rois) else None
    stages = []
    for name, one, is_rois in zip(names, captured, of_rois, strict=True):
        all_of = _rois(one, image, extractor) if is_rois else _priors(one, batch, image)
        stages.append(_stage(name, one, all_of, gt_boxes, image))
    return stages


def _names(of_rois: list[bool]) -> list[str]:
    """As the config calls what makes targets."""
    dense = "rpn_head" if any(of_rois) else "bbox_head"
    if sum(of_rois) == 1:
        return ["roi_head" if is_rois else dense for is_rois in of_rois]
    number = np.cumsum(of_rois)
    return [
        f"roi_head, stage {number[i]}" if is_rois else dense for i, is_rois in enumerate(of_rois)
    ]


@dataclass
class _All:
    """The A priors or RoIs of an image, of which ``is_here`` are no padding."""

    boxes: Tensor
    ids: Tensor
    level: Tensor
    is_here: Tensor
    predicted: Tensor
    strides: tuple[int, ...]

    @property
    def sizes(self) -> Tensor:
        return torch.bincount(self.level[self.is_here], minlength=len(self.strides))


def _priors(one: Captured, batch: Batch, image: int) -> _All:
    decision, priors = one.decision, one.decision.priors
    last = torch.tensor(priors.level_sizes).cumsum(0) - 1
    return _All(
        boxes=decision.boxes,
        ids=decision.ids,
        level=priors.levels,
        is_here=(priors.cell_corners < batch.pad_shapes[image]).all(dim=-1),
        predicted=_nan_boxes(decision.boxes)
        if decision.predicted is None
        else decision.predicted[image].float(),
        strides=tuple(priors.strides[last.to(priors.strides.device), 0].tolist()),
    )


def _rois(one: Captured, image: int, extractor: nn.Module) -> _All:
    boxes = one.decision.boxes[image]
    if not hasattr(extractor, "map_levels"):
        raise ValueError(
            f"model.roi_head.bbox_roi_extractor is {type(extractor).__name__}, which does not tell "
            "by map_levels() from which level it pools a box; give it this method of RoIExtractor"
        )
    return _All(
        boxes=boxes,
        ids=one.decision.ids[image],
        level=extractor.map_levels(boxes),
        is_here=(boxes != 0).any(dim=-1),
        predicted=_nan_boxes(boxes),
        strides=tuple(extractor.featmap_strides),
    )


def _nan_boxes(boxes: Tensor) -> Tensor:
    return torch.full_like(boxes, torch.nan, dtype=torch.float32)


def _stage(name: str, one: Captured, all_of: _All, gt_boxes: Tensor, image: int) -> Stage:
    rows: Rows = read_rows(one, image, all_of.is_here)
    works_on = getattr(one.decision.assigner, "works_on", None)
    kind = "anchors" if works_on not in (POINTS, PREDICTIONS) else "points"
    kind = "RoIs" if one.decision.priors is None else kind
    boxes, predicted, ids = (x[rows.inds] for x in (all_of.boxes, all_of.predicted, all_of.ids))
    is_gt = (prior_level(ids) == GT_LEVEL) & (kind == "RoIs")
    own = torch.cat([gt_boxes, _nan_boxes(gt_boxes[:1].new_zeros(1, 4))])[rows.gt]  # -1: nan
    iou = boxes[:, 0] * torch.nan if kind == "points" else _overlaps(boxes, own, gt_boxes)
    columns = {
        **{key: value for key, value in vars(rows).items() if key != "inds"},
        "level": all_of.level[rows.inds],
        "boxes": boxes,
        "iou": iou,
        "predicted": predicted,
        "predicted_iou": aligned_iou(predicted, own),
        "ids": ids,
        "is_gt": is_gt,
    }
    is_other = all_of.is_here & (prior_level(all_of.ids) != GT_LEVEL)
    candidates = all_of.boxes
    if kind == "points":  # whose boxes nobody goes by, and by what they predict only some do
        candidates = all_of.predicted if works_on == PREDICTIONS else _nan_boxes(candidates)
    return Stage(
        name=name,
        kind=kind,
        assigner=describe(one.decision.assigner),
        strides=all_of.strides,
        sizes=all_of.sizes.cpu().numpy(),
        best_iou=_best_iou(gt_boxes, candidates[is_other]),
        inside=_num_inside(gt_boxes, all_of.boxes[all_of.is_here]) if kind == "points" else None,
        **{key: value.cpu().numpy() for key, value in columns.items()},
    )


def describe(assigner: object) -> str:
    """An assigner's class and those of its settings that are not the default, in a line."""
    parameters = inspect.signature(type(assigner)).parameters
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    settings = [
        f"{key}={value}"
        for key, value in vars(assigner).items()
        if isinstance(value, (bool, int, float, str, list, tuple))
        and key != "training"
        and defaults.get(key) != value
    ]
    return type(assigner).__name__ + (f"({', '.join(settings)})" if settings else "")


def _overlaps(boxes: Tensor, own: Tensor, gt_boxes: Tensor) -> Tensor:
    """IoU of boxes (N, 4) with their own ground truths (N, 4), or, where these are nan, the largest
    with any of (G, 4)."""
    overlap = inclusive_iou if _is_inclusive(boxes) else aligned_iou
    iou = overlap(boxes, own.to(boxes))
    if not len(gt_boxes):
        return iou
    with_any = overlap(boxes[:, None], gt_boxes.to(boxes)).amax(dim=1)
    return torch.where(own[:, 0].isnan(), with_any, iou)


def _is_inclusive(anchors: Tensor) -> bool:
    """Whether their corners are both pixels inside, which only float64 anchors' are."""
    return anchors.dtype == torch.float64


def _best_iou(gt_boxes: Tensor, boxes: Tensor) -> np.ndarray:
    """(G, 4) and (A, 4) to (G,)."""
    boxes = boxes[boxes.isfinite().all(dim=-1)]
    if not len(boxes):
        return np.full(len(gt_boxes), np.nan, np.float32)
    if _is_inclusive(boxes):
        gt_boxes, boxes = outer_edges(gt_boxes), outer_edges(boxes)
    best = [pairwise_iou(box[None], boxes.float()).amax() for box in gt_boxes.float()]
    return np.array([float(value) for value in best], np.float32)


def _num_inside(gt_boxes: Tensor, boxes: Tensor) -> np.ndarray:
    """(G, 4) and (A, 4) to (G,): how many of the centres are strictly inside."""
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    distances = side_distances(centers[None], gt_boxes[:, None])
    return (distances.amin(dim=-1) > 0).sum(dim=1).cpu().numpy()
