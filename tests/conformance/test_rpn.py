"""RPN targets, losses, gradients and proposals."""

from __future__ import annotations

import pytest
import torch
from reference import Arrays, close, close_boxes, make_batch, make_gt
from torch import nn

from mmdet_lite.models.assigners import MaxIoUAssigner
from mmdet_lite.models.coders import DeltaXYWHBBoxCoder
from mmdet_lite.models.dense_heads import RPNHead, RPNOutput
from mmdet_lite.models.losses import BinaryCrossEntropyLoss, L1Loss, SmoothL1Loss
from mmdet_lite.models.postprocess import ProposalSelector
from mmdet_lite.models.priors import AnchorGenerator
from mmdet_lite.models.samplers import RandomSampler
from mmdet_lite.models.targets import anchor_target

REF = Arrays("rpn")
LEVELS = range(5)
CASES = {
    "default": {},
    "border0_smoothl1": dict(allowed_border=0, loss_bbox=SmoothL1Loss(beta=1 / 9)),
    "ignore05": dict(ignore_iof_thr=0.5),
    "zero_gt_img1": dict(zero_gt=True),
}
SELECTORS = {
    "train": dict(nms_pre=200, max_per_img=100),
    "test": dict(nms_pre=100, max_per_img=50),
    "min16": dict(nms_pre=200, max_per_img=100, min_bbox_size=16),
}


def _head(
    allowed_border: float = -1,
    loss_bbox: nn.Module | None = None,
    ignore_iof_thr: float = -1,
    zero_gt: bool = False,
) -> RPNHead:
    selector = ProposalSelector(**SELECTORS["train"])
    return RPNHead(
        in_channels=1,
        feat_channels=1,
        anchor_generator=AnchorGenerator(
            strides=REF["strides"].tolist(), scales=[8.0], ratios=[0.5, 1.0, 2.0]
        ),
        bbox_coder=DeltaXYWHBBoxCoder(),
        assigner=MaxIoUAssigner(0.7, 0.3, 0.3, ignore_iof_thr=ignore_iof_thr),
        sampler=RandomSampler(num=10**6, pos_fraction=1.0),
        loss_cls=BinaryCrossEntropyLoss(),
        loss_bbox=loss_bbox or L1Loss(),
        train_selector=selector,
        test_selector=selector,
        allowed_border=allowed_border,
    )


def _maps() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    scores = [REF[f"cls_score_{level}"].requires_grad_() for level in LEVELS]
    return scores, [REF[f"bbox_pred_{level}"].requires_grad_() for level in LEVELS]


def _output(head: RPNHead, scores: list[torch.Tensor], deltas: list[torch.Tensor]) -> RPNOutput:
    priors = head.anchor_generator([tuple(s.shape[-2:]) for s in scores], torch.device("cpu"))
    logits = [s.permute(0, 2, 3, 1).reshape(2, -1) for s in scores]
    boxes = [d.permute(0, 2, 3, 1).reshape(2, -1, 4) for d in deltas]
    return RPNOutput(torch.cat(logits, 1), torch.cat(boxes, 1), priors)


def _batch(case: str):
    boxes = [REF["img0_gt_bboxes"], REF["img1_gt_bboxes"]]
    ignore = [REF["img0_gt_bboxes_ignore"], REF["img1_gt_bboxes_ignore"]]
    if case == "zero_gt_img1":
        boxes[1] = boxes[1][:0]
    shapes = [REF.size(f"img{i}_img_shape") for i in range(2)]
    pads = [REF.size(f"img{i}_pad_shape") for i in range(2)]
    return make_batch(torch.zeros(2, 3, 160, 192), shapes, pads, make_gt(boxes, ignore=ignore))


def _targets(case: str):
    """Targets by prior: our sampled rows put back to where they came from."""
    head, batch = _head(**CASES[case]), _batch(case)
    priors = _output(head, *_maps()).priors
    valid = priors.valid_flags(batch.shapes, batch.pad_shapes, head.allowed_border)
    targets = anchor_target(
        priors, valid, batch.gt, batch.keys, head.assigner, head.sampler, head.bbox_coder, 1
    )
    num = len(priors.boxes)
    weights = torch.zeros(2, num)
    is_pos = torch.zeros(2, num, dtype=torch.bool)
    deltas = torch.zeros(2, num, 4)
    for i in range(2):
        rows = targets.inds[i][targets.valid[i]]
        weights[i, rows] = targets.label_weights[i][targets.valid[i]]
        is_pos[i, rows] = targets.is_pos[i][targets.valid[i]]
        deltas[i, rows] = targets.boxes[i][targets.valid[i]]
    return weights, is_pos, deltas


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_equal_the_reference(case):
    head = _head(**CASES[case])
    scores, deltas = _maps()
    losses = head.loss(_output(head, scores, deltas), _batch(case))
    close(losses["loss_rpn_cls"], REF[f"{case}_loss_rpn_cls"].sum())
    close(losses["loss_rpn_bbox"], REF[f"{case}_loss_rpn_bbox"].sum())
    total = losses["loss_rpn_cls"] + losses["loss_rpn_bbox"]
    close(total, REF[f"{case}_loss_sum"])
    total.backward()
    cls_grad = torch.stack([s.grad.double().abs().sum() for s in scores])
    box_grad = torch.stack([d.grad.double().abs().sum() for d in deltas])
    close(cls_grad, REF[f"{case}_grad_cls_abssum"], rtol=1e-5)
    close(box_grad, REF[f"{case}_grad_bbox_abssum"], rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_loss_of_each_level_equals_the_reference(case):
    head = _head(**CASES[case])
    weights, is_pos, targets = _targets(case)
    output = _output(head, *_maps())
    samples = weights.sum(dim=1)
    num_pos = is_pos.sum(dim=1)
    avg_factor = float((num_pos.clamp(min=1) + (samples - num_pos).clamp(min=1)).sum())
    start = 0
    for level, size in enumerate(output.priors.level_sizes):
        part = slice(start, start + size)
        start += size
        loss_cls = head.loss_cls(
            output.logits[:, part], is_pos[:, part], weights[:, part], avg_factor
        )
        loss_bbox = head.loss_bbox(
            output.deltas[:, part].flatten(0, 1),
            targets[:, part].flatten(0, 1),
            is_pos[:, part].flatten().float(),
            avg_factor,
        )
        close(loss_cls, REF[f"{case}_loss_rpn_cls"][level])
        close(loss_bbox, REF[f"{case}_loss_rpn_bbox"][level])


@pytest.mark.parametrize("case", ["default", "border0_smoothl1", "ignore05"])
def test_targets_equal_the_reference(case):
    weights, is_pos, deltas = _targets(case)
    assert torch.equal(weights, REF[f"{case}_label_weights"])
    assert torch.equal(is_pos, REF[f"{case}_labels"] == 0)
    assert torch.equal(is_pos[..., None].expand(-1, -1, 4).float(), REF[f"{case}_bbox_weights"])
    close(deltas, REF[f"{case}_bbox_targets"])


@pytest.mark.parametrize("case", CASES)
def test_sample_counts_equal_the_reference(case):
    weights, is_pos, _ = _targets(case)
    num_pos = is_pos.sum(dim=1)
    num_neg = (weights > 0).sum(dim=1) - num_pos
    assert torch.equal(num_pos, REF[f"{case}_num_pos"])
    assert torch.equal(num_neg, REF[f"{case}_num_neg"])
    avg_factor = (num_pos.clamp(min=1) + num_neg.clamp(min=1)).sum()
    assert avg_factor == REF[f"{case}_avg_factor"]


@pytest.mark.parametrize("name", SELECTORS)
def test_proposals_equal_the_reference(name):
    head, batch = _head(), _batch("default")
    head.test_selector = ProposalSelector(**SELECTORS[name])
    proposals = head.propose(_output(head, *_maps()), batch.shapes, training=False)
    for i in range(2):
        theirs = REF[f"proposals_{name}_img{i}_bboxes"]
        assert int(proposals.valid[i].sum()) == len(theirs)
        close_boxes(proposals.boxes[i, : len(theirs)], theirs)
        close(proposals.scores[i, : len(theirs)], REF[f"proposals_{name}_img{i}_scores"])


def test_rescaled_proposals_equal_the_reference():
    head, batch = _head(), _batch("default")
    head.test_selector = ProposalSelector(**SELECTORS["test"])
    proposals = head.propose(_output(head, *_maps()), batch.shapes, training=False)
    theirs = REF["proposals_test_rescaled_img1_bboxes"]
    # They rescale before NMS and we after it: overlaps do not change with the scale.
    boxes = proposals.boxes[1, : len(theirs)] / REF["img1_scale_factor"].float().repeat(2)
    close_boxes(boxes, theirs)
    close(proposals.scores[1, : len(theirs)], REF["proposals_test_rescaled_img1_scores"])
