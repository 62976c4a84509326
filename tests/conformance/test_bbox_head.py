"""RoI sampling, targets, losses and predictions of the box head."""

from __future__ import annotations

import pytest
import torch
from reference import Arrays, close, close_boxes, make_gt, pad_rows

from mmdet_lite.models.assigners import MaxIoUAssigner
from mmdet_lite.models.coders import DeltaXYWHBBoxCoder
from mmdet_lite.models.losses import CrossEntropyLoss, L1Loss, SmoothL1Loss
from mmdet_lite.models.nms import NMS, SoftNMS
from mmdet_lite.models.roi_heads import ConvFCBBoxHead
from mmdet_lite.models.samplers import RandomSampler
from mmdet_lite.models.targets import BoxTargets, bbox_target
from mmdet_lite.structures.samples import Proposals

REF = Arrays("bbox_head_loss")
PRED = Arrays("bbox_head_predict")
STDS = (0.1, 0.1, 0.2, 0.2)


def _head(num_classes: int, **options) -> ConvFCBBoxHead:
    options = dict(loss_bbox=L1Loss()) | options
    return ConvFCBBoxHead(
        num_classes=num_classes,
        in_channels=1,
        roi_feat_size=1,
        fc_out_channels=1,
        bbox_coder=DeltaXYWHBBoxCoder(target_stds=STDS),
        loss_cls=CrossEntropyLoss(),
        **options,
    )


def _proposals(boxes: list[torch.Tensor]) -> Proposals:
    padded, valid = pad_rows(boxes)
    ids = torch.arange(padded.shape[1]).expand(valid.shape)
    return Proposals(padded, valid.float(), valid, ids)


def _targets(images: tuple[int, ...] = (0, 1, 2), pos_weight: float = 1.0) -> BoxTargets:
    gt = make_gt(
        [REF[f"img{i}_gt_bboxes"] for i in images], [REF[f"img{i}_gt_labels"] for i in images]
    )
    return bbox_target(
        _proposals([REF[f"img{i}_proposals"] for i in images]),
        gt,
        torch.arange(len(images)),
        MaxIoUAssigner(0.5, 0.5, 0.5, match_low_quality=False),
        RandomSampler(num=10**6, pos_fraction=1.0, add_gt_as_proposals=True),
        DeltaXYWHBBoxCoder(target_stds=STDS),
        int(REF["num_classes"]),
        pos_weight,
    )


def _reference_rows(targets: BoxTargets, images: tuple[int, ...] = (0, 1, 2)) -> torch.Tensor:
    """For each of our rows (B * R,) the reference's row; padded rows point to row 0.

    The case with image 2 alone uses the first rows of the predictions.
    """
    num_gts = _num_padded_gts(images)
    rows, start = torch.zeros_like(targets.inds), 0
    for i, image in enumerate(images):
        theirs = torch.cat([REF[f"img{image}_pos_inds"], REF[f"img{image}_neg_inds"]])
        own_gts = len(REF[f"img{image}_gt_bboxes"])
        # Ours indexes [padded gts; proposals], theirs [gts; proposals].
        inds = targets.inds[i]
        inds = torch.where(inds >= num_gts, inds - num_gts + own_gts, inds)
        position = {int(index): start + row for row, index in enumerate(theirs)}
        for column in range(targets.inds.shape[1]):
            if targets.valid[i, column]:
                rows[i, column] = position.pop(int(inds[column]))
        assert not position
        start += len(theirs)
    return rows.flatten()


def _num_padded_gts(images: tuple[int, ...]) -> int:
    return max([1] + [len(REF[f"img{i}_gt_bboxes"]) for i in images])


def test_sampled_rois_and_targets_equal_the_reference():
    targets = _targets()
    rows, valid = _reference_rows(targets), targets.valid.flatten()
    assert int(valid.sum()) == len(REF["rois"])
    rows = rows[valid]
    close_boxes(targets.priors.flatten(0, 1)[valid], REF["rois"][rows, 1:])
    assert torch.equal(targets.labels.flatten()[valid], REF["labels"][rows])
    assert torch.equal(targets.label_weights.flatten()[valid], REF["label_weights"][rows])
    assert torch.equal(targets.is_pos.flatten()[valid].float(), REF["bbox_weights"][rows, 0])
    close(targets.boxes.flatten(0, 1)[valid], REF["bbox_targets"][rows])


def test_positives_and_their_ground_truths_equal_the_reference():
    targets = _targets()
    num_gts = _num_padded_gts((0, 1, 2))
    for i in range(3):
        pos = targets.is_pos[i]
        own_gts = len(REF[f"img{i}_gt_bboxes"])
        inds = targets.inds[i][pos]
        inds = torch.where(inds >= num_gts, inds - num_gts + own_gts, inds)
        order = inds.argsort()
        assert torch.equal(inds[order], REF[f"img{i}_pos_inds"])
        assert torch.equal(targets.assigned_gt[i][pos][order], REF[f"img{i}_pos_assigned_gt_inds"])
        assert torch.equal(targets.labels[i][pos][order], REF[f"img{i}_pos_gt_labels"])
        close_boxes(targets.priors[i][pos][order], REF[f"img{i}_pos_priors"])
        is_gt = (targets.inds[i][pos] < num_gts)[order]
        assert torch.equal(is_gt, REF[f"img{i}_pos_is_gt"].bool())


CASES = {
    "l1": (dict(loss_bbox=L1Loss()), (0, 1, 2), 1.0),
    "smoothl1": (dict(loss_bbox=SmoothL1Loss(beta=1.0)), (0, 1, 2), 1.0),
    "agnostic": (dict(loss_bbox=L1Loss(), reg_class_agnostic=True), (0, 1, 2), 1.0),
    "neg_only": (dict(loss_bbox=L1Loss()), (2,), 1.0),
    "pos_weight2": (dict(loss_bbox=L1Loss()), (0, 1, 2), 2.0),
}


@pytest.mark.parametrize("case", CASES)
def test_losses_equal_the_reference(case):
    options, images, pos_weight = CASES[case]
    targets = _targets(images, pos_weight)
    rows = _reference_rows(targets, images)
    deltas = REF["bbox_pred_agnostic" if case == "agnostic" else "bbox_pred"]
    head = _head(int(REF["num_classes"]), **options)
    losses = head.loss(REF["cls_score"][rows], deltas.reshape(len(deltas), -1, 4)[rows], targets)
    close(losses["loss_cls"], REF[f"{case}_loss_cls"])
    close(losses["loss_bbox"], REF[f"{case}_loss_bbox"])
    close(losses["acc"], REF[f"{case}_acc"])


def test_gradients_equal_the_reference():
    targets = _targets()
    rows = _reference_rows(targets)
    logits = REF["cls_score"].requires_grad_()
    deltas = REF["bbox_pred"].requires_grad_()
    losses = _head(int(REF["num_classes"])).loss(
        logits[rows], deltas[rows].reshape(len(rows), -1, 4), targets
    )
    (losses["loss_cls"] + losses["loss_bbox"]).backward()
    close(logits.grad, REF["l1_grad_cls_score"])
    close(deltas.grad, REF["l1_grad_bbox_pred"])


SOFT_NMS = SoftNMS(iou_thr=0.5, sigma=0.5, min_score=0.05, method="linear")


@pytest.mark.parametrize("case", ["plain", "rescale", "max20", "soft_nms"])
def test_predictions_equal_the_reference(case):
    max_per_img = 20 if case == "max20" else int(PRED["max_per_img"])
    num_classes = int(PRED["num_classes"])
    head = _head(
        num_classes,
        score_thr=float(PRED["score_thr"]),
        nms=SOFT_NMS if case == "soft_nms" else NMS(float(PRED["nms_iou_thr"])),
        max_per_img=max_per_img,
    )
    proposals = _proposals([PRED[f"img{i}_rois"][:, 1:] for i in range(2)])
    logits = pad_rows([PRED[f"img{i}_cls_score"] for i in range(2)])[0].flatten(0, 1)
    deltas = pad_rows([PRED[f"img{i}_bbox_pred"] for i in range(2)])[0]
    shapes = torch.stack([PRED[f"img{i}_shape"] for i in range(2)])
    detections = head.predict(
        logits, deltas.reshape(len(logits), num_classes, 4), proposals, shapes
    )
    for i in range(2):
        theirs = PRED[f"{case}_img{i}_bboxes"]
        count = len(theirs)
        assert int(detections.valid[i].sum()) == count
        boxes = detections.boxes[i, :count]
        if case == "rescale":
            boxes = boxes / PRED[f"img{i}_scale_factor"].float().repeat(2)
        close_boxes(boxes, theirs)
        close(detections.scores[i, :count], PRED[f"{case}_img{i}_scores"])
        assert torch.equal(detections.labels[i, :count], PRED[f"{case}_img{i}_labels"])
