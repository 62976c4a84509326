"""YOLOv5: targets, losses, gradients and decoding, against numbers of the original."""

from __future__ import annotations

import json

import pytest
import torch
from reference import ROOT, Arrays, close, make_batch, make_gt
from torch import Tensor

from mmdet_lite.models.assigners import ShapeRatioAssigner
from mmdet_lite.models.dense_heads import YOLOv5Head, YOLOv5Output
from mmdet_lite.models.dense_heads.yolov5_head import decode
from mmdet_lite.models.losses import CIoULoss, FocalLoss, SigmoidCrossEntropyLoss
from mmdet_lite.models.priors import YOLOAnchorGenerator
from mmdet_lite.models.targets import EntryTargets, entry_target
from mmdet_lite.structures.boxes import aligned_ciou, xyxy_from_cxcywh

FOLDER = "one_stage/yolov5"
LOSS, PARTS, SINGLE, DECODE = (
    Arrays(name, FOLDER) for name in ("loss", "parts", "single_class", "decode")
)
META = json.loads((ROOT / FOLDER / "meta.json").read_text())
LEVELS = range(3)
NUM_ANCHORS = META["na"]
CLOSE = dict(rtol=1e-4, atol=1e-6)  # the reference's own suggestion
TARGETS = {
    "targets": "targets",
    "zero_targets": None,
    "one_targets": "one__targets",
    "single_positive_targets": "single_positive__targets",
}


def _head(
    num_classes: int = META["nc"],
    losses: type = SigmoidCrossEntropyLoss,
    cls: dict | None = None,
    obj: dict | None = None,
    **settings,
) -> YOLOv5Head:
    hyp = META["hyp_default"]
    return YOLOv5Head(
        num_classes=num_classes,
        in_channels=[1, 1, 1],
        prior_generator=YOLOAnchorGenerator(
            META["strides"], [[level[i : i + 2] for i in (0, 2, 4)] for level in META["anchors_px"]]
        ),
        assigner=ShapeRatioAssigner(hyp["anchor_t"]),
        loss_cls=losses(loss_weight=hyp["cls"], **(cls or {})),
        loss_obj=losses(loss_weight=hyp["obj"], **(obj or {})),
        loss_bbox=CIoULoss(min_iou=0, loss_weight=hyp["box"]),
        obj_balance=META["layer_balance"],
        **settings,
    )


def _output(head: YOLOv5Head, maps: list[Tensor]) -> YOLOv5Output:
    """Their (B, N, H, W, 5 + K) to ours, where the anchors of a cell follow one another."""
    raw = [m.permute(0, 2, 3, 1, 4).reshape(len(m), -1, m.shape[-1]) for m in maps]
    shapes = [tuple(m.shape[2:4]) for m in maps]
    return YOLOv5Output(torch.cat(raw, 1), head.prior_generator(shapes, torch.device("cpu")))


def _batch(targets: Tensor | None, num_images: int):
    """Their rows (image, class, cx, cy, w, h in shares of the image's sides)."""
    height, width = META["image_hw"]
    rows = torch.zeros(0, 6) if targets is None else targets
    boxes = xyxy_from_cxcywh(rows[:, 2:] * torch.tensor([width, height] * 2))
    of_image = [rows[:, 0] == i for i in range(num_images)]
    gt = make_gt([boxes[i] for i in of_image], [rows[i, 1].long() for i in of_image])
    shapes = [(height, width)] * num_images
    return make_batch(torch.zeros(num_images, 3, height, width), shapes, shapes, gt)


def _maps(arrays: Arrays = LOSS) -> list[Tensor]:
    return [arrays[f"p{level}"].requires_grad_() for level in LEVELS]


def _targets(name: str) -> tuple[YOLOv5Output, EntryTargets]:
    head, key = _head(), TARGETS[name]
    output = _output(head, _maps())
    gt = _batch(None if key is None else LOSS[key], META["batch_size"]).gt
    valid = torch.ones(output.raw.shape[:2], dtype=torch.bool)
    return output, entry_target(output.priors, valid, head.sizes, gt, head.assigner, META["nc"])


def _entries(output: YOLOv5Output, targets: EntryTargets, level: int) -> dict[str, Tensor]:
    """A level's valid entries image by image, each image's in our order, with their names."""
    valid = targets.valid[:, level]
    inds = targets.inds[:, level][valid]
    image = valid.nonzero()[:, 0]
    cells = output.priors.cells[inds]
    return {
        "indices": torch.stack([image, inds % NUM_ANCHORS, *cells.unbind(1)], dim=1),
        "tcls": targets.labels[:, level][valid],
        "tbox": targets.boxes[:, level][valid],
        "anch": targets.sizes[:, level][valid],
        "inds": inds,
    }


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("level", LEVELS)
def test_targets_equal_the_reference(name, level):
    ours = _entries(*_targets(name), level)
    theirs = {key: LOSS[f"{name}__l{level}_{key}"] for key in ("indices", "tcls", "tbox", "anch")}
    order = theirs["indices"][:, 0].argsort(stable=True)  # image by image, as ours
    assert torch.equal(ours["indices"], theirs["indices"][order])
    assert torch.equal(ours["tcls"], theirs["tcls"][order])
    close(ours["tbox"], theirs["tbox"][order], rtol=0, atol=1e-5)
    close(ours["anch"], theirs["anch"][order], rtol=1e-6)
    repeated = len(ours["indices"]) - len(ours["indices"].unique(dim=0))
    assert repeated == LOSS[f"{name}__l{level}_num_duplicate_cells"]


@pytest.mark.parametrize("level", LEVELS)
def test_decoded_entries_and_their_ciou_equal_the_reference(level):
    output, targets = _targets("targets")
    ours = _entries(output, targets, level)
    raw = output.raw.detach()[ours["indices"][:, 0], ours["inds"]]
    boxes = torch.cat(decode(raw[:, :4], ours["anch"]), dim=1)
    ciou = aligned_ciou(xyxy_from_cxcywh(boxes), xyxy_from_cxcywh(ours["tbox"]))
    order = LOSS[f"targets__l{level}_indices"][:, 0].argsort(stable=True)
    close(boxes, PARTS[f"l{level}_pbox"][order], **CLOSE)
    close(ciou, PARTS[f"l{level}_ciou"][order], rtol=1e-4, atol=1e-5)


def _check_loss(
    losses: dict[str, Tensor], arrays: Arrays, case: str, num_images: int, end: str = ""
) -> None:
    close(sum(losses.values()), arrays[f"{case}__loss_total_times_bs{end}"][0], **CLOSE)
    items = torch.stack([losses[f"loss_{name}"] for name in ("bbox", "obj", "cls")]) / num_images
    close(items, arrays[f"{case}__loss_items_box_obj_cls{end}"], **CLOSE)


CASES = {
    "default": ({}, "targets"),
    "smooth01": ({"label_smoothing": 0.1}, "targets"),
    "focal15": (
        {"losses": FocalLoss, "cls": {"gamma": 1.5}, "obj": {"gamma": 1.5}},
        "targets",
    ),
    "pw": (
        {
            "cls": {"pos_weight": META["variants"]["pw"]["cls_pw"]},
            "obj": {"pos_weight": META["variants"]["pw"]["obj_pw"]},
        },
        "targets",
    ),
    "zero": ({}, None),
    "one": ({}, "one__targets"),
    "single_positive": ({}, "single_positive__targets"),
}


@pytest.mark.parametrize("case", CASES)
def test_losses_equal_the_reference(case):
    settings, key = CASES[case]
    head, num_images = _head(**settings), META["batch_size"]
    batch = _batch(None if key is None else LOSS[key], num_images)
    _check_loss(head.loss(_output(head, _maps()), batch), LOSS, case, num_images)


def test_gradients_equal_the_reference():
    head, maps = _head(), _maps()
    losses = head.loss(_output(head, maps), _batch(LOSS["targets"], META["batch_size"]))
    sum(losses.values()).backward()
    for level, values in enumerate(maps):
        close(values.grad, LOSS[f"default__grad_p{level}"], **CLOSE)


def test_balances_of_two_steps_equal_the_reference():
    head, batch = _head(autobalance=True), _batch(LOSS["targets"], META["batch_size"])
    for call in range(2):
        losses = head.loss(_output(head, _maps()), batch)
        _check_loss(losses, LOSS, "autobalance", META["batch_size"], f"_call{call}")
        theirs = LOSS[f"autobalance__balance_after_call{call}"]
        close(head.obj_balance, theirs, rtol=1e-6)


def test_a_single_class_has_no_class_loss():
    maps = _maps(SINGLE)
    head, num_images = _head(num_classes=1), len(maps[0])
    losses = head.loss(_output(head, maps), _batch(SINGLE["targets"], num_images))
    assert losses["loss_cls"] == 0
    _check_loss(losses, SINGLE, "default", num_images)


def test_decoded_output_equals_the_reference():
    head = _head()
    for conv in head.convs:  # the maps pass through: their channels are those of a layer's output
        conv.weight = torch.nn.Parameter(torch.eye(conv.out_channels)[..., None, None])
        torch.nn.init.zeros_(conv.bias)
    output = head([DECODE[f"conv{level}"] for level in LEVELS])
    boxes, scores = head.decode_all(output), output.raw[..., 4:].sigmoid()
    center, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    ours = torch.cat([center, size, scores], dim=-1)
    start = 0
    for level in LEVELS:  # theirs are ordered by anchor, row, column
        height, width = DECODE[f"conv{level}"].shape[2:]
        part = ours[:, start : start + height * width * NUM_ANCHORS]
        part = part.unflatten(1, (height, width, NUM_ANCHORS)).permute(0, 3, 1, 2, 4)
        theirs = DECODE["decoded"][:, start : start + height * width * NUM_ANCHORS]
        close(part.flatten(1, 3), theirs, rtol=1e-4, atol=1e-4)
        start += height * width * NUM_ANCHORS
    raw = output.raw[:, -2 * 3 * NUM_ANCHORS :].unflatten(1, (2, 3, NUM_ANCHORS))
    assert torch.equal(raw.permute(0, 3, 1, 2, 4), DECODE["p2_permuted"])
    assert DECODE.size("image_hw") == (64, 96)


def test_every_array_is_compared():
    named = {"anchors_px", "strides"} | {f"p{level}" for level in LEVELS}
    ours = torch.tensor(META["anchors_px"]).reshape(3, 3, 2)
    assert torch.equal(LOSS["anchors_px"], ours.float())
    assert LOSS["strides"].tolist() == META["strides"]
    known = (*CASES, "autobalance", *TARGETS)
    assert all(name in named or name.split("__")[0] in known for name in LOSS.names)
