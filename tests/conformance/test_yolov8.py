"""YOLOv8: points, assignment, targets, losses and gradients."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from reference import ROOT, Arrays, close, make_batch, make_gt

from mmdet_lite.models.assigners import TaskAlignedAssigner
from mmdet_lite.models.coders import DistributionCoder
from mmdet_lite.models.dense_heads import YOLOv8Head, YOLOv8Output
from mmdet_lite.models.losses import CIoULoss, DistributionFocalLoss, SigmoidCrossEntropyLoss
from mmdet_lite.models.priors import AnchorGenerator
from mmdet_lite.models.targets import dense_target
from mmdet_lite.structures.boxes import boxes_around, side_distances, xyxy_from_cxcywh
from mmdet_lite.structures.samples import GroundTruth

FOLDER = "one_stage/yolov8"
META = json.loads((ROOT / FOLDER / "meta.json").read_text())
K, STRIDES, GAINS = META["nc"], META["strides"], META["gains"]
LEVELS = range(3)
MAIN = Arrays("assign_loss", FOLDER)
SMALL = Arrays("small_grad", FOLDER)
DFL = Arrays("dfl", FOLDER)
# file, prefix of its arrays, min_side
CASES = {
    "main": ("assign_loss", "assign", 16),
    "small": ("small_grad", "assign", 16),
    "duplicate": ("duplicate_gt", "assign", 16),
    "tiny, enlarged": ("tiny_gt", "enlarged16", 16),
    "tiny, plain": ("tiny_gt", "plain", 0),
}
VARIANTS = {"a1b6k13": (13, 1.0, 6.0), "a05b6k1": (1, 0.5, 6.0), "a1b1k5": (5, 1.0, 1.0)}


def _head(min_side: float = 16) -> YOLOv8Head:
    return YOLOv8Head(
        num_classes=K,
        in_channels=[8, 8, 8],
        strides=STRIDES,
        assigner=_assigner(min_side),
        loss_cls=SigmoidCrossEntropyLoss(GAINS["cls"]),
        loss_bbox=CIoULoss(min_iou=0, loss_weight=GAINS["box"]),
        loss_dfl=DistributionFocalLoss(GAINS["dfl"]),
        num_bins=META["reg_max_bins"],
    )


def _assigner(min_side: float) -> TaskAlignedAssigner:
    return TaskAlignedAssigner(META["topk"], META["alpha"], META["beta"], min_side)


def _maps(arrays: Arrays) -> list[torch.Tensor]:
    return [arrays[f"feat{level}"].requires_grad_() for level in LEVELS]


def _output(head: YOLOv8Head, feats: list[torch.Tensor]) -> YOLOv8Output:
    shapes = [tuple(feat.shape[-2:]) for feat in feats]
    rows = torch.cat([feat.flatten(2).transpose(1, 2) for feat in feats], dim=1)
    bins, logits = rows.split([4 * META["reg_max_bins"], K], dim=2)
    return YOLOv8Output(logits, bins, head.prior_generator(shapes, torch.device("cpu")))


def _decoded(head: YOLOv8Head, output: YOLOv8Output) -> torch.Tensor:
    strides = output.priors.strides[:, :1]
    return head.bbox_coder.decode(output.priors.centers, strides, output.bins)


def _gt(arrays: Arrays, prefix: str) -> GroundTruth:
    boxes, valid = arrays[f"{prefix}__gt_bboxes"], arrays[f"{prefix}__mask_gt"]
    none = torch.zeros(len(boxes), 1, 4)
    return GroundTruth(boxes, arrays[f"{prefix}__gt_labels"], valid, none, valid[:, :1] & False)


def _batch_of_targets(arrays: Arrays, prefix: str, feats: list[torch.Tensor]):
    """The targets that the original's loss reads: rows of image, class, normalised cxcywh."""
    height, width = (side * STRIDES[0] for side in feats[0].shape[-2:])
    boxes = xyxy_from_cxcywh(arrays[f"{prefix}bboxes_xywhn"]) * torch.tensor([width, height] * 2)
    image, labels = arrays[f"{prefix}batch_idx"], arrays[f"{prefix}cls"][:, 0].long()
    images = range(len(feats[0]))
    gt = make_gt([boxes[image == i] for i in images], [labels[image == i] for i in images])
    shapes = [(height, width)] * len(images)
    return make_batch(torch.zeros(len(images), 3, height, width), shapes, shapes, gt)


def _loss_vector(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.stack([losses["loss_bbox"], losses["loss_cls"], losses["loss_dfl"]])


def test_points_and_decoded_boxes_equal_the_reference():
    head = _head()
    output = _output(head, _maps(MAIN))
    strides = output.priors.strides[:, :1]
    boxes = _decoded(head, output)
    assert torch.equal(strides.float(), MAIN["stride_tensor"])
    assert torch.equal(output.priors.centers / strides, MAIN["anchor_points"])
    close(boxes / strides, MAIN["pred_bboxes_grid"], rtol=1e-5, atol=1e-5)
    distances = side_distances(output.priors.centers, boxes) / strides
    close(distances, MAIN["dfl_distances"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_assignment_equals_the_reference_step_by_step(case):
    name, prefix, min_side = CASES[case]
    arrays, head = Arrays(name, FOLDER), _head(min_side)
    output, gt = _output(head, _maps(arrays)), _gt(arrays, prefix)
    scores, points = output.logits.sigmoid(), output.priors.centers
    close(scores[:, ::7], arrays[f"{prefix}__pred_scores_sigmoid_sample"])

    usable = gt.valid[:, :, None].expand(-1, -1, len(points))
    candidates, overlap, fit = head.assigner._fit(
        points, gt.boxes, gt.labels, usable, scores, _decoded(head, output)
    )
    claims = head.assigner._claims(fit, candidates)
    certain = ~arrays[f"{prefix}__tie_ambiguous_anchor"][:, None].expand_as(claims)
    assert torch.equal(candidates, arrays[f"{prefix}__in_gts"] & usable)
    close(overlap, arrays[f"{prefix}__overlaps"], rtol=1e-4, atol=1e-6)
    close(fit, arrays[f"{prefix}__align_metric"], rtol=1e-4, atol=1e-6)
    assert torch.equal(claims[certain], arrays[f"{prefix}__topk_mask_in_gts"][certain])


@pytest.mark.parametrize("case", CASES)
def test_targets_equal_the_reference(case):
    name, prefix, min_side = CASES[case]
    arrays, head = Arrays(name, FOLDER), _head(min_side)
    output = _output(head, _maps(arrays))
    targets = dense_target(
        *(output.priors, None, _gt(arrays, prefix), head.assigner, K, output.logits),
        lambda: _decoded(head, output),
    )
    certain = ~arrays[f"{prefix}__tie_ambiguous_anchor"]
    is_pos = arrays[f"{prefix}__fg_mask"] & certain
    assert torch.equal(targets.is_pos[certain], arrays[f"{prefix}__fg_mask"][certain])
    assert torch.equal(targets.assigned_gt[is_pos], arrays[f"{prefix}__target_gt_idx"][is_pos])
    assert torch.equal(targets.labels[is_pos], arrays[f"{prefix}__target_labels"][is_pos])
    assert torch.equal(targets.boxes[is_pos], arrays[f"{prefix}__target_bboxes"][is_pos])
    ours, theirs = targets.class_scores(K), arrays[f"{prefix}__target_scores"]
    close(ours[certain], theirs[certain], rtol=0, atol=2e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_assignment_with_other_settings_equals_the_reference(variant):
    head = _head()
    head.assigner = TaskAlignedAssigner(*VARIANTS[variant], min_side=16)
    output = _output(head, _maps(MAIN))
    targets = dense_target(
        *(output.priors, None, _gt(MAIN, "assign"), head.assigner, K, output.logits),
        lambda: _decoded(head, output),
    )
    is_pos = MAIN[f"assign_{variant}__fg_mask"]
    assert torch.equal(targets.is_pos, is_pos)
    expected = MAIN[f"assign_{variant}__target_gt_idx"]
    assert torch.equal(targets.assigned_gt[is_pos], expected[is_pos])
    scores = MAIN[f"assign_{variant}__target_scores"]
    close(targets.class_scores(K), scores, rtol=0, atol=2e-5)


def test_losses_equal_the_reference():
    head, feats = _head(), _maps(MAIN)
    losses = head.loss(_output(head, feats), _batch_of_targets(MAIN, "loss__", feats))
    vector = _loss_vector(losses)
    close(vector, MAIN["loss__loss_vec_times_bs"], rtol=1e-4)
    close(vector / len(feats[0]), MAIN["loss__loss_items_box_cls_dfl"], rtol=1e-4)


def test_losses_without_objects_equal_the_reference():
    head, feats = _head(), _maps(MAIN)
    batch = _batch_of_targets(MAIN, "loss__", feats)
    batch.gt = make_gt([torch.zeros(0, 4)] * 3)
    vector = _loss_vector(head.loss(_output(head, feats), batch))
    close(vector, MAIN["loss_empty__loss_vec_times_bs"], rtol=1e-4)
    close(vector / 3, MAIN["loss_empty__loss_items_box_cls_dfl"], rtol=1e-4)


def test_gradients_equal_the_reference():
    head, feats = _head(), _maps(SMALL)
    losses = head.loss(_output(head, feats), _batch_of_targets(SMALL, "", feats))
    close(_loss_vector(losses), SMALL["loss_vec_times_bs"], rtol=1e-4)
    for ours, theirs in {"loss_bbox": "box", "loss_cls": "cls", "loss_dfl": "dfl"}.items():
        grads = torch.autograd.grad(losses[ours], feats, retain_graph=True)
        for level, grad in enumerate(grads):
            close(grad, SMALL[f"grad_{theirs}_feat{level}"], rtol=1e-4, atol=1e-6)


def test_distribution_loss_equals_the_reference():
    coder, loss = DistributionCoder(), DistributionFocalLoss()
    bins = DFL["dfl_pred"].requires_grad_()
    points = torch.zeros(6, 2)
    boxes = boxes_around(points, DFL["dfl_target_unclamped"])
    distances = coder.encode(points, torch.ones(6, 1), boxes)
    for row, expected in enumerate(DFL["dfl_loss"][:, 0]):
        one = F.one_hot(torch.tensor(row), 6).float()
        close(loss(bins.reshape(6, 64), distances, one, 1.0), expected, rtol=1e-4)
    loss(bins.reshape(6, 64), distances, torch.ones(6), 1.0).backward()
    close(bins.grad, DFL["dfl_grad_of_sum"], rtol=1e-4)


def test_distances_equal_the_reference():
    points, boxes = DFL["dist_anchor"], DFL["dist_bbox"]
    close(DistributionCoder().encode(points, torch.ones(7, 1), boxes), DFL["dist_regmax15"])
    distances = side_distances(points, boxes)
    close(distances, DFL["dist_unclamped"])
    back = boxes_around(points, DFL["dist_unclamped"])
    close(back, DFL["dist_back"])
    close(xyxy_from_cxcywh(DFL["dist_back_xywh"]), DFL["dist_back"], atol=1e-5)


class Worked:
    """The example of 84 points in an image of 640 pixels."""

    data = json.loads((ROOT / FOLDER / "worked_example.json").read_text())
    strides = data["input"]["strides"]
    num_classes = data["input"]["num_classes"]

    def __init__(self):
        generator = AnchorGenerator(self.strides, [1.0], [5.0], center_offset=0.5)
        sizes = [tuple(size) for size in self.data["input"]["feature_sizes"]]
        self.priors = generator(sizes, torch.device("cpu"))
        boxes = torch.tensor(self.data["gt_bboxes_xyxy_pixels"])
        labels = torch.tensor(self.data["gt_labels_padded_with_0"])
        valid, none = torch.tensor(self.data["gt_mask"]), torch.zeros(4, 1, 4)
        self.gt = GroundTruth(boxes, labels, valid, none, torch.zeros(4, 1, dtype=torch.bool))

    def assign(self, min_side: float) -> tuple[torch.Tensor, torch.Tensor]:
        random = torch.Generator().manual_seed(0)
        logits = torch.randn(4, 84, self.num_classes, generator=random)
        bins = torch.randn(4, 84, 4 * self.data["input"]["reg_bins"], generator=random)
        strides = self.priors.strides[:, :1]
        boxes = DistributionCoder().decode(self.priors.centers, strides, bins)
        assigner = TaskAlignedAssigner(self.data["printed_in_text"]["topk"], min_side=min_side)
        return assigner.assign(self.priors, self.gt, None, logits, boxes)


def test_worked_example_has_its_points_and_ground_truth():
    worked, data = Worked(), Worked.data
    assert len(worked.priors.boxes) == data["num_anchors"]
    assert (
        dict(zip(map(str, worked.strides), worked.priors.level_sizes, strict=True))
        == data["stride_counts"]
    )
    points = worked.priors.centers / worked.priors.strides[:, :1]
    assert (
        points[data["anchor_points_first_last_index"]].tolist()
        == (data["anchor_points_first_last"])
    )
    rows = torch.tensor(data["input"]["labels_image_class_cx_cy_w_h"])
    boxes = xyxy_from_cxcywh(rows[:, 2:]) * data["input"]["image_size"][0]
    close(boxes, worked.gt.boxes[worked.gt.valid], rtol=0, atol=1e-3)
    assert torch.equal(rows[:, 1].long(), worked.gt.labels[worked.gt.valid])


@pytest.mark.parametrize(("rule", "min_side"), [("plain", 0), ("enlarged", 160)])
def test_worked_example_has_its_candidates(rule, min_side):
    worked = Worked()
    inside = TaskAlignedAssigner(min_side=min_side)._inside(worked.priors.centers, worked.gt.boxes)
    inside &= worked.gt.valid[..., None]
    found = [[row.nonzero()[:, 0].tolist() for row in image] for image in inside]
    assert found == worked.data[f"anchors_inside_each_gt_{rule}_rule"]


@pytest.mark.parametrize(("min_side", "allowed"), [(0, {3, 4, 5}), (160, {3, 4, 5, 65, 66})])
def test_worked_example_gives_a_box_none_but_points_inside_it(min_side, allowed):
    """The text gives box 1 of image 0 the points 0 to 9, most of which are outside."""
    worked = Worked()
    assigned, scores = worked.assign(min_side)
    assert set((assigned[0] == 1).nonzero()[:, 0].tolist()) <= allowed
    inside = worked.data["anchors_inside_each_gt_plain_rule"][0][0]
    of_first = set((assigned[0] == 0).nonzero()[:, 0].tolist())
    assert of_first <= set(inside)
    assert len(of_first) == worked.data["printed_in_text"]["topk"]
    assert (scores[assigned < 0] == 0).all()
