"""RetinaNet: targets, losses, gradients and detections."""

from __future__ import annotations

import pytest
import torch
from reference import Arrays, close, close_boxes, make_batch, make_gt

from mmdet_lite.models.assigners import MaxIoUAssigner
from mmdet_lite.models.coders import DeltaXYWHBBoxCoder
from mmdet_lite.models.dense_heads import DenseOutput, RetinaHead
from mmdet_lite.models.losses import FocalLoss, L1Loss
from mmdet_lite.models.priors import AnchorGenerator
from mmdet_lite.models.targets import dense_target

REF = Arrays("retina")
LEVELS = range(5)
K = int(REF["num_classes"])
CASES = {"default": (), "zero_gt_img1": (1,), "zero_gt_all": (0, 1)}  # images without objects


def _head() -> RetinaHead:
    return RetinaHead(
        num_classes=K,
        in_channels=1,
        feat_channels=1,
        anchor_generator=AnchorGenerator(
            strides=REF["strides"].tolist(),
            ratios=[0.5, 1.0, 2.0],
            octave_base_scale=4,
            scales_per_octave=3,
        ),
        bbox_coder=DeltaXYWHBBoxCoder(),
        assigner=MaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
        loss_cls=FocalLoss(gamma=2.0, alpha=0.25),
        loss_bbox=L1Loss(),
        nms_pre=100,
        max_per_img=60,
    )


def _maps() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    scores = [REF[f"cls_score_{level}"].requires_grad_() for level in LEVELS]
    return scores, [REF[f"bbox_pred_{level}"].requires_grad_() for level in LEVELS]


def _output(head: RetinaHead, scores: list[torch.Tensor], deltas: list[torch.Tensor]):
    priors = head.anchor_generator([tuple(s.shape[-2:]) for s in scores], torch.device("cpu"))
    logits = [s.permute(0, 2, 3, 1).reshape(2, -1, K) for s in scores]
    boxes = [d.permute(0, 2, 3, 1).reshape(2, -1, 4) for d in deltas]
    return DenseOutput(torch.cat(logits, 1), torch.cat(boxes, 1), priors)


def _batch(without: tuple[int, ...] = ()):
    boxes = [REF[f"img{i}_gt_bboxes"][: 0 if i in without else None] for i in range(2)]
    labels = [REF[f"img{i}_gt_labels"][: 0 if i in without else None] for i in range(2)]
    shapes = [REF.size(f"img{i}_img_shape") for i in range(2)]
    pads = [REF.size(f"img{i}_pad_shape") for i in range(2)]
    return make_batch(torch.zeros(2, 3, 160, 192), shapes, pads, make_gt(boxes, labels))


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_equal_the_reference(case):
    head = _head()
    scores, deltas = _maps()
    losses = head.loss(_output(head, scores, deltas), _batch(CASES[case]))
    close(losses["loss_cls"], REF[f"{case}_loss_cls"].sum())
    close(losses["loss_bbox"], REF[f"{case}_loss_bbox"].sum())
    sum(losses.values()).backward()
    cls_grad = torch.stack([s.grad.double().abs().sum() for s in scores])
    box_grad = torch.stack([d.grad.double().abs().sum() for d in deltas])
    close(cls_grad, REF[f"{case}_grad_cls_abssum"], rtol=1e-5)
    close(box_grad, REF[f"{case}_grad_bbox_abssum"], rtol=1e-5)


def test_targets_equal_the_reference():
    head, batch = _head(), _batch()
    priors = _output(head, *_maps()).priors
    valid = priors.valid_flags(batch.shapes, batch.pad_shapes)
    targets = dense_target(priors, valid, batch.gt, head.assigner, K, None, None)
    is_pos = targets.is_pos
    deltas = head.bbox_coder.encode(torch.where(is_pos[..., None], priors.boxes, 1), targets.boxes)
    assert torch.equal(targets.weights, REF["default_label_weights"])
    assert torch.equal(targets.labels, REF["default_labels"])
    assert torch.equal(is_pos[..., None].expand(-1, -1, 4).float(), REF["default_bbox_weights"])
    close(torch.where(is_pos[..., None], deltas, 0), REF["default_bbox_targets"])
    assert is_pos.sum(dim=1).clamp(min=1).sum() == REF["default_avg_factor"]


@pytest.mark.parametrize("case", ["plain", "rescale"])
def test_detections_equal_the_reference(case):
    head, batch = _head(), _batch()
    detections = head.predict(_output(head, *_maps()), batch.shapes)
    for i in range(2):
        scale = REF[f"img{i}_scale_factor"].float().repeat(2) if case == "rescale" else 1
        assert detections.valid[i].all()
        close_boxes(detections.boxes[i] / scale, REF[f"{case}_img{i}_bboxes"])
        close(detections.scores[i], REF[f"{case}_img{i}_scores"])
        assert torch.equal(detections.labels[i], REF[f"{case}_img{i}_labels"])
