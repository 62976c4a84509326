"""NanoDet-Plus: geometry, losses, assignment, head loss, detections, and the whole model.

Run with: pytest tests/conformance/test_nanodet_plus.py
"""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from reference import ROOT, Arrays, close, make_batch, make_gt
from torch import Tensor

from mmdet_lite.apis.convert import convert_content
from mmdet_lite.models.assigners import NEGATIVE, DynamicSoftLabelAssigner
from mmdet_lite.models.coders import DistributionCoder
from mmdet_lite.models.dense_heads import NanoDetOutput, NanoDetPlusHead
from mmdet_lite.models.losses import DistributionFocalLoss, GIoULoss, QualityFocalLoss
from mmdet_lite.models.priors import AnchorGenerator, Priors
from mmdet_lite.registry import MODELS, build
from mmdet_lite.structures.boxes import (
    boxes_around,
    clip_boxes,
    pairwise_iof,
    pairwise_iou,
    side_distances,
)
from mmdet_lite.structures.samples import GroundTruth

FOLDER = "one_stage/nanodet_plus"
ASSIGNER, LOSS, GEOMETRY, DETECTIONS, MODEL = (
    Arrays(name, FOLDER)
    for name in ("assigner", "loss", "geometry_losses", "detections", "model_320")
)
META = json.loads((ROOT / FOLDER / "meta.json").read_text())
FACTS = json.loads((ROOT / FOLDER / "model_320.json").read_text())
CONFIG = ROOT.parents[2] / "configs/_base_/models/nanodet-plus-m.py"
K, SIZE = META["nc"], tuple(META["image_hw"])
NUM_BINS = META["reg_max"] + 1
CASES = sorted({name.partition("__")[0] for name in ASSIGNER.names} - {"priors"})
LOSSES = ("loss_qfl", "loss_bbox", "loss_dfl")


def _tolerant(ours: Tensor, theirs: Tensor) -> None:
    """The folder's tolerance for losses and gradients."""
    close(ours, theirs, rtol=1e-4, atol=1e-6)


def _priors(size: tuple[int, int] = SIZE) -> Priors:
    shapes = [(-(-size[0] // s), -(-size[1] // s)) for s in META["strides"]]
    generator = AnchorGenerator(META["strides"], [1.0], scales=[1.0])
    return generator(shapes, torch.device("cpu"))


def _points(priors: Priors) -> Tensor:
    return torch.cat([priors.centers, priors.strides], dim=1)  # x, y, stride, stride


# Geometry and elementary losses


def test_priors_equal_the_reference():
    assert torch.equal(_points(_priors()), GEOMETRY["priors_96x136"])
    assert torch.equal(_points(_priors((100, 75))), GEOMETRY["priors_100x75"])
    large = _points(_priors((320, 320)))
    assert torch.equal(large[:40], GEOMETRY["priors_320x320_first40"])
    assert torch.equal(large[-30:], GEOMETRY["priors_320x320_last30"])
    assert len(large) == GEOMETRY["priors_320x320_count"]
    assert torch.equal(_points(_priors()), ASSIGNER["priors"])
    assert torch.equal(_points(_priors()), LOSS["center_priors"])


def test_expected_distances_equal_the_reference():
    coder, logits = DistributionCoder(NUM_BINS), GEOMETRY["integral_x"].requires_grad_()
    origin = logits.new_zeros(len(logits), 2)
    decoded = side_distances(origin, coder.decode(origin, origin[:, :1] + 1, logits))
    _tolerant(decoded, GEOMETRY["integral_y"])
    decoded.square().sum().backward()
    _tolerant(logits.grad, GEOMETRY["integral_grad_of_sum_of_squares"])


def test_distances_and_boxes_equal_the_reference():
    boxes = boxes_around(GEOMETRY["d2b_points"], GEOMETRY["d2b_distance"])
    close(boxes, GEOMETRY["d2b_bbox"])
    clipped = clip_boxes(boxes[None], torch.tensor([[64, 80]]))[0]
    close(clipped, GEOMETRY["d2b_bbox_clipped_hw64x80"])
    points, target = GEOMETRY["b2d_points"], GEOMETRY["b2d_bbox"]
    close(side_distances(points, target), GEOMETRY["b2d_distance"])
    stride = points.new_full((len(points), 1), 8)
    encoded = DistributionCoder(NUM_BINS, margin=0.1).encode(points, stride, target)
    close(encoded, GEOMETRY["b2d_distance_max7"])


def test_quality_focal_loss_equals_the_reference():
    pred = GEOMETRY["qfl_pred"].requires_grad_()
    label, score = GEOMETRY["qfl_label"], GEOMETRY["qfl_score"]
    target = F.one_hot(label, K + 1)[:, :K] * score[:, None]
    each = [
        QualityFocalLoss()(pred[i : i + 1], target[i : i + 1], torch.ones(1), 1.0)
        for i in range(len(pred))
    ]
    _tolerant(torch.stack(each), GEOMETRY["qfl_loss_none"])
    torch.stack(each).sum().backward()
    _tolerant(pred.grad, GEOMETRY["qfl_grad_of_sum"])
    weighted = QualityFocalLoss()(pred, target, GEOMETRY["qfl_weight"], 3.5)
    _tolerant(weighted, GEOMETRY["qfl_loss_weighted_avg3p5"])


def test_distribution_focal_loss_equals_the_reference():
    pred, target = GEOMETRY["dfl_pred"].requires_grad_(), GEOMETRY["dfl_target"]
    loss, one = DistributionFocalLoss(), torch.ones(1)  # of a box whose four sides are the same
    pairs = zip(pred, target, strict=True)
    each = torch.stack([loss(p.repeat(1, 4), t.repeat(1, 4), one, 1.0) for p, t in pairs])
    _tolerant(each, GEOMETRY["dfl_loss_none"])
    each.sum().backward()
    _tolerant(pred.grad, GEOMETRY["dfl_grad_of_sum"])


def test_giou_loss_equals_the_reference():
    pred, target = GEOMETRY["giou_pred"].requires_grad_(), GEOMETRY["giou_target"]
    each = GIoULoss().elements(pred, target)
    _tolerant(each, GEOMETRY["giou_loss_none"])
    each.sum().backward()
    _tolerant(pred.grad, GEOMETRY["giou_grad_of_sum"])
    _tolerant(pairwise_iou(pred.detach(), target), GEOMETRY["giou_pairwise_iou"])
    _tolerant(pairwise_iof(pred.detach(), target), GEOMETRY["giou_pairwise_iof"])


# Assignment


class Case:
    """One image of assigner.npz."""

    def __init__(self, name: str):
        self.name = name
        boxes, labels = self["gt_bboxes"], self["gt_labels"]
        self.gt = make_gt([boxes], [labels])
        self.args = (_priors(), self.gt, None, self["cls_logits"][None])
        self.args += (self["decoded_bboxes"][None],)
        topk, iou_factor = (5, 1.0) if "topk5" in name else (META["topk"], META["iou_factor"])
        self.assigner = DynamicSoftLabelAssigner(topk, iou_factor)

    def __getitem__(self, array: str) -> Tensor:
        return ASSIGNER[f"{self.name}__{array}"]


@pytest.mark.parametrize("name", CASES)
def test_assignment_equals_the_reference(name):
    case = Case(name)
    assigned, scores = (rows[0] for rows in case.assigner.assign(*case.args))
    assert torch.equal(assigned, case["gt_inds"] - 1)  # 0 is the background there
    is_pos = assigned >= 0
    assert (assigned[~is_pos] == NEGATIVE).all() and (scores[~is_pos] == 0).all()
    close(scores[is_pos], case["max_overlaps"][is_pos], rtol=0, atol=2e-5)
    assert (case["max_overlaps"][~is_pos] <= 0).all()
    labels = case.gt.labels[0][assigned.clamp(min=0)]
    assert torch.equal(torch.where(is_pos, labels, -1), case["labels"])


@pytest.mark.parametrize("name", [n for n in CASES if f"{n}__cost" in ASSIGNER])
def test_costs_and_counts_equal_the_reference(name):
    case = Case(name)
    cost, iou = case.assigner.cost(*case.args)
    possible = cost[0].isfinite()
    assert torch.equal(possible, case["valid_mask"].expand_as(possible))
    _tolerant(cost[0][:, case["valid_mask"]].T, case["cost"])
    close(iou[0][:, case["valid_mask"]].T, case["pairwise_ious"])
    assert torch.equal(case.assigner.take(cost, iou)[0].sum(dim=1), case["dynamic_ks"].long())


@pytest.mark.parametrize("name", ["overlap", "random"])
def test_probabilities_in_place_of_logits_are_another_assignment(name):
    right, wrong = Case(f"{name}_logits"), Case(f"{name}_double_sigmoid")
    probabilities = right["cls_logits"].sigmoid()[None]
    twice, _ = right.assigner.assign(*right.args[:3], probabilities, right.args[4])
    assert torch.equal(twice[0], wrong["gt_inds"] - 1)
    assert not torch.equal(twice[0], right["gt_inds"] - 1)


# The head's loss and detections


def _head() -> NanoDetPlusHead:
    weights = META["weights"]
    return NanoDetPlusHead(
        num_classes=K,
        in_channels=8,
        feat_channels=8,
        strides=META["strides"],
        bbox_coder=DistributionCoder(NUM_BINS, margin=0.1),
        assigner=DynamicSoftLabelAssigner(META["topk"], META["iou_factor"]),
        loss_cls=QualityFocalLoss(META["qfl_beta"], weights["qfl"]),
        loss_bbox=GIoULoss(weights["giou"]),
        loss_dfl=DistributionFocalLoss(weights["dfl"]),
    )


def _output(preds: Tensor) -> NanoDetOutput:
    return NanoDetOutput(preds[..., :K], preds[..., K:], _priors())


def _batch(with_gt: bool = True):
    stop = None if with_gt else 0
    boxes = [LOSS[f"gt_bboxes{i}"][:stop] for i in range(3)]
    labels = [LOSS[f"gt_labels{i}"][:stop] for i in range(3)]
    return make_batch(torch.zeros(3, 3, *SIZE), [SIZE] * 3, [SIZE] * 3, make_gt(boxes, labels))


@pytest.mark.parametrize("case", ["self", "aux", "zero"])
def test_losses_and_gradients_equal_the_reference(case):
    preds, aux = LOSS["preds"].requires_grad_(), LOSS["aux_preds"].requires_grad_()
    guide = _output(aux) if case == "aux" else None
    losses = _head().loss(_output(preds), _batch(case != "zero"), guide)
    _same_losses(losses, LOSS, case)
    sum(losses.values()).backward()
    _tolerant(preds.grad, LOSS[f"{case}__grad_preds"])
    if case == "aux":
        _tolerant(aux.grad, LOSS["aux__grad_aux_preds"])


def _same_losses(losses: dict[str, Tensor], arrays: Arrays, case: str) -> None:
    for name, value in losses.items():
        _tolerant(value, arrays[f"{case}__{name.replace('loss_cls', 'loss_qfl')}"])
    _tolerant(sum(losses.values()), arrays[f"{case}__loss"])


@pytest.mark.parametrize("case", ["self", "aux", "zero"])
def test_targets_equal_the_reference(case):
    head, output = _head(), _output(LOSS["aux_preds" if case == "aux" else "preds"])
    targets = head.targets(output, _batch(case != "zero"))
    priors, strides = output.priors, output.priors.strides[:, :1]
    decoded = head.bbox_coder.decode(priors.centers, strides, output.sides)
    close(decoded, LOSS[f"{case}__decoded_bboxes_of_assigning_branch"], rtol=1e-5, atol=1e-4)
    assert torch.equal(targets.labels, LOSS[f"{case}__labels"])
    assert torch.equal(targets.weights, LOSS[f"{case}__label_weights"])
    close(targets.scores, LOSS[f"{case}__label_scores"], rtol=0, atol=2e-5)
    is_pos = targets.is_pos[..., None]
    assert torch.equal(targets.is_pos.sum(dim=1), LOSS[f"{case}__num_pos"])
    close(torch.where(is_pos, targets.boxes, 0), LOSS[f"{case}__bbox_targets"])
    distances = head.bbox_coder.encode(priors.centers, strides, targets.boxes)
    close(torch.where(is_pos, distances, 0), LOSS[f"{case}__dist_targets"])


def test_detections_equal_the_reference():
    detections = _head().predict(_output(LOSS["preds"]), torch.tensor([SIZE] * 3))
    assert detections.valid.all()
    for i in range(3):
        ours = torch.cat([detections.boxes[i], detections.scores[i, :, None]], dim=1)
        ours, labels = _in_order(ours, detections.labels[i])
        theirs, their_labels = _in_order(DETECTIONS[f"dets{i}"], DETECTIONS[f"det_labels{i}"])
        close(ours[:, 4], theirs[:, 4])
        close(ours[:, :4], theirs[:, :4], rtol=1e-5, atol=1e-3)
        assert torch.equal(labels, their_labels)


def _in_order(rows: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """By falling score, equal ones by x1: two pairs of detections have the same score."""
    rows, labels = (value[rows[:, 0].argsort()] for value in (rows, labels))
    order = rows[:, 4].argsort(descending=True, stable=True)
    return rows[order], labels[order]


# The whole model


def _generate(index: int, low: float, high: float, shape: list[int]) -> Tensor:
    """The values that the reference's README describes."""
    count, mask = int(torch.tensor(shape).prod()), 2**32 - 1
    k = torch.arange(count) * 2654435761 + index * 40503 + FACTS["seed"] * 97531 + 12345
    k = k & mask
    for _ in range(2):
        k = _multiply(k ^ (k >> 16), 0x45D9F3B) & mask
    u = (k ^ (k >> 16)).double() / 2**32
    value = (low + (high - low) * u).numpy().astype(np.float16)  # torch rounds twice, by float32
    return torch.from_numpy(value.astype(np.float32)).reshape(shape)


def _multiply(k: Tensor, factor: int) -> Tensor:
    """Of 32 bits each, modulo 2^32, without an overflow of 63 bits."""
    return (k & 0xFFFF) * factor + (((k >> 16) * factor & 0xFFFF) << 16)


def _checkpoint() -> dict[str, Tensor]:
    state = {}
    for entry in FACTS["state_dict"]:
        if entry["fill"] is not None:
            state[entry["key"]] = _generate(entry["index"], *entry["fill"], entry["shape"])
        else:
            is_bins = entry["dtype"] == "float32"
            state[entry["key"]] = torch.arange(8.0) if is_bins else torch.tensor(0)
    return state


@pytest.fixture(scope="module")
def checkpoint() -> dict[str, Tensor]:
    return _checkpoint()


@pytest.fixture(scope="module")
def model(checkpoint) -> torch.nn.Module:
    cfg = Config.fromfile(CONFIG).model
    cfg.normalizer = {"type": "ImageNormalizer", "mean": [0.0] * 3, "std": [1.0] * 3}
    model = build(cfg, MODELS)
    model.load_state_dict(convert_content(checkpoint, "the reference").weights)
    return model


def test_generated_weights_have_the_checksums(checkpoint):
    sums = torch.tensor([v.double().abs().sum() for v in checkpoint.values()])
    firsts = torch.tensor([v.double().reshape(-1)[0] for v in checkpoint.values()])
    close(sums, MODEL["tensor_checksums_abs_sum"])
    assert torch.equal(firsts, MODEL["tensor_first_value"])
    image = _generate(100000, *FACTS["image_range"], [1, 3, 320, 320])
    assert torch.equal(image.flatten()[:32], MODEL["image_first_32"])


def test_numbers_of_parameters_are_the_originals(model):
    names = {"fpn": "neck", "head": "bbox_head", "aux_fpn": "aux_neck"}
    for theirs, expected in FACTS["parameters"].items():
        part = model.get_submodule(names.get(theirs, theirs))
        assert sum(p.numel() for p in part.parameters()) == expected
    assert sum(p.numel() for p in model.parameters()) == FACTS["parameters_total"] == 4330904
    predicting = sum(p.numel() for p in model.inference_parameters())
    assert predicting == FACTS["parameters_inference"] == 1197924


@torch.no_grad()
def test_outputs_of_all_parts_equal_the_reference(model):
    model.eval()
    maps = model.backbone(_generate(100000, *FACTS["image_range"], [1, 3, 320, 320]))
    feats, aux_feats = model.neck(maps), model.aux_neck(maps)
    output, guide = model.bbox_head(feats), model._guide(maps, feats)
    outs = {f"backbone_c{i + 3}": value for i, value in enumerate(maps)}
    outs |= {f"fpn_p{i + 3}": value for i, value in enumerate(feats)}
    outs |= {f"aux_fpn_p{i + 3}": value for i, value in enumerate(aux_feats)}
    outs["head_out"] = torch.cat([output.logits, output.sides], dim=-1)
    outs["aux_head_out"] = torch.cat(guide, dim=-1)
    for name, value in outs.items():
        index = MODEL[f"{name}__index"]
        close(value.flatten()[index], MODEL[f"{name}__value"], rtol=0, atol=1e-4)
        _same_statistics(value.double(), FACTS["output_stats"][name])


def _same_statistics(value: Tensor, stats: dict) -> None:
    ours = {
        "mean": value.mean(),
        "std": value.std(correction=0),
        "min": value.min(),
        "max": value.max(),
        "abs_sum": value.abs().sum(),
    }
    assert set(stats) == {*ours, "shape"} and list(value.shape) == stats["shape"]
    for name, number in ours.items():
        assert float(number) == pytest.approx(stats[name], rel=1e-4, abs=1e-4), name


@pytest.mark.parametrize(("case", "epoch"), [("attached", 0), ("detached", 10)])
def test_one_training_step_equals_the_reference(model, checkpoint, case, epoch):
    model.load_state_dict(convert_content(checkpoint, "the reference").weights)
    model.train().zero_grad()
    image = FACTS["train_image_tensor_index"], *FACTS["image_range"]
    gt = _train_gt()
    batch = make_batch(_generate(*image, [2, 3, 320, 320]), [(320, 320)] * 2, [(320, 320)] * 2, gt)
    batch.epoch = epoch
    losses = model(batch)
    _same_losses(losses, MODEL, f"train_{case}")
    sum(losses.values()).backward()
    parts = (model.backbone, model.neck, model.bbox_head, model.aux_neck, model.aux_head)
    norms = [
        torch.stack([p.grad.double().norm() for p in part.parameters()]).norm() for part in parts
    ]
    theirs = MODEL[f"train_{case}__grad_norm_backbone_fpn_head_auxfpn_auxhead"]
    close(torch.stack(norms), theirs, rtol=1e-4)


def _train_gt() -> GroundTruth:
    boxes = [MODEL[f"train__gt_bboxes{i}"] for i in range(2)]
    return make_gt(boxes, [MODEL[f"train__gt_labels{i}"] for i in range(2)])
