"""AP-loss and its RetinaNet: ranking, anchors, assignment, box loss, decoding.

Tolerances: relative 1e-4 and absolute 1e-6 for losses and gradients; assignments are equal.
"""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from reference import ROOT, Arrays, close, make_batch, make_gt
from torch import Tensor

from mmdet_lite.models.assigners import IGNORE, NEGATIVE, APAssigner
from mmdet_lite.models.coders import InclusiveDeltaXYWHCoder
from mmdet_lite.models.dense_heads import DenseOutput, RetinaHead
from mmdet_lite.models.losses import APLoss, SmoothL1Loss
from mmdet_lite.models.priors import AnchorGenerator
from mmdet_lite.models.priors.anchor_generator import Priors
from mmdet_lite.structures.boxes import inclusive_iou
from mmdet_lite.structures.samples import Batch

FOLDER = "one_stage/ap_loss"
FUNCTION, NET, DECODE = (
    Arrays(name, FOLDER) for name in ("ap_loss_function", "retinanet_ap", "decode")
)
META = json.loads((ROOT / FOLDER / "meta.json").read_text())
SIZE = tuple(META["image_hw"])
K = META["nc"]
FUNCTION_CASES = sorted({name.partition("__")[0] for name in FUNCTION.names})
CASES = ["main", "no_gt", "far_box", "edge"]
in_tolerance = partial(close, rtol=1e-4, atol=1e-6)


def _anchor_generator(strides=META["strides"]) -> AnchorGenerator:
    scales = META["anchor_scales"]
    return AnchorGenerator(
        strides, META["anchor_ratios"], scales, center_offset=0.5, inclusive=True
    )


def _head() -> RetinaHead:
    return RetinaHead(
        num_classes=K,
        in_channels=1,
        feat_channels=1,
        anchor_generator=_anchor_generator(),
        bbox_coder=InclusiveDeltaXYWHCoder(target_stds=META["target_std"]),
        assigner=APAssigner(META["positive_iou"], META["negative_iou"]),
        loss_cls=APLoss(META["delta"]),
        loss_bbox=SmoothL1Loss(grad_scale=0.25),
        min_pos_per_img=0,
    )


def _priors(case: str) -> Priors:
    """The pyramid's, or those that the case brings along, all of them on one level."""
    if f"{case}_input_anchors" not in NET:
        shapes = [(-(-SIZE[0] // s), -(-SIZE[1] // s)) for s in META["strides"]]
        return _anchor_generator()(shapes, torch.device("cpu"))
    boxes = NET[f"{case}_input_anchors"]
    cells = torch.zeros(len(boxes), 2, dtype=torch.long)
    return Priors(boxes, cells, cells + 1, torch.arange(len(boxes)), (len(boxes),))


def _batch(case: str) -> Batch:
    rows = [image[image[:, 4] >= 0] for image in NET[f"{case}__annotations"]]
    gt = make_gt([r[:, :4].float() for r in rows], [r[:, 4].long() for r in rows])
    shapes = [SIZE] * len(rows)
    return make_batch(torch.zeros(len(rows), 3, *SIZE), shapes, shapes, gt)


def _inputs(case: str) -> tuple[Tensor, Tensor]:
    """Logits and deltas."""
    source = f"{case}_input" if f"{case}_input_anchors" in NET else "main_input"
    return (
        NET[f"{source}_classifications"].requires_grad_(),
        NET[f"{source}_regressions"].requires_grad_(),
    )


@pytest.mark.parametrize("case", FUNCTION_CASES)
def test_ranking_loss_and_gradient_equal_the_reference(case):
    logits = FUNCTION[f"{case}__logits"].requires_grad_()
    targets = FUNCTION[f"{case}__targets"]
    # Entries are ignored one by one here: each is a sample of one class.
    loss = APLoss(META["delta"])(
        logits.reshape(-1, 1), targets.reshape(-1, 1), (targets.flatten() >= 0).float(), 1.0
    )
    loss.backward()
    in_tolerance(loss, FUNCTION[f"{case}__loss"][0])
    in_tolerance(logits.grad, FUNCTION[f"{case}__grad"])


@pytest.mark.parametrize("stride", META["strides"])
def test_base_anchors_equal_the_reference(stride):
    expected = NET[f"base_anchors_stride{stride}"]
    assert len(expected) == META["num_anchors_per_cell"]
    close(_anchor_generator([stride]).base_anchors[0], expected, rtol=1e-12, atol=1e-12)


def test_anchors_equal_the_reference():
    close(_priors("main").boxes, NET["anchors"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_assignment_equals_the_reference(case):
    batch = _batch(case)
    assigned = APAssigner().assign(_priors(case), batch.gt)
    for i, ours in enumerate(assigned):
        state = NET[f"{case}__image{i}_state"]
        assert torch.equal(ours >= 0, state == 1)
        assert torch.equal(ours == NEGATIVE, state == 0)
        assert torch.equal(ours == IGNORE, state == -1)
        if f"{case}__image{i}_best_gt" in NET:
            best = NET[f"{case}__image{i}_best_gt"].long()
            assert torch.equal(ours[ours >= 0], best[ours >= 0])


@pytest.mark.parametrize("case", CASES)
def test_overlaps_and_forced_positives_equal_the_reference(case):
    gt, priors = _batch(case).gt, _priors(case).boxes
    for i, valid in enumerate(gt.valid):
        if not valid.any():
            continue
        overlaps = inclusive_iou(gt.boxes[i][valid][:, None].double(), priors)
        in_tolerance(overlaps.amax(dim=0), NET[f"{case}__image{i}_max_iou"].double())
        # Without a threshold to reach, only those are positive that a ground truth needs.
        assigner = APAssigner()
        assigner.pos_iou_thr = 2.0
        forced = assigner.assign(_priors(case), gt)[i] >= 0
        assert torch.equal(forced, NET[f"{case}__image{i}_forced_positive"])


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_equal_the_reference(case):
    logits, deltas = _inputs(case)
    losses = _head().loss(DenseOutput(logits, deltas, _priors(case)), _batch(case))
    in_tolerance(losses["loss_cls"], NET[f"{case}__loss_cls"][0])
    in_tolerance(losses["loss_bbox"], NET[f"{case}__loss_reg"][0])
    sum(losses.values()).backward()
    in_tolerance(logits.grad, NET[f"{case}__grad_cls"])
    in_tolerance(deltas.grad, NET[f"{case}__grad_reg"])


def test_decoded_boxes_equal_the_reference():
    coder = InclusiveDeltaXYWHCoder(target_stds=META["target_std"])
    boxes, deltas = DECODE["boxes"][None], DECODE["deltas"][None]
    in_tolerance(coder.decode(boxes, deltas)[0], DECODE["decoded"])
    clipped = coder.decode(boxes, deltas, torch.tensor([[120, 150]]))
    in_tolerance(clipped[0], DECODE["clipped_hw120x150"])


def test_class_bias_is_that_of_the_reference():
    assert _head().retina_cls.bias.unique().item() == pytest.approx(META["prior_bias"])
