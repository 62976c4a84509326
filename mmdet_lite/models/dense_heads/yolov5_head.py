"""YOLOv5's head: one 1x1 convolution a level, objectness beside the classes.

Letters: B images, L levels, N anchors a cell, A anchors over all levels, E entries of a level (an
anchor and one of the ground truths it learns), K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmdet_lite.models.assigners.shape_ratio_assigner import ShapeRatioAssigner
from mmdet_lite.models.class_rows import ClassRows
from mmdet_lite.models.dense_heads.flatten import flatten_map
from mmdet_lite.models.fitting import BOXES, CLASS_SCORES, SHAPES, check_fit
from mmdet_lite.models.losses.reduce import batch_factor, check_normalizer, normalize
from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.postprocess import best_candidates, dense_nms
from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.models.priors.yolo_anchor_generator import YOLOAnchorGenerator
from mmdet_lite.models.targets import EntryTargets, entry_target
from mmdet_lite.ranges import check_not_negative, check_positive, check_shares
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.boxes import aligned_ciou, clip_boxes, xyxy_from_cxcywh
from mmdet_lite.structures.samples import Batch, Detections

_BOX, _OBJECTNESS, _CLASSES = slice(0, 4), 4, slice(5, None)  # of an anchor's 5 + K outputs
_BALANCE_DECAY = 0.9999
_BALANCE_STRIDE = 16  # the level whose balance stays 1


@dataclass
class YOLOv5Output:
    """Raw output, all levels one after the other.

    Attributes:
        raw: (B, A, 5 + K): centre and size, see :meth:`YOLOv5Head.decode`, objectness, classes,
            all before the sigmoid.
        priors: the A anchors.
    """

    raw: Tensor
    priors: Priors


@MODELS.register_module()
class YOLOv5Head(nn.Module):
    """Box, objectness and class scores for every anchor (https://github.com/ultralytics/yolov5).

    The gains of YOLOv5 are its losses' ``loss_weight``. It multiplies them for other data than 80
    classes on 3 levels at 640 pixels: box by 3 / L, class by K / 80 * 3 / L, objectness by
    (image side / 640) ** 2 * 3 / L.

    Args:
        num_classes: K; of a single class there is no class loss.
        in_channels: channels of the feature maps, one a level.
        prior_generator: the anchors.
        assigner: decides which anchors learn which ground truths.
        loss_cls, loss_obj: losses on sigmoids, with scores as targets.
        loss_bbox: loss on boxes.
        obj_balance: factor of each level's objectness loss.
        autobalance: let the factors follow the levels' losses, so that all levels come to count as
            much as that of stride 16.
        label_smoothing: classes have to score half of this less than 1, or more than 0.
        score_thr: detections, by objectness times class, must score more than this.
        nms_pre: candidates of each level.
        multi_label: every (anchor, class) pair is a candidate; False: every anchor with its best
            class.
        nms: how duplicates are suppressed; None: ``NMS()``, class by class above an overlap of 0.5.
        max_per_img: detections an image.
        normalizer: each loss is a mean over the entries, or anchors, of this process ('rank',
            YOLOv5's own) or of all processes ('global').

    Raises:
        ValueError: levels differ in number, ``autobalance`` finds no level of stride 16, a number
            is out of its range, or a part does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: Sequence[int],
        prior_generator: YOLOAnchorGenerator,
        assigner: ShapeRatioAssigner,
        loss_cls: nn.Module,
        loss_obj: nn.Module,
        loss_bbox: nn.Module,
        obj_balance: Sequence[float] = (4.0, 1.0, 0.4),
        autobalance: bool = False,
        label_smoothing: float = 0.0,
        score_thr: float = 0.001,
        nms_pre: int = 1000,
        multi_label: bool = True,
        nms: NMS | SoftNMS | None = None,
        max_per_img: int = 300,
        normalizer: str = "rank",
    ):
        super().__init__()
        strides = prior_generator.strides
        if not len(in_channels) == len(obj_balance) == len(strides):
            raise ValueError(
                f"YOLOv5Head: in_channels and obj_balance need one number for each of the "
                f"{len(strides)} strides, got in_channels={in_channels}, obj_balance={obj_balance}"
            )
        if autobalance and _BALANCE_STRIDE not in strides:
            raise ValueError(
                f"YOLOv5Head: autobalance=True needs a level of stride {_BALANCE_STRIDE}, the "
                f"others are measured by it; the strides are {strides}"
            )
        check_fit(self, "assigner", assigner, (SHAPES,))
        check_fit(self, "loss_cls", loss_cls, (CLASS_SCORES,))
        check_fit(self, "loss_obj", loss_obj, (CLASS_SCORES,))
        check_fit(self, "loss_bbox", loss_bbox, (BOXES,))
        check_shares(self, label_smoothing=label_smoothing, score_thr=score_thr)
        check_positive(self, num_classes=num_classes, nms_pre=nms_pre, max_per_img=max_per_img)
        for factor in obj_balance:
            check_not_negative(self, obj_balance=factor)
        self.num_classes = num_classes
        self.in_channels = tuple(in_channels)
        self.prior_generator = prior_generator
        self.assigner = assigner
        self.loss_cls = loss_cls
        self.loss_obj = loss_obj
        self.loss_bbox = loss_bbox
        self.autobalance = autobalance
        self.label_smoothing = label_smoothing
        self.score_thr = score_thr
        self.nms_pre = nms_pre
        self.multi_label = multi_label
        self.nms = nms or NMS()
        self.max_per_img = max_per_img
        self.normalizer = check_normalizer(self, normalizer)
        self.register_buffer("sizes", prior_generator.sizes, persistent=False)  # (L, N, 2)
        self.register_buffer("obj_balance", torch.tensor(obj_balance, dtype=torch.float32))
        channels = prior_generator.num_base_priors * (5 + num_classes)
        self.convs = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in in_channels)
        self._init_biases()

    def _init_biases(self) -> None:
        """Begin with about 8 objects in an image of 640 x 640, and with classes of equal chance."""
        for conv, stride in zip(self.convs, self.prior_generator.strides, strict=True):
            bias = conv.bias.data.unflatten(0, (-1, 5 + self.num_classes))  # a view
            bias[:, _OBJECTNESS] += math.log(8 / (640 / stride) ** 2)
            bias[:, _CLASSES] += math.log(0.6 / (self.num_classes - 0.99999))

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *args) -> None:
        """The balance is weights only where it is learnt, and the config's otherwise."""
        if not self.autobalance:
            state_dict[f"{prefix}obj_balance"] = self.obj_balance
        super()._load_from_state_dict(state_dict, prefix, *args)

    def class_rows(self) -> dict[str, ClassRows]:
        """Tensors that grow with K, by name."""
        layout = ClassRows(1, groups=self.prior_generator.num_base_priors, shared=5)
        return {name: layout for name, _ in self.named_parameters()}

    def forward(self, feats: Sequence[Tensor]) -> YOLOv5Output:
        """Run the layers on L maps (B, C, Hi, Wi) and flatten the levels."""
        shapes = [tuple(feat.shape[-2:]) for feat in feats]
        return YOLOv5Output(self.run_layers(feats), self.prior_generator(shapes, feats[0].device))

    def run_layers(self, feats: Sequence[Tensor]) -> Tensor:
        """What :class:`YOLOv5Output` holds, without the anchors: what can be compiled."""
        raw = [
            flatten_map(conv(feat), 5 + self.num_classes)
            for conv, feat in zip(self.convs, feats, strict=True)
        ]
        return torch.cat(raw, dim=1).float()

    def loss(self, output: YOLOv5Output, batch: Batch) -> dict[str, Tensor]:
        """Means over each level's entries, or anchors, summed over the levels.

        They are multiplied by the number of images of a step, over all processes; since these
        average their gradients, that makes the learning rate one for the sum over the images.

        Args:
            output: of :meth:`forward`.
            batch: with ground truth.

        Returns:
            ``loss_cls``, ``loss_obj`` and ``loss_bbox``, scalars.
        """
        prior_valid = output.priors.valid_flags(batch.shapes, batch.pad_shapes)
        targets = entry_target(
            output.priors, prior_valid, self.sizes, batch.gt, self.assigner, self.num_classes
        )
        inds = targets.inds.flatten(1)[..., None].expand(-1, -1, output.raw.shape[2])
        entries = output.raw.gather(1, inds).unflatten(1, targets.inds.shape[1:])
        counts = normalize(targets.valid.sum(dim=(0, 2)).float(), self.normalizer, at_least=1)
        weights = targets.valid / counts[:, None]  # (B, L, E)

        center, size = decode(entries[..., _BOX], targets.sizes)
        boxes = xyxy_from_cxcywh(torch.cat([center, size], dim=-1))
        target_boxes = xyxy_from_cxcywh(targets.boxes)
        with torch.no_grad():
            quality = aligned_ciou(boxes, target_boxes).clamp(min=0)
            scores = objectness_target(targets, quality, len(output.priors.ids))
        factor = batch_factor(output.raw, self.normalizer)
        return {
            "loss_cls": factor * self._class_loss(entries[..., _CLASSES], targets.labels, weights),
            "loss_obj": factor * self._objectness_loss(output, scores, prior_valid),
            "loss_bbox": factor
            * self.loss_bbox(
                boxes.flatten(0, 2), target_boxes.flatten(0, 2), weights.flatten(), 1.0
            ),
        }

    def _class_loss(self, logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """(B, L, E, K) logits, (B, L, E) labels and weights to a scalar."""
        if self.num_classes == 1:
            return logits.new_zeros(())
        classes = torch.arange(self.num_classes, device=labels.device)
        low, high = self.label_smoothing / 2, 1 - self.label_smoothing / 2
        scores = torch.where(labels[..., None] == classes, high, low)
        return self.loss_cls(
            logits.flatten(0, 2), scores.flatten(0, 2), weights.flatten(), self.num_classes
        )

    def _objectness_loss(self, output: YOLOv5Output, scores: Tensor, valid: Tensor) -> Tensor:
        """A scalar; ``scores`` (B, A) are the targets, ``valid`` (B, A) the anchors that count."""
        tensors = (output.raw[..., _OBJECTNESS], scores, valid.float())
        levels = [tensor.split(output.priors.level_sizes, dim=1) for tensor in tensors]
        counts = normalize(torch.stack([w.sum() for w in levels[2]]), self.normalizer)
        losses = torch.stack(
            [
                self.loss_obj(logits.reshape(-1, 1), target.reshape(-1, 1), weight.flatten(), count)
                for logits, target, weight, count in zip(*levels, counts, strict=True)
            ]
        )
        total = (losses * self.obj_balance.clone()).sum()  # as it was for the backward pass
        if self.autobalance and self.training:
            self._update_balance(losses.detach() / self.loss_obj.loss_weight)
        return total

    def _update_balance(self, losses: Tensor) -> None:
        """Follow the levels' losses (L,), of all processes, so that these stay equal."""
        losses = normalize(losses, "global")
        balance = _BALANCE_DECAY * self.obj_balance + (1 - _BALANCE_DECAY) / losses
        balance = balance / balance[self.prior_generator.strides.index(_BALANCE_STRIDE)]
        self.obj_balance.copy_(torch.where(balance.isfinite().all(), balance, self.obj_balance))

    def decode_all(self, output: YOLOv5Output) -> Tensor:
        """Boxes (B, A, 4) of all anchors, input pixels, not clipped."""
        priors = output.priors
        center, size = decode(output.raw[..., _BOX], priors.boxes[:, 2:] - priors.boxes[:, :2])
        center = (center + priors.cells.flip(-1)) * priors.strides.flip(-1)
        return xyxy_from_cxcywh(torch.cat([center, size], dim=-1))

    @torch.no_grad()
    def predict(self, output: YOLOv5Output, shapes: Tensor) -> Detections:
        """Final boxes.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Detections without masks.
        """
        scores, anchor, labels = best_candidates(
            self._scores(output), output.priors.level_sizes, self.nms_pre, self.multi_label
        )  # (B, N)
        boxes = self.decode_all(output).gather(1, anchor[..., None].expand(-1, -1, 4))
        return dense_nms(
            clip_boxes(boxes, shapes),
            scores,
            labels,
            scores > self.score_thr,
            self.nms,
            self.max_per_img,
            self.num_classes,
        )

    @torch.no_grad()
    def predict_all(self, output: YOLOv5Output, shapes: Tensor) -> tuple[Tensor, Tensor]:
        """Every anchor's box and scores, for an NMS elsewhere.

        Args:
            output: of :meth:`forward`.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Boxes (B, A, 4) and class scores (B, A, K).
        """
        return clip_boxes(self.decode_all(output), shapes), self._scores(output)

    def _scores(self, output: YOLOv5Output) -> Tensor:
        """(B, A, K): objectness times class; of a single class it is the objectness."""
        scores = output.raw[..., _OBJECTNESS:].sigmoid()
        return scores[..., :1] * scores[..., 1:] if self.num_classes > 1 else scores[..., :1]


def decode(raw: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """What an anchor's first four outputs say: a centre up to half a cell outside of its cell, and
    sides up to four times the anchor's.

    Args:
        raw: (..., 4) before the sigmoid.
        sizes: (..., 2) widths and heights of the anchors.

    Returns:
        Centres (..., 2) relative to the cell's corner, in cells; sizes (..., 2) in the unit of
        ``sizes``.
    """
    shares = 2 * raw.sigmoid()
    return shares[..., :2] - 0.5, shares[..., 2:].square() * sizes


def objectness_target(targets: EntryTargets, quality: Tensor, num_priors: int) -> Tensor:
    """What each prior has to score: the quality of its last entry, or 0.

    Args:
        targets: the entries.
        quality: (B, L, E) of each.
        num_priors: A.

    Returns:
        (B, A).
    """
    order = torch.arange(1, quality[0].numel() + 1, device=quality.device)  # levels do not mix
    order = torch.where(targets.valid.flatten(1), order, 0)
    last = order.new_zeros(len(order), num_priors)
    last = last.scatter_reduce(1, targets.inds.flatten(1), order, "amax")
    of_last = quality.flatten(1).gather(1, (last - 1).clamp(min=0))
    return torch.where(last > 0, of_last, 0)
