"""Region proposal network. Letters: B images, L levels, A anchors over all levels, S sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmdet_lite.models.assigners.max_iou_assigner import MaxIoUAssigner
from mmdet_lite.models.dense_heads.flatten import flatten_map
from mmdet_lite.models.dense_heads.tower import conv_tower, init_tower
from mmdet_lite.models.fitting import (
    DELTAS,
    FROM_ANCHORS,
    INCLUSIVE_OVERLAPS,
    OVERLAPS,
    SINGLE_SCORES,
    check_fit,
)
from mmdet_lite.models.losses.reduce import check_normalizer, normalize
from mmdet_lite.models.postprocess import ProposalSelector
from mmdet_lite.models.priors.anchor_generator import AnchorGenerator, Priors
from mmdet_lite.models.targets import anchor_target
from mmdet_lite.ranges import check_not_negative
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Batch, Proposals


@dataclass
class RPNOutput:
    """Raw output, all levels one after the other.

    Attributes:
        logits: (B, A) objectness.
        deltas: (B, A, 4).
        priors: the A anchors.
    """

    logits: Tensor
    deltas: Tensor
    priors: Priors


@MODELS.register_module()
class RPNHead(nn.Module):
    """Objectness and box deltas for every anchor (Ren et al. 2015, sec. 3.1).

    Args:
        in_channels: channels of the feature maps.
        feat_channels: channels of the hidden convolutions.
        num_convs: hidden 3x3 convolutions.
        anchor_generator: the anchors.
        bbox_coder: encodes boxes relative to anchors.
        assigner, sampler: decide which anchors are trained, on what.
        loss_cls, loss_bbox: losses; the latter compares deltas.
        train_selector, test_selector: how proposals are chosen, in training and at inference.
        allowed_border: anchors that reach further out of the image than this are not trained;
            negative: all are.
        pos_weight: weight of positives in the classification loss.
        normalizer: losses are divided by the samples of this process ('rank') or by the mean over
            all processes ('global').

    Raises:
        ValueError: a number is out of its range, or a part does not fit.
    """

    def __init__(
        self,
        in_channels: int,
        anchor_generator: AnchorGenerator,
        bbox_coder: nn.Module,
        assigner: MaxIoUAssigner,
        sampler: nn.Module,
        loss_cls: nn.Module,
        loss_bbox: nn.Module,
        train_selector: ProposalSelector,
        test_selector: ProposalSelector,
        feat_channels: int = 256,
        num_convs: int = 1,
        allowed_border: float = -1,
        pos_weight: float = 1.0,
        normalizer: str = "rank",
    ):
        super().__init__()
        is_inclusive = getattr(anchor_generator, "inclusive", False)
        overlaps = (INCLUSIVE_OVERLAPS,) if is_inclusive else ()
        check_fit(self, "assigner", assigner, (OVERLAPS, *overlaps))
        check_fit(self, "bbox_coder", bbox_coder, (FROM_ANCHORS,))
        check_fit(self, "loss_cls", loss_cls, (SINGLE_SCORES,))
        check_fit(self, "loss_bbox", loss_bbox, (DELTAS,))
        check_not_negative(self, pos_weight=pos_weight)
        self.in_channels = in_channels
        self.anchor_generator = anchor_generator
        self.bbox_coder = bbox_coder
        self.assigner = assigner
        self.sampler = sampler
        self.loss_cls = loss_cls
        self.loss_bbox = loss_bbox
        self.train_selector = train_selector
        self.test_selector = test_selector
        self.allowed_border = allowed_border
        self.pos_weight = pos_weight
        self.normalizer = check_normalizer(self, normalizer)

        num_anchors = anchor_generator.num_base_priors
        if num_convs > 1:
            self.rpn_conv = conv_tower(in_channels, feat_channels, num_convs, norm_cfg=None)
        else:
            self.rpn_conv = nn.Conv2d(in_channels, feat_channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(feat_channels, num_anchors, 1)
        self.rpn_reg = nn.Conv2d(feat_channels, num_anchors * 4, 1)
        init_tower(self)

    def forward(self, feats: Sequence[Tensor]) -> RPNOutput:
        """Run the layers on L maps (B, C, Hi, Wi) and flatten the levels."""
        logits, deltas = self.run_layers(feats)
        shapes = [tuple(feat.shape[-2:]) for feat in feats]
        return RPNOutput(logits, deltas, self.anchor_generator(shapes, feats[0].device))

    def run_layers(self, feats: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, A) and deltas (B, A, 4), without the anchors: what can be compiled."""
        logits, deltas = [], []
        for feat in feats:
            hidden = F.relu(self.rpn_conv(feat), inplace=True)
            logits.append(flatten_map(self.rpn_cls(hidden), 1).squeeze(-1))
            deltas.append(flatten_map(self.rpn_reg(hidden), 4))
        return torch.cat(logits, dim=1).float(), torch.cat(deltas, dim=1).float()

    def loss(self, output: RPNOutput, batch: Batch) -> dict[str, Tensor]:
        """Losses of sampled anchors.

        Both are divided by the number of samples, positive and negative, each counted as at least
        one an image (MMDetection's normaliser).

        Args:
            output: of :meth:`forward`.
            batch: with ground truth.

        Returns:
            ``loss_rpn_cls`` and ``loss_rpn_bbox``, scalars.
        """
        priors = output.priors
        valid = priors.valid_flags(batch.shapes, batch.pad_shapes, self.allowed_border)
        targets = anchor_target(
            priors,
            valid,
            batch.gt,
            batch.keys,
            self.assigner,
            self.sampler,
            self.bbox_coder,
            num_classes=1,
            pos_weight=self.pos_weight,
        )
        logits = output.logits.gather(1, targets.inds)
        deltas = output.deltas.gather(1, targets.inds[..., None].expand(-1, -1, 4))
        is_pos = targets.is_pos.float()
        num_pos = targets.is_pos.sum(dim=1)
        num_neg = targets.valid.sum(dim=1) - num_pos
        num_samples = num_pos.clamp_(min=1) + num_neg.clamp_(min=1)
        avg_factor = normalize(num_samples.sum(dtype=torch.float32), self.normalizer)
        return {
            "loss_rpn_cls": self.loss_cls(logits, is_pos, targets.label_weights, avg_factor),
            "loss_rpn_bbox": self.loss_bbox(
                deltas.flatten(0, 1), targets.boxes.flatten(0, 1), is_pos.flatten(), avg_factor
            ),
        }

    @torch.no_grad()
    def propose(self, output: RPNOutput, shapes: Tensor, training: bool) -> Proposals:
        """Boxes for the RoI head; no gradient flows through them.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width).
            training: which selector to use.
        """
        selector = self.train_selector if training else self.test_selector
        scores = output.logits.sigmoid()
        return selector.select(scores, output.deltas, output.priors, self.bbox_coder, shapes)
