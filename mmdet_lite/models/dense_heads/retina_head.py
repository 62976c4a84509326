"""RetinaNet's head (Lin et al. 2017, "Focal Loss for Dense Object Detection").

Letters: B images, L levels, A anchors over all levels, N candidates, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmdet_lite.models.assigners.dynamic_assigner import DynamicAssigner
from mmdet_lite.models.assigners.max_iou_assigner import MaxIoUAssigner
from mmdet_lite.models.class_rows import ClassRows
from mmdet_lite.models.dense_heads.flatten import flatten_map
from mmdet_lite.models.dense_heads.tower import conv_tower, init_tower
from mmdet_lite.models.fitting import (
    CLASS_RANKING,
    CLASS_SCORES,
    DELTAS,
    FROM_ANCHORS,
    INCLUSIVE_OVERLAPS,
    OVERLAPS,
    PREDICTIONS,
    check_fit,
)
from mmdet_lite.models.losses.reduce import check_normalizer, normalize
from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.postprocess import best_candidates, dense_nms
from mmdet_lite.models.priors.anchor_generator import AnchorGenerator, Priors
from mmdet_lite.models.targets import dense_target
from mmdet_lite.ranges import check_not_negative, check_positive, check_shares
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch, Detections


@dataclass
class DenseOutput:
    """Raw output, all levels one after the other.

    Attributes:
        logits: (B, A, K), a sigmoid each.
        deltas: (B, A, 4).
        priors: the A anchors.
    """

    logits: Tensor
    deltas: Tensor
    priors: Priors


@MODELS.register_module()
class RetinaHead(nn.Module):
    """Class scores and box deltas for every anchor, from two towers of convolutions.

    Args:
        num_classes: K.
        in_channels: channels of the feature maps.
        anchor_generator: the anchors.
        bbox_coder: encodes boxes relative to anchors.
        assigner: decides which anchors are trained, on what; all of them are, but the ignored ones.
        loss_cls, loss_bbox: losses; the latter compares deltas.
        stacked_convs, feat_channels: 3x3 convolutions of each tower and their channels.
        norm_cfg: normalisation of the towers, in mmcv's form; None: none.
        allowed_border: anchors that reach further out of the image than this are not trained;
            negative: all are.
        pos_weight: weight of positives in the classification loss.
        score_thr: detections must score more than this; or one value for each level.
        nms_pre: candidates of each level, the best (anchor, class) pairs.
        min_bbox_size: boxes must be wider and higher than this; negative: not tested.
        nms: how duplicates are suppressed; None: ``NMS()``, class by class above an overlap of 0.5.
        max_per_img: detections an image.
        normalizer: losses are divided by the positives of this process ('rank') or by the mean over
            all processes ('global').
        min_pos_per_img: positives that an image counts for in that number at least: 1 is
            MMDetection's; 0 counts what there are, at least one a batch (AP-loss's).

    Raises:
        ValueError: not as many score thresholds as levels, a number is out of its range, or a part
            does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        anchor_generator: AnchorGenerator,
        bbox_coder: nn.Module,
        assigner: MaxIoUAssigner | DynamicAssigner,
        loss_cls: nn.Module,
        loss_bbox: nn.Module,
        stacked_convs: int = 4,
        feat_channels: int = 256,
        norm_cfg: dict | None = None,
        allowed_border: float = -1,
        pos_weight: float = 1.0,
        score_thr: float | Sequence[float] = 0.05,
        nms_pre: int = 1000,
        min_bbox_size: float = 0,
        nms: NMS | SoftNMS | None = None,
        max_per_img: int = 100,
        normalizer: str = "rank",
        min_pos_per_img: int = 1,
    ):
        super().__init__()
        is_inclusive = getattr(anchor_generator, "inclusive", False)
        overlaps = (INCLUSIVE_OVERLAPS,) if is_inclusive else ()
        check_fit(self, "assigner", assigner, (OVERLAPS, *overlaps, PREDICTIONS))
        check_fit(self, "bbox_coder", bbox_coder, (FROM_ANCHORS,))
        check_fit(self, "loss_cls", loss_cls, (CLASS_SCORES, CLASS_RANKING))
        check_fit(self, "loss_bbox", loss_bbox, (DELTAS,))
        check_positive(self, num_classes=num_classes, nms_pre=nms_pre, max_per_img=max_per_img)
        check_not_negative(self, pos_weight=pos_weight, min_pos_per_img=min_pos_per_img)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.anchor_generator = anchor_generator
        self.bbox_coder = bbox_coder
        self.assigner = assigner
        self.loss_cls = loss_cls
        self.loss_bbox = loss_bbox
        self.allowed_border = allowed_border
        self.pos_weight = pos_weight
        self.score_thrs = _one_a_level(score_thr, len(anchor_generator.strides))
        for one in self.score_thrs:
            check_shares(self, score_thr=one)
        self.nms_pre = nms_pre
        self.min_bbox_size = min_bbox_size
        self.nms = nms or NMS()
        self.max_per_img = max_per_img
        self.normalizer = check_normalizer(self, normalizer)
        self.min_pos_per_img = min_pos_per_img

        num_anchors = anchor_generator.num_base_priors
        self.cls_convs = conv_tower(in_channels, feat_channels, stacked_convs, norm_cfg)
        self.reg_convs = conv_tower(in_channels, feat_channels, stacked_convs, norm_cfg)
        width = feat_channels if stacked_convs else in_channels
        self.retina_cls = nn.Conv2d(width, num_anchors * num_classes, 3, padding=1)
        self.retina_reg = nn.Conv2d(width, num_anchors * 4, 3, padding=1)
        init_tower(self)
        nn.init.constant_(self.retina_cls.bias, -math.log(99))  # a score of 0.01: sec. 4.1, pi

    def class_rows(self) -> dict[str, ClassRows]:
        """Tensors that grow with K, by name."""
        layout = ClassRows(1, groups=self.anchor_generator.num_base_priors)
        return dict.fromkeys(("retina_cls.weight", "retina_cls.bias"), layout)

    def forward(self, feats: Sequence[Tensor]) -> DenseOutput:
        """Run the layers on L maps (B, C, Hi, Wi) and flatten the levels."""
        logits, deltas = self.run_layers(feats)
        shapes = [tuple(feat.shape[-2:]) for feat in feats]
        return DenseOutput(logits, deltas, self.anchor_generator(shapes, feats[0].device))

    def run_layers(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, A, K) and deltas (B, A, 4), without the anchors: what can be compiled."""
        logits, deltas = [], []
        for feat in feats:
            scored = self.retina_cls(self.cls_convs(feat))
            logits.append(flatten_map(scored, self.num_classes))
            deltas.append(flatten_map(self.retina_reg(self.reg_convs(feat)), 4))
        return torch.cat(logits, dim=1).float(), torch.cat(deltas, dim=1).float()

    def loss(self, output: DenseOutput, batch: Batch) -> dict[str, Tensor]:
        """Losses of all anchors that are not ignored.

        Both are divided by the number of positives, counted as at least ``min_pos_per_img`` an
        image. Where the assigner grades positives, a positive counts, and weighs in the box loss,
        as much as it has to score.

        Args:
            output: of :meth:`forward`.
            batch: with ground truth.

        Returns:
            ``loss_cls`` and ``loss_bbox``, scalars.
        """
        priors = output.priors
        targets = dense_target(
            priors,
            priors.valid_flags(batch.shapes, batch.pad_shapes, self.allowed_border),
            batch.gt,
            self.assigner,
            self.num_classes,
            output.logits,
            lambda: self.bbox_coder.decode(priors.boxes, output.deltas),
            self.pos_weight,
        )
        num_pos = targets.scores.sum(dim=1).clamp(min=self.min_pos_per_img).sum()
        avg_factor = normalize(num_pos, self.normalizer).clamp(min=1)
        scores = targets.class_scores(self.num_classes).flatten(0, 1)
        # Pairs that are not positive get a harmless box: the log of an empty side is not finite.
        matched = torch.where(targets.is_pos[..., None], priors.boxes, targets.boxes)
        target_deltas = self.bbox_coder.encode(matched, targets.boxes)
        return {
            "loss_cls": self.loss_cls(
                output.logits.flatten(0, 1), scores, targets.weights.flatten(), avg_factor
            ),
            "loss_bbox": self.loss_bbox(
                output.deltas.flatten(0, 1),
                target_deltas.flatten(0, 1),
                targets.scores.flatten(),
                avg_factor,
            ),
        }

    @torch.no_grad()
    def predict(self, output: DenseOutput, shapes: Tensor) -> Detections:
        """Final boxes.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Detections without masks.
        """
        priors = output.priors
        scores, anchor, labels = best_candidates(
            output.logits.sigmoid(), priors.level_sizes, self.nms_pre
        )  # (B, N)
        deltas = output.deltas.gather(1, anchor[..., None].expand(-1, -1, 4))
        boxes = self.bbox_coder.decode(priors.boxes[anchor], deltas, shapes)
        valid = scores > self._score_thr(priors.level_sizes, scores)
        if self.min_bbox_size >= 0:
            valid &= (boxes[..., 2:] - boxes[..., :2] > self.min_bbox_size).all(-1)
        return dense_nms(boxes, scores, labels, valid, self.nms, self.max_per_img, self.num_classes)

    @torch.no_grad()
    def predict_all(self, output: DenseOutput, shapes: Tensor) -> tuple[Tensor, Tensor]:
        """Every anchor's box and scores, for an NMS elsewhere.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Boxes (B, A, 4) and class scores (B, A, K).
        """
        boxes = self.bbox_coder.decode(output.priors.boxes, output.deltas, shapes)
        return boxes, output.logits.sigmoid()

    def _score_thr(self, level_sizes: Sequence[int], scores: Tensor) -> Tensor:
        """The threshold of each of the N candidates."""
        counts = [min(self.nms_pre, size * self.num_classes) for size in level_sizes]
        thrs = zip(counts, self.score_thrs, strict=True)
        return torch.cat([scores.new_full((count,), thr) for count, thr in thrs])


def _one_a_level(score_thr: float | Sequence[float], num_levels: int) -> list[float]:
    if not isinstance(score_thr, Sequence):
        return [score_thr] * num_levels
    if len(score_thr) != num_levels:
        raise ValueError(
            f"RetinaHead: score_thr must be a number or one for each of the {num_levels} levels, "
            f"got {list(score_thr)}"
        )
    return list(score_thr)
