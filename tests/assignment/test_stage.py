"""Stages of hand-made boxes, whose positives can be counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from reference import make_batch, make_gt

from mmdet_lite.assignment.capture import Captured
from mmdet_lite.assignment.rows import Status
from mmdet_lite.assignment.scene import without_positives
from mmdet_lite.assignment.stage import Stage, describe, read_stages
from mmdet_lite.models.assigners import (
    APAssigner,
    FCOSAssigner,
    MaxIoUAssigner,
    ShapeRatioAssigner,
    TaskAlignedAssigner,
)
from mmdet_lite.models.priors import AnchorGenerator, YOLOAnchorGenerator
from mmdet_lite.models.samplers import RandomSampler
from mmdet_lite.models.target_record import recorded_decisions
from mmdet_lite.models.targets import anchor_target, dense_target, entry_target

SIZE, K = 64, 3
CPU = torch.device("cpu")


def _batch(*boxes: list[float]):
    gt = make_gt([torch.tensor(boxes).reshape(-1, 4)])
    return make_batch(torch.zeros(1, 3, SIZE, SIZE), [(SIZE, SIZE)], [(SIZE, SIZE)], gt)


def _priors(generator: AnchorGenerator):
    return generator([(SIZE // s, SIZE // s) for s in generator.strides], CPU)


def _dense(batch, assigner, generator, predicted=None) -> Stage:
    priors = _priors(generator)
    boxes = priors.boxes[None].float() if predicted is None else predicted
    logits = torch.zeros(1, len(priors.ids), K)
    valid = priors.valid_flags(batch.shapes, batch.pad_shapes)
    with recorded_decisions() as decisions:
        dense_target(priors, valid, batch.gt, assigner, K, logits, lambda: boxes)
    return _only(batch, decisions)


def _only(batch, decisions) -> Stage:
    captured = [Captured(decision, batch.gt.valid.shape[1]) for decision in decisions]
    (stage,) = read_stages(None, captured, batch, 0)
    return stage


# Squares of 16 around the corners of the cells of stride 16.
ANCHORS = AnchorGenerator([16], ratios=[1.0], scales=[1.0])
MAX_IOU = MaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.3)


def test_positives_of_a_max_iou_assigner():
    exact, moved, between = [8, 8, 24, 24], [44, 40, 60, 56], [16, 24, 32, 40]
    stage = _dense(_batch(exact, moved, between), MAX_IOU, ANCHORS)
    assert (stage.name, stage.kind, stage.strides) == ("bbox_head", "anchors", (16,))
    assert stage.positives().tolist() == [[1], [1], [2]]
    np.testing.assert_allclose(stage.best_iou, [1, 12 / 20, 8 / 24], rtol=1e-6)
    is_pos = stage.status == Status.POSITIVE
    by_gt = [stage.boxes[is_pos & (stage.gt == gt)].tolist() for gt in range(3)]
    assert by_gt == [
        [[8, 8, 24, 24]],
        [[40, 40, 56, 56]],
        [[8, 24, 24, 40], [24, 24, 40, 40]],  # equally good: both are low-quality matches
    ]
    assert without_positives(stage) == []


def test_ignored_and_background_are_counted():
    stage = _dense(_batch([8, 8, 24, 40]), MaxIoUAssigner(0.7, 0.3, min_pos_iou=0.6), ANCHORS)
    # Two anchors cover half of it each: too much for background, too little for a match.
    assert stage.count(Status.IGNORED) == 2 and stage.count(Status.POSITIVE) == 0
    assert stage.iou.tolist() == [0.5, 0.5]  # the reason
    assert stage.background == 16 - 2
    assert without_positives(stage) == [0]
    assert stage.best_iou.tolist() == [0.5]


def test_sampler_leaves_out_and_picks():
    priors, batch = _priors(ANCHORS), _batch([8, 8, 24, 24], [40, 40, 56, 56])
    valid = priors.valid_flags(batch.shapes, batch.pad_shapes)
    sampler = RandomSampler(num=4, pos_fraction=0.25)  # one positive, three negatives
    with recorded_decisions() as decisions:
        anchor_target(priors, valid, batch.gt, batch.keys, MAX_IOU, sampler, None, num_classes=1)
    stage = _only(batch, decisions)
    counts = {status.name: stage.count(status) for status in Status}
    assert counts == {"POSITIVE": 1, "UNSAMPLED": 1, "NEGATIVE": 3, "IGNORED": 0}
    assert stage.background == 16 - 5
    assert sorted(stage.unsampled().tolist()) == [0, 1]
    assert without_positives(stage) == np.flatnonzero(stage.unsampled()).tolist()


def test_points_of_fcos_inside_and_of_the_right_level():
    generator = AnchorGenerator([8, 16], [1.0], scales=[1.0], center_offset=0.5)
    assigner = FCOSAssigner(regress_ranges=[(-1, 20), (20, 100)])
    stage = _dense(_batch([8, 8, 24, 24], [0, 32, 64, 64]), assigner, generator)
    # Points of stride 8 are at 4, 12, 20, ...; those of stride 16 at 8, 24, 40, 56. Four of stride
    # 8 are in the first box. The second has a side of 64, so none of its points is for level 0.
    assert stage.kind == "points"
    assert stage.positives().tolist() == [[4, 0], [0, 8]]
    assert stage.inside.tolist() == [4, 8 * 4 + 4 * 2]
    assert np.isnan(stage.iou).all() and np.isnan(stage.best_iou).all()
    np.testing.assert_array_equal(stage.score[stage.status == Status.POSITIVE], 1)


def test_predictions_decide_and_their_overlap_is_shown():
    generator = AnchorGenerator([16], [1.0], scales=[1.0], center_offset=0.5)
    gt = [0.0, 0, 32, 32]  # with the points at 8 and 24 in both directions
    predicted = torch.tensor(gt).repeat(1, 16, 1)
    predicted[0, 0, 2] = 16  # half of it
    stage = _dense(_batch(gt), TaskAlignedAssigner(topk=3), generator, predicted)
    is_pos = stage.status == Status.POSITIVE
    assert stage.positives().tolist() == [[3]] and stage.inside.tolist() == [4]
    np.testing.assert_allclose(stage.predicted_iou[is_pos], 1)
    np.testing.assert_allclose(stage.score[is_pos], 1, rtol=1e-5)
    assert stage.best_iou.tolist() == [1]


def test_a_prior_that_learns_two_ground_truths_has_two_rows():
    generator = YOLOAnchorGenerator([16], [[(16.0, 16.0), (64.0, 8.0)]])
    priors, batch = _priors(generator), _batch([16, 16, 32, 32], [17, 17, 31, 31])
    valid = priors.valid_flags(batch.shapes, batch.pad_shapes)
    assigner = ShapeRatioAssigner(ratio_thr=2.0)
    with recorded_decisions() as decisions:
        entry_target(priors, valid, generator.sizes, batch.gt, assigner, K)
    stage = _only(batch, decisions)
    # In the middle of a cell, so no neighbour; of one of two shapes.
    assert stage.positives().tolist() == [[1], [1]]
    assert len(set(stage.ids.tolist())) == 1 and stage.gt.tolist() == [0, 1]
    np.testing.assert_allclose(stage.iou, [1, 14**2 / 16**2])
    assert stage.background == 2 * 16 - 1


def test_inclusive_anchors_are_compared_inclusively():
    generator = AnchorGenerator([16], [1.0], scales=[1.0], inclusive=True)
    stage = _dense(_batch([8, 8, 23, 23]), APAssigner(), generator)
    is_pos = stage.status == Status.POSITIVE
    assert stage.iou[is_pos].tolist() == [1] and stage.best_iou.tolist() == [1]


@pytest.mark.parametrize("assigner", [MAX_IOU, FCOSAssigner([(-1, 100)]), TaskAlignedAssigner()])
def test_without_objects_all_is_background(assigner):
    stage = _dense(_batch(), assigner, ANCHORS)
    assert (len(stage.status), stage.num_gts, stage.background) == (0, 0, 16)
    assert stage.positives().shape == (0, 1) and stage.weights().shape == (0,)


def test_rois_have_the_level_that_they_are_pooled_from(captive):
    one = captive("mask-rcnn")
    stage = one.stages(0)[1]
    boxes = torch.from_numpy(stage.boxes)
    expected = one.model.roi_head.bbox_roi_extractor.map_levels(boxes)
    assert stage.level.tolist() == expected.tolist()
    own = stage.boxes[stage.is_gt]
    assert len(own) and np.isin(own, one.batch.gt.boxes[0].numpy()).all()
    np.testing.assert_allclose(stage.iou[stage.is_gt], 1)
    assert (stage.best_iou < 1).all()  # of what was proposed


def test_assigners_are_described_by_what_is_not_default():
    assert describe(TaskAlignedAssigner(min_side=16)) == "TaskAlignedAssigner(min_side=16)"
    assert describe(APAssigner()) == "APAssigner"
    assert describe(MAX_IOU) == "MaxIoUAssigner(neg_iou_range=(0.0, 0.3), pos_iou_thr=0.5)"
