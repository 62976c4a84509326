"""YOLOv8's head: classes and distributions of distances, each from a branch of its own.

Letters: B images, L levels, A points over all levels, N candidates, K classes, R bins a side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmdet_lite.models.assigners.dynamic_assigner import DynamicAssigner
from mmdet_lite.models.assigners.max_iou_assigner import MaxIoUAssigner
from mmdet_lite.models.backbones.csp_blocks import conv_bn_silu
from mmdet_lite.models.class_rows import ClassRows
from mmdet_lite.models.coders.distribution_coder import DistributionCoder
from mmdet_lite.models.dense_heads.flatten import flatten_map
from mmdet_lite.models.fitting import (
    BOXES,
    CLASS_SCORES,
    DISTRIBUTIONS,
    OVERLAPS,
    POINTS,
    PREDICTIONS,
    check_fit,
)
from mmdet_lite.models.losses.reduce import batch_factor, check_normalizer, normalize
from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.postprocess import best_candidates, dense_nms
from mmdet_lite.models.priors.anchor_generator import AnchorGenerator, Priors
from mmdet_lite.models.targets import DenseTargets, dense_target
from mmdet_lite.ranges import check_positive, check_shares
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import clip_boxes
from mmdet_lite.structures.samples import Batch, Detections


@dataclass
class YOLOv8Output:
    """Raw output, all levels one after the other.

    Attributes:
        logits: (B, A, K), a sigmoid each.
        bins: (B, A, 4 * R) logits of the distances to the left, top, right and bottom side.
        priors: A squares, whose centres are the points.
    """

    logits: Tensor
    bins: Tensor
    priors: Priors


@MODELS.register_module()
class YOLOv8Head(nn.Module):
    """Class scores and distances to the sides of a box for every point in the middle of a cell.

    Args:
        num_classes: K.
        in_channels: channels of each feature map, finest first.
        strides: input pixels between points, one a level.
        assigner: decides which points are trained, on what.
        loss_cls: loss on sigmoids.
        loss_bbox: loss on boxes, which it gets in strides.
        loss_dfl: loss on distributions.
        num_bins: R; distances reach to ``R - 1`` strides.
        prior_scale: side in strides of the square around a point that an assigner by overlap takes
            for the prior.
        score_thr: detections must score more than this.
        nms_pre: candidates of each level, the best ones.
        multi_label: every (point, class) pair is a candidate; False: every point with its best
            class.
        nms: how duplicates are suppressed; None: ``NMS()``, class by class above an overlap of 0.5.
        max_per_img: detections an image.
        normalizer: losses are divided by what this process's positives have to score ('rank') or
            by the mean of that over all processes ('global').

    Raises:
        ValueError: not as many ``in_channels`` as ``strides``, a number is out of its range, or a
            part does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        strides: Sequence[int],
        assigner: DynamicAssigner | MaxIoUAssigner,
        loss_cls: nn.Module,
        loss_bbox: nn.Module,
        loss_dfl: nn.Module,
        num_bins: int = 16,
        prior_scale: float = 5.0,
        score_thr: float = 0.001,
        nms_pre: int = 1000,
        multi_label: bool = True,
        nms: NMS | SoftNMS | None = None,
        max_per_img: int = 300,
        normalizer: str = "rank",
    ):
        super().__init__()
        if len(in_channels) != len(strides):
            raise ValueError(
                f"YOLOv8Head: in_channels must be one a stride, got {list(in_channels)} for the "
                f"strides {list(strides)}"
            )
        check_fit(self, "assigner", assigner, (PREDICTIONS, OVERLAPS, POINTS))
        check_fit(self, "loss_cls", loss_cls, (CLASS_SCORES,))
        check_fit(self, "loss_bbox", loss_bbox, (BOXES,))
        check_fit(self, "loss_dfl", loss_dfl, (DISTRIBUTIONS,))
        check_shares(self, score_thr=score_thr)
        check_positive(self, num_classes=num_classes, num_bins=num_bins, prior_scale=prior_scale)
        check_positive(self, nms_pre=nms_pre, max_per_img=max_per_img)
        self.num_classes = num_classes
        self.in_channels = tuple(in_channels)
        self.assigner = assigner
        self.loss_cls = loss_cls
        self.loss_bbox = loss_bbox
        self.loss_dfl = loss_dfl
        self.score_thr = score_thr
        self.nms_pre = nms_pre
        self.multi_label = multi_label
        self.nms = nms or NMS()
        self.max_per_img = max_per_img
        self.normalizer = check_normalizer(self, normalizer)
        self.prior_generator = AnchorGenerator(strides, [1.0], [prior_scale], center_offset=0.5)
        self.bbox_coder = DistributionCoder(num_bins)

        finest = in_channels[0]
        reg_width = max(16, finest // 4, 4 * num_bins)
        cls_width = max(finest, min(num_classes, 100))
        self.reg_branches = nn.ModuleList(_branch(c, reg_width, 4 * num_bins) for c in in_channels)
        self.cls_branches = nn.ModuleList(_branch(c, cls_width, num_classes) for c in in_channels)
        self._init_biases(strides)

    def _init_biases(self, strides: Sequence[int]) -> None:
        """Scores as if an image of 640 pixels had five objects on each level."""
        for reg, cls, stride in zip(self.reg_branches, self.cls_branches, strides, strict=True):
            nn.init.ones_(reg[-1].bias)
            nn.init.constant_(cls[-1].bias, math.log(5 / self.num_classes / (640 / stride) ** 2))

    def class_rows(self) -> dict[str, ClassRows]:
        """Tensors that grow with K, by name."""
        names = [f"cls_branches.{level}.2" for level in range(len(self.cls_branches))]
        return {f"{name}.{part}": ClassRows(1) for name in names for part in ("weight", "bias")}

    def forward(self, feats: Sequence[Tensor]) -> YOLOv8Output:
        """Run the branches on L maps (B, Ci, Hi, Wi) and flatten the levels."""
        shapes = [tuple(feat.shape[-2:]) for feat in feats]
        return YOLOv8Output(*self.run_layers(feats), self.prior_generator(shapes, feats[0].device))

    def run_layers(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What :class:`YOLOv8Output` holds, without the points: what can be compiled."""
        logits, bins = [], []
        for feat, cls, reg in zip(feats, self.cls_branches, self.reg_branches, strict=True):
            logits.append(flatten_map(cls(feat), self.num_classes))
            bins.append(flatten_map(reg(feat), 4 * self.bbox_coder.num_bins))
        return torch.cat(logits, dim=1).float(), torch.cat(bins, dim=1).float()

    def loss(self, output: YOLOv8Output, batch: Batch) -> dict[str, Tensor]:
        """Losses of all points of the padded images.

        They are divided by the sum of what all points have to score, at least 1, by which positives
        weigh in the losses of boxes, and multiplied by the number of images.

        Args:
            output: of :meth:`forward`.
            batch: with ground truth.

        Returns:
            ``loss_cls``, ``loss_bbox`` and ``loss_dfl``, scalars.
        """
        priors, strides = output.priors, _strides(output.priors)
        predicted = self.bbox_coder.decode(priors.centers, strides, output.bins)
        targets = dense_target(
            priors,
            priors.valid_flags(batch.shapes, batch.pad_shapes),
            batch.gt,
            self.assigner,
            self.num_classes,
            output.logits,
            lambda: predicted,
        )
        total = normalize(targets.scores.sum(), self.normalizer, at_least=1)
        avg_factor = total / batch_factor(output.logits, self.normalizer)
        return {
            "loss_cls": self.loss_cls(
                output.logits.flatten(0, 1),
                targets.class_scores(self.num_classes).flatten(0, 1),
                targets.weights.flatten(),
                avg_factor,
            ),
            **self._box_losses(output, predicted, targets, avg_factor),
        }

    def _box_losses(
        self, output: YOLOv8Output, predicted: Tensor, targets: DenseTargets, avg_factor: Tensor
    ) -> dict[str, Tensor]:
        strides, weight = _strides(output.priors), targets.scores.flatten()
        predicted = torch.where(targets.is_pos[..., None], predicted, targets.boxes)
        distances = self.bbox_coder.encode(output.priors.centers, strides, targets.boxes)
        return {
            "loss_bbox": self.loss_bbox(
                (predicted / strides).flatten(0, 1),
                (targets.boxes / strides).flatten(0, 1),
                weight,
                avg_factor,
            ),
            "loss_dfl": self.loss_dfl(
                output.bins.flatten(0, 1), distances.flatten(0, 1), weight, avg_factor
            ),
        }

    @torch.no_grad()
    def predict(self, output: YOLOv8Output, shapes: Tensor) -> Detections:
        """Final boxes.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Detections without masks.
        """
        priors = output.priors
        scores, point, labels = best_candidates(
            output.logits.sigmoid(), priors.level_sizes, self.nms_pre, self.multi_label
        )  # (B, N)
        bins = output.bins.gather(1, point[..., None].expand(-1, -1, output.bins.shape[2]))
        boxes = self.bbox_coder.decode(priors.centers[point], _strides(priors)[point], bins)
        boxes = clip_boxes(boxes, shapes)
        valid = scores > self.score_thr
        return dense_nms(boxes, scores, labels, valid, self.nms, self.max_per_img, self.num_classes)

    @torch.no_grad()
    def predict_all(self, output: YOLOv8Output, shapes: Tensor) -> tuple[Tensor, Tensor]:
        """Every point's box and scores, for an NMS elsewhere.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Boxes (B, A, 4) and class scores (B, A, K).
        """
        priors = output.priors
        boxes = self.bbox_coder.decode(priors.centers, _strides(priors), output.bins)
        return clip_boxes(boxes, shapes), output.logits.sigmoid()


def _branch(in_channels: int, width: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        conv_bn_silu(in_channels, width, 3),
        conv_bn_silu(width, width, 3),
        nn.Conv2d(width, out_channels, 1),
    )


def _strides(priors: Priors) -> Tensor:
    """(A, 1) pixels of a bin."""
    return priors.strides[:, :1]
