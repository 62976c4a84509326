"""Classification and box refinement of RoIs.

Letters: B images, R RoIs an image, N = B * R, C channels, K classes, P proposals an image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from torch import Tensor, nn

from mmdet_lite.models.class_rows import ClassRows
from mmdet_lite.models.fitting import BOXES, CLASS_LABELS, DELTAS, FROM_ANCHORS, check_fit
from mmdet_lite.models.losses.reduce import check_normalizer, normalize
from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.postprocess import multiclass_nms
from mmdet_lite.models.targets import BoxTargets
from mmdet_lite.ranges import check_positive, check_shares
from mmdet_lite.registry import MODELS
from mmdet_lite.structures.samples import Detections, Proposals


@MODELS.register_module()
class ConvFCBBoxHead(nn.Module):
    """Convolutions, then fully connected layers, shared by class scores and box deltas.

    Two FC layers are Fast R-CNN's head, four convolutions and one FC that of Group Normalization,
    none of either and ``with_avg_pool`` that of C4 models.

    Args:
        num_classes: K; there are K + 1 logits, the last one is the background's.
        in_channels: C of the pooled features.
        bbox_coder: encodes boxes relative to RoIs.
        loss_cls: classification loss.
        loss_bbox: box loss; it compares deltas, or boxes if ``reg_decoded_bbox``.
        roi_feat_size: side of the pooled features.
        with_avg_pool: average the pooled features over their places first (C4 models).
        num_shared_convs, conv_out_channels: 3x3 convolutions and their channels.
        num_shared_fcs, fc_out_channels: fully connected layers and their width.
        norm_cfg: normalisation of the convolutions, in mmcv's form; None: none.
        conv_cfg: kind of the convolutions, in mmcv's form; None: the plain one.
        reg_class_agnostic: one box for all classes.
        reg_decoded_bbox: the box loss compares decoded boxes (for IoU losses).
        score_thr: detections must score more than this.
        nms: how duplicates are suppressed; None: ``NMS()``, class by class above an overlap of 0.5.
        max_per_img: detections an image.
        normalizer: losses are divided by the samples of this process ('rank') or by the mean over
            all processes ('global').

    Raises:
        ValueError: a number is out of its range, or a part does not fit.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        bbox_coder: nn.Module,
        loss_cls: nn.Module,
        loss_bbox: nn.Module,
        roi_feat_size: int = 7,
        with_avg_pool: bool = False,
        num_shared_convs: int = 0,
        conv_out_channels: int = 256,
        num_shared_fcs: int = 2,
        fc_out_channels: int = 1024,
        norm_cfg: dict | None = None,
        conv_cfg: dict | None = None,
        reg_class_agnostic: bool = False,
        reg_decoded_bbox: bool = False,
        score_thr: float = 0.05,
        nms: NMS | SoftNMS | None = None,
        max_per_img: int = 100,
        normalizer: str = "rank",
    ):
        super().__init__()
        check_fit(self, "bbox_coder", bbox_coder, (FROM_ANCHORS,))
        check_fit(self, "loss_cls", loss_cls, (CLASS_LABELS,))
        boxes = (BOXES,) if reg_decoded_bbox else ()
        remedy = "set reg_decoded_bbox=True for one on boxes"
        check_fit(self, "loss_bbox", loss_bbox, (DELTAS, *boxes), remedy)
        check_shares(self, score_thr=score_thr)
        check_positive(self, num_classes=num_classes, max_per_img=max_per_img)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.bbox_coder = bbox_coder
        self.loss_cls = loss_cls
        self.loss_bbox = loss_bbox
        self.with_avg_pool = with_avg_pool
        self.reg_decoded_bbox = reg_decoded_bbox
        self.score_thr = score_thr
        self.nms = nms or NMS()
        self.max_per_img = max_per_img
        self.normalizer = check_normalizer(self, normalizer)

        kind = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        channels = [in_channels] + [conv_out_channels] * num_shared_convs
        self.shared_convs = nn.ModuleList(
            ConvModule(channels[i], conv_out_channels, 3, padding=1, **kind)
            for i in range(num_shared_convs)
        )
        width = channels[-1] * (1 if with_avg_pool else roi_feat_size**2)
        self.shared_fcs = nn.ModuleList()
        for _ in range(num_shared_fcs):
            self.shared_fcs.append(nn.Linear(width, fc_out_channels))
            width = fc_out_channels
        self.fc_cls = nn.Linear(width, num_classes + 1)
        self.fc_reg = nn.Linear(width, 4 * (1 if reg_class_agnostic else num_classes))
        self._init_weights()

    def _init_weights(self) -> None:
        for layer in self.shared_fcs:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer, std in ((self.fc_cls, 0.01), (self.fc_reg, 0.001)):  # Fast R-CNN, sec. 2.3
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def class_rows(self) -> dict[str, ClassRows]:
        """Tensors that grow with K, by name."""
        rows = dict.fromkeys(("fc_cls.weight", "fc_cls.bias"), ClassRows(1, has_background=True))
        if self.fc_reg.out_features == 4 * self.num_classes:
            rows |= dict.fromkeys(("fc_reg.weight", "fc_reg.bias"), ClassRows(4))
        return rows

    def forward(self, feats: Tensor) -> tuple[Tensor, Tensor]:
        """Score and refine RoIs.

        Args:
            feats: (N, C, roi_feat_size, roi_feat_size).

        Returns:
            logits (N, K + 1) and deltas (N, K, 4), or (N, 1, 4) if class-agnostic; float32.
        """
        for conv in self.shared_convs:
            feats = conv(feats)
        hidden = feats.mean(dim=(2, 3)) if self.with_avg_pool else feats.flatten(1)
        for layer in self.shared_fcs:
            hidden = F.relu(layer(hidden), inplace=True)
        deltas = self.fc_reg(hidden).unflatten(1, (-1, 4))
        return self.fc_cls(hidden).float(), deltas.float()

    def loss(self, logits: Tensor, deltas: Tensor, targets: BoxTargets) -> dict[str, Tensor]:
        """Losses of sampled RoIs.

        The classification loss is divided by the number of samples that have a weight, the box
        loss, summed over positives, by the number of all samples.

        Args:
            logits: (N, K + 1).
            deltas: (N, K, 4) or (N, 1, 4).
            targets: B x R, with N = B * R.

        Returns:
            ``loss_cls``, ``loss_bbox`` and ``acc``, the top-1 accuracy in percent.
        """
        labels, weights = targets.labels.flatten(), targets.label_weights.flatten()
        valid = targets.valid.flatten()
        # Which column holds the box of the true class; 0 if there is one for all classes.
        column = labels.clamp(max=deltas.shape[1] - 1)[:, None, None].expand(-1, -1, 4)
        deltas = deltas.gather(1, column).squeeze(1)
        if self.reg_decoded_bbox:
            deltas = self.bbox_coder.decode(targets.priors.flatten(0, 1), deltas)
        num_valid = valid.sum(dtype=torch.float32)
        num_weighted = normalize((weights > 0).sum(dtype=torch.float32), self.normalizer)
        num_samples = normalize(num_valid, self.normalizer)
        is_pos = targets.is_pos.flatten().float()
        correct = (logits.argmax(dim=1) == labels) & valid
        return {
            "loss_cls": self.loss_cls(logits, labels, weights, num_weighted.clamp(min=1)),
            "loss_bbox": self.loss_bbox(
                deltas, targets.boxes.flatten(0, 1), is_pos, num_samples.clamp(min=1)
            ),
            "acc": 100 * correct.sum() / num_valid.clamp(min=1),
        }

    @torch.no_grad()
    def predict(
        self, logits: Tensor, deltas: Tensor, proposals: Proposals, shapes: Tensor
    ) -> Detections:
        """Final boxes.

        Args:
            logits: (B * P, K + 1).
            deltas: (B * P, K, 4) or (B * P, 1, 4).
            proposals: B x P.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            Detections without masks.
        """
        num_images, num_boxes = proposals.valid.shape
        scores = logits.softmax(dim=-1)[:, :-1].reshape(num_images, num_boxes, -1)
        deltas = deltas.reshape(num_images, num_boxes, -1, 4)
        boxes = self.bbox_coder.decode(proposals.boxes[:, :, None], deltas, shapes)
        return multiclass_nms(
            boxes, scores, proposals.valid, self.score_thr, self.nms, self.max_per_img
        )

    def refine(
        self, boxes: Tensor, logits: Tensor, deltas: Tensor, labels: Tensor | None, shapes: Tensor
    ) -> Tensor:
        """The boxes that the next stage of a cascade begins with; no gradient flows through them.

        Args:
            boxes: (B, R, 4) the RoIs.
            logits: (B * R, K + 1).
            deltas: (B * R, K, 4) or (B * R, 1, 4).
            labels: (B, R) the class whose deltas are applied; where it is K, and where None is
                given, the foreground class with the highest score.
            shapes: (B, 2) image (height, width) to clip to.

        Returns:
            (B, R, 4).
        """
        best = logits[:, :-1].argmax(dim=1).reshape(boxes.shape[:2])
        labels = best if labels is None else torch.where(labels < self.num_classes, labels, best)
        deltas = deltas.detach().reshape(*boxes.shape[:2], -1, 4)
        column = labels.clamp(max=deltas.shape[2] - 1)[..., None, None].expand(-1, -1, 1, 4)
        return self.bbox_coder.decode(boxes, deltas.gather(2, column)[:, :, 0], shapes)
