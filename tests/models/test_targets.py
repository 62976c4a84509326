"""Targets: what is learnt where, and what neither padding nor batching changes."""

from __future__ import annotations

import math
from dataclasses import fields

import numpy as np
import pytest
import torch
from reference import make_gt

from mmdet_lite.models.assigners import MaxIoUAssigner
from mmdet_lite.models.coders import DeltaXYWHBBoxCoder
from mmdet_lite.models.priors import AnchorGenerator
from mmdet_lite.models.samplers import RandomSampler
from mmdet_lite.models.targets import BoxTargets, anchor_target, bbox_target, mask_target
from mmdet_lite.random_keys import image_key
from mmdet_lite.structures.masks import InstanceMasks
from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.samples import GroundTruth, Proposals

RPN = MaxIoUAssigner(pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3)
RCNN = MaxIoUAssigner(pos_iou_thr=0.5, neg_iou_thr=0.5, min_pos_iou=0.5, match_low_quality=False)
CODER = DeltaXYWHBBoxCoder()
GENERATOR = AnchorGenerator([8], ratios=[0.5, 1.0, 2.0], scales=[2])
K = 5


def _keys(*slots: int, iteration: int = 0) -> torch.Tensor:
    return torch.tensor([image_key(0, iteration, slot) for slot in slots])


def _sampler(num: int = 16, gt: bool = False) -> RandomSampler:
    return RandomSampler(num, pos_fraction=0.25, add_gt_as_proposals=gt)


def _boxes(count: int, seed: int) -> torch.Tensor:
    points = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed))
    return torch.cat([points[:, :2] * 40, points[:, :2] * 40 + points[:, 2:] * 20 + 6], dim=1)


def _ground_truth(counts: list[int]) -> GroundTruth:
    boxes = [_boxes(count, seed=10 + count) for count in counts]
    return make_gt(boxes, [torch.arange(count) % K for count in counts])


def _proposals(gt: GroundTruth, count: int = 60) -> Proposals:
    """Ground truths moved a little, then random boxes."""
    num_images = len(gt.valid)
    boxes = torch.stack([_boxes(count, seed=50 + i) for i in range(num_images)])
    near = gt.boxes[:, torch.arange(20) % gt.boxes.shape[1]]
    jitter = torch.rand(num_images, 20, 4, generator=torch.Generator().manual_seed(3)) * 3
    boxes[:, :20] = torch.where(gt.valid.any(1)[:, None, None], near + jitter, boxes[:, :20])
    valid = torch.ones(num_images, count, dtype=torch.bool)
    return Proposals(boxes, valid.float(), valid, torch.arange(count).expand(num_images, -1))


def _anchor_targets(
    gt: GroundTruth,
    pad_shapes: list[tuple[int, int]],
    map_size: tuple[int, int],
    keys: torch.Tensor,
) -> tuple[BoxTargets, torch.Tensor]:
    """Targets, and the identities of the chosen anchors."""
    priors = GENERATOR([map_size], torch.device("cpu"))
    shapes = torch.tensor(pad_shapes)
    valid = priors.valid_flags(shapes, shapes)
    targets = anchor_target(priors, valid, gt, keys, RPN, _sampler(), CODER, num_classes=1)
    return targets, torch.where(targets.valid, priors.ids[targets.inds], -1)


def _rows(targets: BoxTargets, rows) -> dict[str, torch.Tensor]:
    return {f.name: getattr(targets, f.name)[rows] for f in fields(targets)}


def _assert_same(ours: dict, theirs: dict, but: tuple[str, ...] = ()) -> None:
    for name in ours:
        if name not in but:
            assert torch.equal(ours[name], theirs[name]), name


def test_box_targets_of_known_boxes():
    gt = make_gt([torch.tensor([[0.0, 0, 10, 10]])], [torch.tensor([3])])
    boxes = torch.tensor([[[0.0, 0, 10, 8], [50, 50, 60, 60]]])
    valid = torch.ones(1, 2, dtype=torch.bool)
    proposals = Proposals(boxes, valid.float(), valid, torch.tensor([[7, 8]]))
    sampler = RandomSampler(4, pos_fraction=0.5)
    targets = bbox_target(proposals, gt, _keys(0), RCNN, sampler, CODER, K, pos_weight=2.0)
    assert targets.inds.tolist() == [[0, 1]]
    assert targets.labels.tolist() == [[3, K]]
    assert targets.label_weights.tolist() == [[2, 1]]
    assert targets.is_pos.tolist() == [[True, False]]
    assert torch.equal(targets.priors, boxes)
    torch.testing.assert_close(targets.boxes[0, 0], torch.tensor([0, 0.125, 0, math.log(10 / 8)]))
    assert bool(torch.isfinite(targets.boxes).all())


def test_padding_has_no_weight_no_box_and_the_background_label():
    gt = _ground_truth([2, 0])
    proposals = _proposals(gt, count=30)
    proposals.valid[0, 22:] = False
    targets = bbox_target(proposals, gt, _keys(0, 1), RCNN, _sampler(64), CODER, K)
    padding = ~targets.valid
    assert targets.valid.shape == (2, 30)
    assert int(padding[0].sum()) >= 8
    assert not targets.label_weights[padding].any()
    assert not targets.priors[padding].any()
    assert bool((targets.labels[padding] == K).all())
    assert not targets.assigned_gt[~targets.is_pos].any()


def test_without_a_coder_targets_are_boxes():
    gt = _ground_truth([3])
    targets = bbox_target(_proposals(gt), gt, _keys(0), RCNN, _sampler(gt=True), None, K)
    matched = gt.boxes[0][targets.assigned_gt[0]]
    assert int(targets.is_pos.sum()) == 4
    assert torch.equal(targets.boxes[targets.is_pos], matched[targets.is_pos[0]])


def test_ground_truths_lead_the_proposals_each_assigned_to_itself():
    gt = _ground_truth([4, 1, 0])
    sampler = RandomSampler(1000, pos_fraction=1.0, add_gt_as_proposals=True)
    targets = bbox_target(_proposals(gt), gt, _keys(0, 1, 2), RCNN, sampler, CODER, K)
    for i, count in enumerate([4, 1, 0]):
        own = targets.valid[i] & (targets.inds[i] < 4)
        assert sorted(targets.inds[i][own].tolist()) == list(range(count))
        assert torch.equal(targets.assigned_gt[i][own], targets.inds[i][own])
        assert torch.equal(targets.labels[i][own], gt.labels[i][targets.inds[i][own]])
    torch.testing.assert_close(targets.boxes[0][targets.inds[0] < 4], torch.zeros(4, 4))


def test_image_without_ground_truth_is_all_background():
    gt = _ground_truth([0, 2])
    targets = bbox_target(_proposals(gt), gt, _keys(0, 1), RCNN, _sampler(gt=True), CODER, K)
    assert targets.valid[0].all()
    assert not targets.is_pos[0].any()
    assert bool((targets.labels[0] == K).all())
    assert bool(torch.isfinite(targets.boxes).all())
    assert targets.is_pos[1].any()


def test_where_all_is_ignored_nothing_is_learnt():
    gt = _ground_truth([2])
    gt.ignore_boxes, gt.ignore_valid = torch.tensor([[[0.0, 0, 99, 99]]]), torch.tensor([[True]])
    settings = dict(pos_iou_thr=0.5, neg_iou_thr=0.5, ignore_iof_thr=0.5)
    proposals = _proposals(gt)
    targets = bbox_target(proposals, gt, _keys(0), MaxIoUAssigner(**settings), _sampler(), CODER, K)
    assert not targets.valid.any()
    assert not targets.label_weights.any()


def test_rpn_makes_every_object_the_class_zero():
    gt = _ground_truth([4])
    targets, _ = _anchor_targets(gt, [(64, 64)], (8, 8), _keys(0))
    assert targets.is_pos.any()
    assert bool((targets.labels[targets.is_pos] == 0).all())
    assert bool((targets.labels[~targets.is_pos] == 1).all())


def test_batch_of_box_targets_equals_its_single_images():
    gt = _ground_truth([4, 1, 0])
    proposals = _proposals(gt)
    arguments = (RCNN, _sampler(gt=False), CODER, K)
    together = bbox_target(proposals, gt, _keys(0, 1, 2), *arguments)
    for i, count in enumerate([4, 1, 0]):
        boxes, labels = gt.boxes[i, :count], gt.labels[i, :count]
        single = Proposals(*(value[i : i + 1] for value in vars(proposals).values()))
        alone = bbox_target(single, make_gt([boxes], [labels]), _keys(i), *arguments)
        _assert_same(_rows(alone, 0), _rows(together, i))


def test_padding_of_ground_truths_does_not_change_what_is_sampled():
    gt = _ground_truth([2])
    proposals = _proposals(gt)
    padded = make_gt([gt.boxes[0], _boxes(9, seed=0)], [gt.labels[0], torch.zeros(9).long()])
    padded = GroundTruth(
        **{name: value if value is None else value[:1] for name, value in vars(padded).items()}
    )
    assert padded.valid.shape == (1, 9)
    arguments = (RCNN, _sampler(gt=True), CODER, K)
    for iteration in range(10):
        keys = _keys(0, iteration=iteration)
        targets = bbox_target(proposals, gt, keys, *arguments)
        with_padding = bbox_target(proposals, padded, keys, *arguments)
        _assert_same(_rows(targets, 0), _rows(with_padding, 0), but=("inds",))


def test_padding_of_proposals_does_not_change_what_is_sampled():
    gt = _ground_truth([3])
    proposals = _proposals(gt)
    more = Proposals(
        boxes=torch.cat([proposals.boxes, gt.boxes[:, :1].expand(1, 15, 4)], dim=1),
        scores=torch.cat([proposals.scores, torch.ones(1, 15)], dim=1),
        valid=torch.cat([proposals.valid, torch.zeros(1, 15, dtype=torch.bool)], dim=1),
        ids=torch.cat([proposals.ids, torch.arange(15)[None] + 900], dim=1),
    )
    arguments = (gt, _keys(0), RCNN, _sampler(gt=True), CODER, K)
    _assert_same(
        _rows(bbox_target(proposals, *arguments), 0), _rows(bbox_target(more, *arguments), 0)
    )


def test_order_of_proposals_does_not_change_what_is_sampled():
    gt = _ground_truth([3])
    proposals = _proposals(gt)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    shuffled = Proposals(*(value[:, order] for value in vars(proposals).values()))
    arguments = (gt, _keys(0), RCNN, _sampler(gt=True), CODER, K)
    expected, targets = bbox_target(proposals, *arguments), bbox_target(shuffled, *arguments)
    _assert_same(_rows(expected, 0), _rows(targets, 0), but=("inds",))


def test_padding_of_the_image_does_not_change_which_anchors_are_sampled():
    gt = _ground_truth([3, 0])
    alone, alone_ids = _anchor_targets(gt, [(64, 56)] * 2, (8, 7), _keys(0, 1))
    padded, padded_ids = _anchor_targets(gt, [(64, 56)] * 2, (12, 10), _keys(0, 1))
    assert torch.equal(alone_ids, padded_ids)
    _assert_same(_rows(alone, slice(None)), _rows(padded, slice(None)), but=("inds",))


def test_place_in_the_batch_does_not_change_which_anchors_are_sampled():
    gt = _ground_truth([3, 1])
    _, ids = _anchor_targets(gt, [(64, 64)] * 2, (8, 8), _keys(0, 1))
    swapped = make_gt([gt.boxes[1, :1], gt.boxes[0]], [gt.labels[1, :1], gt.labels[0]])
    _, swapped_ids = _anchor_targets(swapped, [(64, 64)] * 2, (8, 8), _keys(1, 0))
    assert torch.equal(swapped_ids, ids.flip(0))


def test_order_of_ground_truths_does_not_change_which_anchors_are_sampled():
    gt = _ground_truth([4])
    order = torch.tensor([3, 1, 0, 2])
    permuted = make_gt([gt.boxes[0, order]], [gt.labels[0, order]])
    targets, ids = _anchor_targets(gt, [(64, 64)], (8, 8), _keys(0))
    other, other_ids = _anchor_targets(permuted, [(64, 64)], (8, 8), _keys(0))
    assert torch.equal(ids, other_ids)
    _assert_same(_rows(targets, 0), _rows(other, 0), but=("assigned_gt",))


def test_another_iteration_samples_others():
    gt = _ground_truth([3])
    first = _anchor_targets(gt, [(64, 64)], (8, 8), _keys(0, iteration=0))[1]
    second = _anchor_targets(gt, [(64, 64)], (8, 8), _keys(0, iteration=1))[1]
    assert not torch.equal(first, second)
    assert torch.equal(first, _anchor_targets(gt, [(64, 64)], (8, 8), _keys(0, iteration=0))[1])


def test_targets_are_float32_under_autocast():
    gt = _ground_truth([3])
    expected, _ = _anchor_targets(gt, [(64, 64)], (8, 8), _keys(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        targets, _ = _anchor_targets(gt, [(64, 64)], (8, 8), _keys(0))
    _assert_same(_rows(targets, 0), _rows(expected, 0))
    assert targets.boxes.dtype == torch.float32


BOX = [4.0, 6, 20, 18]
RIGHT_HALF = [12.0, 6, 28, 18]


def _mask_gt(rule: str) -> GroundTruth:
    """Two objects that fill their boxes, and an image without objects."""
    gt = make_gt([torch.tensor([BOX, [0, 0, 8, 8]]), torch.zeros(0, 4)])
    polygons = [[[4, 6, 20, 6, 20, 18, 4, 18]], [[0, 0, 8, 0, 8, 8, 0, 8]]]
    lazy = [InstanceMasks.from_coco(polygons, (24, 32)), InstanceMasks.from_coco([], (24, 32))]
    if rule == "roi_align":
        bitmaps = torch.zeros(2, 2, 24, 32, dtype=torch.uint8)
        bitmaps[0] = torch.from_numpy(lazy[0].bitmaps())
        gt.masks = PackedBitmaps.pack(bitmaps)
    else:
        gt.masks = lazy
    return gt


rules = pytest.mark.parametrize("rule", ["roi_align", "polygon", "legacy"])


@rules
def test_mask_targets_of_known_boxes(rule):
    # The old rule takes whole pixels, ends included: its boxes end one pixel earlier.
    end = torch.tensor([0, 0, 1.0, 1.0]) * (rule == "legacy")
    rois = torch.stack([torch.tensor([BOX, RIGHT_HALF, BOX]) - end] * 2)
    valid = torch.tensor([[True, True, True], [False, False, False]])
    assigned = torch.tensor([[0, 0, 1], [0, 0, 0]])
    targets = mask_target(rois, assigned, valid, _mask_gt(rule), 8, rule)
    assert targets.shape == (2, 3, 8, 8)
    assert targets.dtype == torch.float32
    assert targets[0, 0].all()
    assert targets[0, 1].tolist() == [[1.0] * 4 + [0.0] * 4] * 8
    assert targets[0, 2].tolist() == [[1.0, 1] + [0.0] * 6] + [[0.0] * 8] * 7
    assert not targets[1].any()


@rules
def test_mask_targets_of_padding_are_zero_whatever_it_contains(rule):
    rois = torch.tensor([[BOX, BOX], [BOX, BOX]])
    valid = torch.tensor([[True, False], [False, False]])
    targets = mask_target(rois, torch.zeros(2, 2).long(), valid, _mask_gt(rule), 8, rule)
    assert targets[0, 0].any()
    assert not targets[~valid].any()


@rules
def test_mask_targets_of_boxes_outside_the_image_are_clipped(rule):
    rois = torch.tensor([[[-8.0, -8, 8, 8], [-20, -20, -5, -5]]])
    gt = _mask_gt(rule)
    targets = mask_target(rois, torch.tensor([[1, 1]]), torch.ones(1, 2).bool(), gt, 8, rule)
    assert targets[0, 0].mean() > 0.7
    assert bool(torch.isfinite(targets).all())


@pytest.mark.parametrize(
    ("rule", "given", "message"),
    [
        ("roi_align", "polygon", "rule 'roi_align' need masks='bitmaps'.*the batch has list"),
        ("polygon", "roi_align", "rule 'polygon' need masks='lazy'.*the batch has PackedBitmaps"),
        ("legacy", None, "rule 'legacy' need masks='lazy'.*the batch has none"),
        ("roi_align", None, "rule 'roi_align' need masks='bitmaps'.*the batch has none"),
    ],
)
def test_masks_in_another_form_are_refused(rule, given, message):
    gt = _mask_gt(given or "polygon")
    gt.masks = gt.masks if given else None
    with pytest.raises(TypeError, match=message):
        mask_target(
            torch.zeros(2, 1, 4), torch.zeros(2, 1).long(), torch.ones(2, 1).bool(), gt, 8, rule
        )


def test_bitmaps_of_random_shape_follow_their_rois():
    bitmap = np.random.default_rng(0).integers(0, 2, (24, 32), dtype=np.uint8)
    gt = make_gt([torch.tensor([BOX])])
    gt.masks = PackedBitmaps.pack(torch.from_numpy(bitmap)[None, None])
    rois = torch.tensor([[[3.0, 5, 11, 13]]])
    targets = mask_target(rois, torch.zeros(1, 1).long(), torch.ones(1, 1).bool(), gt, 8)
    np.testing.assert_array_equal(targets[0, 0].numpy(), bitmap[5:13, 3:11])


def test_mask_targets_do_not_depend_on_how_many_bitmaps_are_converted_at_once(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    gt = make_gt([torch.rand(5, 4, generator=generator)])
    gt.masks = PackedBitmaps.pack(torch.rand(1, 5, 40, 40, generator=generator) > 0.5)
    corner = torch.rand(1, 9, 2, generator=generator) * 20
    rois = torch.cat([corner, corner + 15], dim=-1)
    index, valid = torch.arange(9)[None] % 5, torch.ones(1, 9, dtype=torch.bool)
    together = mask_target(rois, index, valid, gt, 7)
    monkeypatch.setattr("mmdet_lite.models.targets._BITMAPS_AT_ONCE", 2)
    assert torch.equal(mask_target(rois, index, valid, gt, 7), together)
    assert 0 < together.mean() < 1
