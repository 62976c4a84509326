"""NanoDet-Plus's head: class scores that say how good the box is, and distances to its sides.

Of generalized focal loss (Li et al. 2020); its numbers are those of the NanoDet-Plus release.
Letters: B images, L levels, A points over all levels, K classes, S = 4 * bins.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmdet_lite.models.assigners.dynamic_assigner import DynamicAssigner
from mmdet_lite.models.class_rows import ClassRows
from mmdet_lite.models.coders.distribution_coder import DistributionCoder
from mmdet_lite.models.dense_heads.flatten import flatten_map
from mmdet_lite.models.dense_heads.tower import init_tower
from mmdet_lite.models.fitting import (
    BOXES,
    CLASS_SCORES,
    DISTRIBUTIONS,
    FROM_POINTS,
    OVERLAPS,
    POINTS,
    PREDICTIONS,
    check_fit,
)
from mmdet_lite.models.losses.reduce import check_normalizer, normalize
from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.postprocess import multiclass_nms
from mmdet_lite.models.priors.anchor_generator import AnchorGenerator, Priors
from mmdet_lite.models.separable_conv import separable_conv
from mmdet_lite.models.targets import DenseTargets, dense_target
from mmdet_lite.ranges import check_positive, check_shares
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import clip_boxes
from mmdet_lite.structures.samples import Batch, Detections


@dataclass
class NanoDetOutput:
    """Raw output, all levels one after the other.

    Attributes:
        logits: (B, A, K), a sigmoid each.
        sides: (B, A, S) logits of the distances to the left, top, right and bottom side.
        priors: A boxes, whose centres are the points.
    """

    logits: Tensor
    sides: Tensor
    priors: Priors


@MODELS.register_module()
class NanoDetPlusHead(nn.Module):
    """Class scores and distributions of distances for the upper left corner of every cell.

    Args:
        num_classes: K.
        in_channels: channels of the feature maps.
        strides: input pixels between points, one a level.
        bbox_coder: distances to the sides as distributions.
        assigner: decides which points are trained, on what.
        loss_cls: loss on sigmoids that have to score an IoU.
        loss_bbox: loss on boxes.
        loss_dfl: loss on distributions.
        feat_channels: of the convolutions in front of the outputs.
        stacked_convs: how many of these each level has; they are its own.
        score_thr: detections must score more than this.
        nms: how duplicates are suppressed; None: ``NMS(0.6)``.
        max_per_img: detections an image.
        normalizer: losses are divided by the mean over all processes ('global', the original's
            rule) or by what this process has ('rank').

    Raises:
        ValueError: a number is out of its range, or a part does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        strides: Sequence[int],
        bbox_coder: DistributionCoder,
        assigner: DynamicAssigner,
        loss_cls: nn.Module,
        loss_bbox: nn.Module,
        loss_dfl: nn.Module,
        feat_channels: int = 96,
        stacked_convs: int = 2,
        score_thr: float = 0.05,
        nms: NMS | SoftNMS | None = None,
        max_per_img: int = 100,
        normalizer: str = "global",
    ):
        super().__init__()
        check_fit(self, "bbox_coder", bbox_coder, (FROM_POINTS,))
        check_fit(self, "assigner", assigner, (PREDICTIONS, OVERLAPS, POINTS))
        check_fit(self, "loss_cls", loss_cls, (CLASS_SCORES,))
        check_fit(self, "loss_bbox", loss_bbox, (BOXES,))
        check_fit(self, "loss_dfl", loss_dfl, (DISTRIBUTIONS,))
        check_shares(self, score_thr=score_thr)
        check_positive(self, num_classes=num_classes, max_per_img=max_per_img)
        self.num_classes = num_classes
        self.in_channels = in_channels
        # A square of one cell around each point.
        self.prior_generator = AnchorGenerator(strides, [1.0], scales=[1.0])
        self.bbox_coder = bbox_coder
        self.assigner = assigner
        self.loss_cls = loss_cls
        self.loss_bbox = loss_bbox
        self.loss_dfl = loss_dfl
        self.score_thr = score_thr
        self.nms = nms or NMS(iou_thr=0.6)
        self.max_per_img = max_per_img
        self.normalizer = check_normalizer(self, normalizer)

        widths = [in_channels] + [feat_channels] * stacked_convs
        self.convs = nn.ModuleList(
            nn.Sequential(*(separable_conv(widths[i], feat_channels) for i in range(stacked_convs)))
            for _ in strides
        )
        self.conv_cls = nn.ModuleList(nn.Conv2d(widths[-1], num_classes, 1) for _ in strides)
        num_logits = 4 * bbox_coder.num_bins
        self.conv_reg = nn.ModuleList(nn.Conv2d(widths[-1], num_logits, 1) for _ in strides)
        init_tower(self)
        for conv in [*self.conv_cls, *self.conv_reg]:
            nn.init.constant_(conv.bias, -math.log(99))  # a score of 0.01

    def class_rows(self) -> dict[str, ClassRows]:
        """Tensors that grow with K, by name."""
        levels = range(len(self.conv_cls))
        names = [f"conv_cls.{i}.{kind}" for i in levels for kind in ("weight", "bias")]
        return dict.fromkeys(names, ClassRows(1))

    def forward(self, feats: Sequence[Tensor]) -> NanoDetOutput:
        """Run the layers on L maps (B, C, Hi, Wi) and flatten the levels."""
        shapes = [tuple(feat.shape[-2:]) for feat in feats]
        return NanoDetOutput(*self.run_layers(feats), self.prior_generator(shapes, feats[0].device))

    def run_layers(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What :class:`NanoDetOutput` holds, without the points: what can be compiled."""
        logits, sides = [], []
        for level, (feat, convs) in enumerate(zip(feats, self.convs, strict=True)):
            hidden = convs(feat)
            logits.append(flatten_map(self.conv_cls[level](hidden), self.num_classes))
            sides.append(flatten_map(self.conv_reg[level](hidden), 4 * self.bbox_coder.num_bins))
        return torch.cat(logits, dim=1).float(), torch.cat(sides, dim=1).float()

    def loss(
        self,
        output: NanoDetOutput,
        batch: Batch,
        aux: NanoDetOutput | None = None,
        aux_assigns: bool = True,
    ) -> dict[str, Tensor]:
        """Losses of all points.

        Args:
            output: of :meth:`forward`.
            batch: with ground truth.
            aux: output of an auxiliary head for the same points, which learns the same targets.
            aux_assigns: it is this one's predictions that decide the targets, if there is one.

        Returns:
            ``loss_cls``, ``loss_bbox`` and ``loss_dfl``, scalars; of the auxiliary head with 'aux_'
            in front.
        """
        targets = self.targets(aux if aux is not None and aux_assigns else output, batch)
        losses = self._compare(output, targets)
        if aux is None:
            return losses
        of_aux = self._compare(aux, targets)
        return losses | {f"aux_{name}": value for name, value in of_aux.items()}

    def targets(self, output: NanoDetOutput, batch: Batch) -> DenseTargets:
        """What all points have to predict, decided by these predictions."""
        priors = output.priors
        return dense_target(
            priors,
            priors.valid_flags(batch.shapes, batch.pad_shapes),
            batch.gt,
            self.assigner,
            self.num_classes,
            output.logits,
            lambda: self._decode(output),
        )

    def _decode(self, output: NanoDetOutput) -> Tensor:
        priors = output.priors
        return self.bbox_coder.decode(priors.centers, priors.strides[:, :1], output.sides)

    def _compare(self, output: NanoDetOutput, targets: DenseTargets) -> dict[str, Tensor]:
        """A positive weighs in the box losses as much as its best class scores."""
        is_pos, priors = targets.is_pos, output.priors
        weight = torch.where(is_pos, output.logits.detach().sigmoid().amax(dim=-1), 0)  # (B, A)
        num_pos = normalize(is_pos.sum().float(), self.normalizer).clamp(min=1)
        sum_weight = normalize(weight.sum(), self.normalizer).clamp(min=1)
        boxes = torch.where(is_pos[..., None], self._decode(output), targets.boxes)
        distances = self.bbox_coder.encode(priors.centers, priors.strides[:, :1], targets.boxes)
        return {
            "loss_cls": self.loss_cls(
                output.logits.flatten(0, 1),
                targets.class_scores(self.num_classes).flatten(0, 1),
                targets.weights.flatten(),
                num_pos,
            ),
            "loss_bbox": self.loss_bbox(
                boxes.flatten(0, 1), targets.boxes.flatten(0, 1), weight.flatten(), sum_weight
            ),
            "loss_dfl": self.loss_dfl(
                output.sides.flatten(0, 1), distances.flatten(0, 1), weight.flatten(), sum_weight
            ),
        }

    @torch.no_grad()
    def predict(self, output: NanoDetOutput, shapes: Tensor) -> Detections:
        """Final boxes.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Detections without masks.
        """
        boxes, scores = self.predict_all(output, shapes)
        boxes = boxes[:, :, None]  # shared by the classes
        valid = torch.ones_like(scores[..., 0], dtype=torch.bool)
        return multiclass_nms(boxes, scores, valid, self.score_thr, self.nms, self.max_per_img)

    @torch.no_grad()
    def predict_all(self, output: NanoDetOutput, shapes: Tensor) -> tuple[Tensor, Tensor]:
        """Every point's box and scores, for an NMS elsewhere.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Boxes (B, A, 4) and class scores (B, A, K).
        """
        return clip_boxes(self._decode(output), shapes), output.logits.sigmoid()
