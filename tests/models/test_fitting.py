"""Heads refuse parts of ours that work on something else, and take those of a user's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mmdet_lite.apis.config import load_config
from mmdet_lite.models.assigners import MaxIoUAssigner
from mmdet_lite.models.losses import L1Loss
from mmdet_lite.registry import MODELS, build

HEAD = "model.bbox_head"
ROI = "model.roi_head"
CONFIGS = {
    "two-stage": "demo/mask-rcnn_r18_fpn_shapes.py",
    "cascade": "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py",
    "retina": "mix/retinanet-tal_shapes.py",
    "retina-ap": "demo/retinanet-ap_shapes.py",
    "fcos": "mix/fcos-ap_shapes.py",
    "nanodet": "demo/nanodet-plus_shapes.py",
    "yolov5": "demo/yolov5_shapes.py",
    "yolov8": "demo/yolov8_shapes.py",
}
MAX_IOU = dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4)
AP = dict(type="APAssigner")


@MODELS.register_module()
class UsersLoss(nn.Module):
    """Derives from nothing of ours."""

    def forward(self, pred: Any, target: Any, weight: Any, avg_factor: Any) -> Any:
        """To a scalar."""
        return pred.sum() * 0


@MODELS.register_module()
class UsersAssigner:
    """Has the interface and nothing else."""

    def assign(self, priors: Any, gt: Any, valid: Any = None) -> Any:
        """All priors are negative."""


@MODELS.register_module()
class UsersMaxIoU(MaxIoUAssigner):
    """One of ours, changed."""


@pytest.fixture(autouse=True, scope="module")
def _registered():
    yield
    for cls in (UsersLoss, UsersAssigner, UsersMaxIoU):
        MODELS.module_dict.pop(cls.__name__)


def build_changed(config: str, key: str, value: Any) -> nn.Module:
    cfg = load_config(CONFIGS[config], {key: value})
    with torch.device("meta"):
        return build(cfg.model, MODELS)


def of(name: str) -> dict:
    return dict(type=name)


@pytest.mark.parametrize(
    ("config", "key", "part", "words"),
    [
        ("two-stage", "model.rpn_head.loss_cls", of("APLoss"), "BinaryCrossEntropyLoss$"),
        ("two-stage", "model.rpn_head.loss_cls", of("FocalLoss"), "BinaryCrossEntropyLoss$"),
        ("two-stage", "model.rpn_head.loss_bbox", of("GIoULoss"), "BalancedL1Loss, L1Loss"),
        ("two-stage", "model.rpn_head.assigner", AP, "MaxIoUAssigner"),
        ("two-stage", f"{ROI}.bbox_head.loss_cls", of("APLoss"), "CrossEntropyLoss"),
        ("two-stage", f"{ROI}.bbox_head.loss_bbox", of("GIoULoss"), "reg_decoded_bbox=True"),
        ("two-stage", f"{ROI}.mask_head.loss_mask", of("L1Loss"), "MaskCrossEntropyLoss"),
        ("two-stage", f"{ROI}.assigner", of("FCOSAssigner"), "MaxIoUAssigner"),
        ("cascade", f"{ROI}.assigner.1", of("TaskAlignedAssigner"), "MaxIoUAssigner"),
        ("retina", f"{HEAD}.assigner", of("ShapeRatioAssigner"), "TaskAlignedAssigner"),
        ("retina", f"{HEAD}.assigner", of("FCOSAssigner"), "MaxIoUAssigner"),
        ("retina", f"{HEAD}.bbox_coder", of("DistributionCoder"), "DeltaXYWHBBoxCoder"),
        ("retina", f"{HEAD}.loss_cls", of("CrossEntropyLoss"), "APLoss, FocalLoss"),
        ("retina-ap", f"{HEAD}.anchor_generator.inclusive", False, r"AnchorGenerator, inclusive=T"),
        ("fcos", f"{HEAD}.loss_bbox", of("L1Loss"), "GIoULoss"),
        ("fcos", f"{HEAD}.loss_centerness", of("FocalLoss"), "BinaryCrossEntropyLoss"),
        ("nanodet", f"{HEAD}.loss_cls", of("APLoss"), "QualityFocalLoss"),
        ("nanodet", f"{HEAD}.bbox_coder", of("DeltaXYWHBBoxCoder"), "DistributionCoder"),
        ("nanodet", f"{HEAD}.assigner", of("NMS"), "is no such part"),
        ("yolov8", f"{HEAD}.assigner", of("ShapeRatioAssigner"), "TaskAlignedAssigner"),
        ("yolov8", f"{HEAD}.assigner", AP, "inclusive=True"),
        ("yolov8", f"{HEAD}.loss_cls", of("APLoss"), "SigmoidCrossEntropyLoss"),
        ("yolov8", f"{HEAD}.loss_dfl", of("L1Loss"), "DistributionFocalLoss"),
        ("yolov5", f"{HEAD}.assigner", of("TaskAlignedAssigner"), "ShapeRatioAssigner"),
        ("yolov5", f"{HEAD}.loss_obj", of("APLoss"), "SigmoidCrossEntropyLoss"),
        ("yolov5", f"{HEAD}.loss_bbox", of("L1Loss"), "CIoULoss"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(config, key, part, words):
    name = part["type"] if isinstance(part, dict) else "APAssigner"
    with pytest.raises(ValueError, match=rf"^\w+Head: \w+={name} .*{words}"):
        build_changed(config, key, part)


@pytest.mark.parametrize(
    ("config", "key", "part"),
    [
        ("two-stage", f"{ROI}.assigner", of("UsersAssigner")),
        ("two-stage", "model.rpn_head.loss_cls", of("UsersLoss")),
        ("retina", f"{HEAD}.assigner", of("UsersAssigner")),
        ("retina", f"{HEAD}.assigner", MAX_IOU | of("UsersMaxIoU")),
        ("retina", f"{HEAD}.loss_cls", of("APLoss")),
        ("nanodet", f"{HEAD}.assigner", MAX_IOU),
        ("yolov8", f"{HEAD}.assigner", of("UsersAssigner")),
        ("yolov8", f"{HEAD}.loss_cls", of("UsersLoss")),
        ("yolov5", f"{HEAD}.loss_obj", of("QualityFocalLoss")),
        ("yolov5", f"{HEAD}.assigner", of("UsersAssigner")),
    ],
)
def test_parts_that_fit_and_those_of_a_user_are_taken(config, key, part):
    assert build_changed(config, key, part) is not None


def test_a_class_that_derives_from_ours_fits_where_that_does():
    with pytest.raises(ValueError, match=r"YOLOv5Head: assigner=UsersMaxIoU works on the overlaps"):
        build_changed("yolov5", f"{HEAD}.assigner", MAX_IOU | of("UsersMaxIoU"))


def test_a_box_head_that_decodes_takes_losses_on_boxes():
    cfg = load_config(CONFIGS["two-stage"]).model.roi_head.bbox_head
    for loss in ("GIoULoss", "L1Loss"):
        head = build(cfg | dict(reg_decoded_bbox=True, loss_bbox=dict(type=loss)), MODELS)
        assert type(head.loss_bbox).__name__ == loss
    assert isinstance(build(cfg, MODELS).loss_bbox, L1Loss)


@pytest.mark.parametrize(
    ("config", "key", "value", "words"),
    [
        ("yolov8", f"{HEAD}.assigner.min_side", -5, "TaskAlignedAssigner: min_side must be 0 or a"),
        ("yolov8", f"{HEAD}.assigner.alpha", -1, "TaskAlignedAssigner: alpha must be 0 or above"),
        ("yolov8", f"{HEAD}.score_thr", -0.5, "YOLOv8Head: score_thr must be between 0 and 1"),
        ("yolov8", f"{HEAD}.nms.iou_thr", -0.3, "NMS: iou_thr must be between 0 and 1, got -0.3"),
        ("yolov8", f"{HEAD}.prior_scale", -1, "YOLOv8Head: prior_scale must be above 0, got -1"),
        ("yolov8", f"{HEAD}.nms_pre", -1, "YOLOv8Head: nms_pre must be above 0, got -1"),
        ("yolov5", f"{HEAD}.label_smoothing", 2, "label_smoothing must be between 0 and 1, got 2"),
        ("yolov5", f"{HEAD}.max_per_img", -5, "YOLOv5Head: max_per_img must be above 0, got -5"),
        ("yolov5", f"{HEAD}.loss_cls.loss_weight", -1, "SigmoidCrossEntropyLoss: loss_weight must"),
        ("nanodet", "model.detach_epoch", -3, "NanoDetPlus: detach_epoch must be 0 or above"),
        ("retina-ap", f"{HEAD}.assigner.pos_iou_thr", 0.2, "neg_iou_thr must not be above pos_iou"),
        ("retina-ap", f"{HEAD}.score_thr", [0.1, 0.1, 0.1, 0.1, 7.0], "score_thr must be between"),
        (
            "two-stage",
            f"{ROI}.assigner.neg_iou_thr",
            0.7,
            "MaxIoUAssigner: neg_iou_thr must not be",
        ),
        ("two-stage", "model.rpn_head.train_selector.nms_pre", 0, "ProposalSelector: nms_pre must"),
    ],
)
def test_impossible_numbers_are_refused(config, key, value, words):
    with pytest.raises(ValueError, match=words):
        build_changed(config, key, value)
