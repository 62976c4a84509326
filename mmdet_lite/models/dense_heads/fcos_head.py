"""FCOS's head (Tian et al. 2019), as a detector's or in place of a region proposal network.

Letters: B images, L levels, A points over all levels, N candidates, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmdet_lite.models.assigners.fcos_assigner import FCOSAssigner
from mmdet_lite.models.class_rows import ClassRows
from mmdet_lite.models.dense_heads.flatten import flatten_map
from mmdet_lite.models.dense_heads.tower import conv_tower, init_tower
from mmdet_lite.models.fitting import (
    BOXES,
    CLASS_RANKING,
    CLASS_SCORES,
    OVERLAPS,
    POINTS,
    PREDICTIONS,
    SINGLE_SCORES,
    check_fit,
)
from mmdet_lite.models.losses.reduce import check_normalizer, normalize
from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.postprocess import ProposalSelector, best_candidates, dense_nms
from mmdet_lite.models.priors.anchor_generator import AnchorGenerator, Priors
from mmdet_lite.models.targets import dense_target
from mmdet_lite.ranges import check_positive, check_shares
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import boxes_around, clip_boxes, side_distances
from mmdet_lite.structures.samples import Batch, Detections, Proposals


@dataclass
class FCOSOutput:
    """Raw output, all levels one after the other.

    Attributes:
        logits: (B, A, K), a sigmoid each.
        distances: (B, A, 4) from the point to the left, top, right and bottom side, in pixels.
        centerness: (B, A) logits.
        priors: A boxes, whose centres are the points.
    """

    logits: Tensor
    distances: Tensor
    centerness: Tensor
    priors: Priors


class Scale(nn.Module):
    """A learnt factor."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same."""
        return x * self.scale


@MODELS.register_module()
class FCOSHead(nn.Module):
    """Class scores, distances to the sides of a box and centerness for every point.

    Args:
        num_classes: K; 1 in place of a region proposal network, to which all objects are one class.
        in_channels: channels of the feature maps.
        strides: input pixels between points, one a level; points are in the middle of their cell.
        loss_cls: loss on sigmoids, with background as the label K.
        loss_bbox: loss on boxes.
        loss_centerness: loss on a sigmoid.
        assigner: decides which points are trained, on what; None: ``FCOSAssigner()``.
        stacked_convs, feat_channels: 3x3 convolutions of each tower and their channels.
        num_groups: of the towers' group normalisation.
        train_selector, test_selector: how proposals are chosen; not needed in a one-stage detector.
        score_thr, nms_pre, min_bbox_size, nms, max_per_img: see :class:`RetinaHead`.
        normalizer: losses are divided by the mean over all processes ('global', FCOS's own rule)
            or by what this process has ('rank').

    Raises:
        ValueError: a number is out of its range, or a part does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        strides: Sequence[int],
        loss_cls: nn.Module,
        loss_bbox: nn.Module,
        loss_centerness: nn.Module,
        assigner: FCOSAssigner | None = None,
        stacked_convs: int = 4,
        feat_channels: int = 256,
        num_groups: int = 32,
        train_selector: ProposalSelector | None = None,
        test_selector: ProposalSelector | None = None,
        score_thr: float = 0.05,
        nms_pre: int = 1000,
        min_bbox_size: float = 0,
        nms: NMS | SoftNMS | None = None,
        max_per_img: int = 100,
        normalizer: str = "global",
    ):
        super().__init__()
        assigner = assigner or FCOSAssigner()
        check_fit(self, "assigner", assigner, (POINTS, PREDICTIONS, OVERLAPS))
        check_fit(self, "loss_cls", loss_cls, (CLASS_SCORES, CLASS_RANKING))
        check_fit(self, "loss_bbox", loss_bbox, (BOXES,))
        check_fit(self, "loss_centerness", loss_centerness, (SINGLE_SCORES,))
        check_shares(self, score_thr=score_thr)
        check_positive(self, num_classes=num_classes, nms_pre=nms_pre, max_per_img=max_per_img)
        self.num_classes = num_classes
        self.in_channels = in_channels
        # A square of one cell around each point.
        self.prior_generator = AnchorGenerator(strides, [1.0], scales=[1.0], center_offset=0.5)
        self.assigner = assigner
        self.loss_cls = loss_cls
        self.loss_bbox = loss_bbox
        self.loss_centerness = loss_centerness
        self.train_selector = train_selector
        self.test_selector = test_selector
        self.score_thr = score_thr
        self.nms_pre = nms_pre
        self.min_bbox_size = min_bbox_size
        self.nms = nms or NMS()
        self.max_per_img = max_per_img
        self.normalizer = check_normalizer(self, normalizer)

        norm_cfg = {"type": "GN", "num_groups": num_groups, "requires_grad": True}
        self.cls_convs = conv_tower(in_channels, feat_channels, stacked_convs, norm_cfg)
        self.reg_convs = conv_tower(in_channels, feat_channels, stacked_convs, norm_cfg)
        self.conv_cls = nn.Conv2d(feat_channels, num_classes, 3, padding=1)
        self.conv_reg = nn.Conv2d(feat_channels, 4, 3, padding=1)
        self.conv_centerness = nn.Conv2d(feat_channels, 1, 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in strides)
        init_tower(self)
        nn.init.constant_(self.conv_cls.bias, -math.log(99))  # a score of 0.01

    def class_rows(self) -> dict[str, ClassRows]:
        """Tensors that grow with K, by name."""
        if self.num_classes == 1:
            return {}
        return dict.fromkeys(("conv_cls.weight", "conv_cls.bias"), ClassRows(1))

    def forward(self, feats: Sequence[Tensor]) -> FCOSOutput:
        """Run the layers on L maps (B, C, Hi, Wi) and flatten the levels."""
        shapes = [tuple(feat.shape[-2:]) for feat in feats]
        return FCOSOutput(*self.run_layers(feats), self.prior_generator(shapes, feats[0].device))

    def run_layers(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """What :class:`FCOSOutput` holds, without the points: what can be compiled."""
        logits, distances, centerness = [], [], []
        for feat, scale in zip(feats, self.scales, strict=True):
            hidden = self.cls_convs(feat)
            logits.append(flatten_map(self.conv_cls(hidden), self.num_classes))
            centerness.append(flatten_map(self.conv_centerness(hidden), 1)[..., 0])
            sides = scale(self.conv_reg(self.reg_convs(feat)))
            distances.append(flatten_map(sides, 4).float().exp())
        return (
            torch.cat(logits, dim=1).float(),
            torch.cat(distances, dim=1),
            torch.cat(centerness, dim=1).float(),
        )

    def loss(self, output: FCOSOutput, batch: Batch) -> dict[str, Tensor]:
        """Losses of all points.

        Classification and centerness are divided by the number of positives, the box loss, in which
        a positive weighs as much as its centerness, by the sum of these.

        Args:
            output: of :meth:`forward`.
            batch: with ground truth.

        Returns:
            ``loss_cls``, ``loss_bbox`` and ``loss_centerness``, scalars.
        """
        points = output.priors.centers
        targets = dense_target(
            output.priors,
            None,
            batch.gt,
            self.assigner,
            self.num_classes,
            output.logits,
            lambda: boxes_around(points, output.distances),
        )
        is_pos, boxes = targets.is_pos, targets.boxes
        target = self._target_centerness(points, boxes, is_pos)
        num_pos = normalize(is_pos.sum().float(), self.normalizer).clamp(min=1)
        sum_target = normalize(target.sum(), self.normalizer).clamp(min=1e-6)
        predicted = boxes_around(points, output.distances)
        predicted = torch.where(is_pos[..., None], predicted, boxes).flatten(0, 1)
        logits, weight = output.logits.flatten(0, 1), is_pos.float()
        scores = targets.class_scores(self.num_classes).flatten(0, 1)
        return {
            "loss_cls": self.loss_cls(logits, scores, targets.weights.flatten(), num_pos),
            "loss_bbox": self.loss_bbox(
                predicted, boxes.flatten(0, 1), target.flatten(), sum_target
            ),
            "loss_centerness": self.loss_centerness(output.centerness, target, weight, num_pos),
        }

    @staticmethod
    def _target_centerness(points: Tensor, boxes: Tensor, is_pos: Tensor) -> Tensor:
        """Eq. 3 of the paper, (B, A); 0 where not positive."""
        sides = torch.where(
            is_pos[..., None], side_distances(points.expand_as(boxes[..., :2]), boxes), 1
        )
        opposite = torch.stack([sides[..., 0::2], sides[..., 1::2]], dim=-2)  # (B, A, 2, 2)
        ratio = opposite.amin(dim=-1) / opposite.amax(dim=-1)
        return torch.where(is_pos, ratio.prod(dim=-1).sqrt(), 0)

    @torch.no_grad()
    def propose(self, output: FCOSOutput, shapes: Tensor, training: bool) -> Proposals:
        """Boxes for the RoI head; no gradient flows through them.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width).
            training: which selector to use.
        """
        selector = self.train_selector if training else self.test_selector
        scores, point, _, boxes = self._candidates(output, shapes, selector.nms_pre)
        one_group = [point.shape[1]]  # all levels compete
        return selector.keep(boxes, scores, one_group, output.priors.ids[point])

    @torch.no_grad()
    def predict(self, output: FCOSOutput, shapes: Tensor) -> Detections:
        """Final boxes of a one-stage detector.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Detections without masks.
        """
        scores, _, labels, boxes = self._candidates(output, shapes, self.nms_pre, self.score_thr)
        valid = scores >= 0
        if self.min_bbox_size >= 0:
            valid &= (boxes[..., 2:] - boxes[..., :2] > self.min_bbox_size).all(-1)
        return dense_nms(boxes, scores, labels, valid, self.nms, self.max_per_img, self.num_classes)

    @torch.no_grad()
    def predict_all(self, output: FCOSOutput, shapes: Tensor) -> tuple[Tensor, Tensor]:
        """Every point's box and scores, for an NMS elsewhere.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Boxes (B, A, 4) and class scores (B, A, K).
        """
        boxes = boxes_around(output.priors.centers, output.distances)
        scores = output.logits.sigmoid() * output.centerness.sigmoid()[..., None]
        return clip_boxes(boxes, shapes), scores

    def _candidates(
        self, output: FCOSOutput, shapes: Tensor, count: int, score_thr: float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The best (point, class) pairs of each level by class score.

        Returns:
            Scores times centerness (B, N), -1 where the class score is not above the threshold;
            points, as indices into A, and labels (B, N); boxes (B, N, 4).
        """
        best, point, labels = best_candidates(
            output.logits.sigmoid(), output.priors.level_sizes, count
        )
        distances = output.distances.gather(1, point[..., None].expand(-1, -1, 4))
        boxes = clip_boxes(boxes_around(output.priors.centers[point], distances), shapes)
        weighted = best * output.centerness.sigmoid().gather(1, point)
        return torch.where(best > score_thr, weighted, -1), point, labels, boxes
