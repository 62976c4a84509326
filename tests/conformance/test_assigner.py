"""The assigner in all its cases, exact ties included."""

from __future__ import annotations

import pytest
import torch
from reference import Arrays, make_gt

from mmdet_lite.models.assigners import MaxIoUAssigner

REF = Arrays("assigner")
RPN = dict(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, match_low_quality=True)
RCNN = dict(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False)
IGNORE = dict(ignore_iof_thr=0.5)

# case: assigner, priors, ground truths, ignore boxes
CASES = {
    "rpn": (RPN, "anchors", "gts", None),
    "rpn_noallmax": (RPN | dict(gt_max_assign_all=False), "anchors", "gts", None),
    "rpn_negtuple": (RPN | dict(neg_iou_thr=(0.1, 0.3)), "anchors", "gts", None),
    "rpn_ignore_off": (RPN | dict(ignore_iof_thr=-1), "anchors", "gts", "gts_ignore"),
    "rpn_ignore": (RPN | IGNORE, "anchors", "gts", "gts_ignore"),
    "rpn_ignore_wrt_gt": (
        RPN | IGNORE | dict(ignore_wrt_candidates=False),
        "anchors",
        "gts",
        "gts_ignore",
    ),
    "rcnn": (RCNN, "proposals", "gts", None),
    "rcnn_anchors": (RCNN, "anchors", "gts", None),
    "rcnn_lq": (RCNN | dict(match_low_quality=True), "proposals", "gts", None),
    "rcnn_lq_min03_anchors": (
        RCNN | dict(match_low_quality=True, min_pos_iou=0.3),
        "anchors",
        "gts",
        None,
    ),
    "rcnn_ignore": (RCNN | IGNORE, "proposals", "gts", "gts_ignore"),
    "rcnn_lq_ignore": (
        RCNN | IGNORE | dict(match_low_quality=True),
        "proposals",
        "gts",
        "gts_ignore",
    ),
    "retina": (
        dict(pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, match_low_quality=True),
        "anchors",
        "gts",
        None,
    ),
    "rpn_zero_gt": (RPN, "anchors", None, None),
    "rpn_zero_gt_ignore": (RPN | IGNORE, "anchors", None, "gts_ignore"),
    "rcnn_zero_prior": (RCNN, None, "gts", None),
    "tie_rpn": (RPN, "anchors", "tie_gts", None),
    "tie_rpn_noallmax": (RPN | dict(gt_max_assign_all=False), "anchors", "tie_gts", None),
    "tie_rcnn": (RCNN, "tie_proposals", "tie_gts", None),
    "tie_rcnn_lq": (RCNN | dict(match_low_quality=True), "tie_proposals", "tie_gts", None),
}


def _boxes(name: str | None) -> torch.Tensor:
    return REF[name] if name else torch.zeros(0, 4)


def test_every_case_of_the_reference_is_checked():
    assert {
        name.removesuffix("_gt_inds") for name in REF.names if name.endswith("_gt_inds")
    } == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_assignment_equals_the_reference(case):
    settings, priors, gts, ignore = CASES[case]
    gt = make_gt([_boxes(gts)], ignore=[_boxes(ignore)])
    assigned = MaxIoUAssigner(**settings).assign(_boxes(priors), gt)[0]
    # Their -1 is ignore, 0 negative and i + 1 ground truth i; ours are one less.
    assert torch.equal(assigned, REF[f"{case}_gt_inds"] - 1)
    label_name = "tie_gt_labels" if gts == "tie_gts" else "gt_labels"
    labels = torch.where(assigned >= 0, REF[label_name][assigned.clamp(min=0)], -1)
    assert torch.equal(labels, REF[f"{case}_labels"])


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][1:3] == ("anchors", "gts")])
def test_assignment_is_the_same_in_a_batch_padding_and_image_by_image(case):
    settings, priors, gts, ignore = CASES[case]
    boxes = [torch.zeros(0, 4), _boxes(gts), _boxes(gts)[:3]]
    gt = make_gt(boxes, ignore=[torch.zeros(0, 4), _boxes(ignore), torch.zeros(0, 4)])
    batched = MaxIoUAssigner(**settings).assign(_boxes(priors), gt)
    split = MaxIoUAssigner(**settings, max_overlap_elements=1).assign(_boxes(priors), gt)
    assert torch.equal(batched, split)
    assert torch.equal(batched[1], REF[f"{case}_gt_inds"] - 1)
