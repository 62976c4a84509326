"""Channels and strides that do not go together are told when a model is built."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmdet_lite.apis.config import load_config
from mmdet_lite.models.detectors.connections import check_connections
from mmdet_lite.registry import MODELS, build

YOLOV8, NANODET = "demo/yolov8_shapes.py", "demo/nanodet-plus_shapes.py"
TWO_STAGE = "demo/mask-rcnn_r18_fpn_shapes.py"
RETINA = "demo/retinanet-ap_shapes.py"
CASCADE = "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py"
ROI = "model.roi_head"


def model_of(config: str, **options) -> nn.Module:
    changes = {key.replace("__", "."): value for key, value in options.items()}
    with torch.device("meta"):
        return build(load_config(config, changes).model, MODELS)


@pytest.mark.parametrize(
    ("config", "key", "value", "message"),
    [
        (
            YOLOV8,
            "model__backbone__width_multiple",
            0.5,
            "model.neck.in_channels is [64, 128, 256], but model.backbone (CSPDarknet) gives 3 "
            "maps of [128, 256, 512] channels: set model.neck.in_channels=[128, 256, 512]",
        ),
        (
            YOLOV8,
            "model__bbox_head__in_channels",
            [32, 64, 128],
            "model.bbox_head.in_channels is [32, 64, 128], but model.neck (CSPPAN) gives 3 maps of "
            "[64, 128, 256] channels",
        ),
        (
            YOLOV8,
            "model__bbox_head__strides",
            [4, 8, 16],
            "model.bbox_head.strides is [4, 8, 16], but model.neck (CSPPAN) gives 3 maps of the "
            "strides [8, 16, 32]",
        ),
        (
            RETINA,
            "model__bbox_head__anchor_generator__strides",
            [4, 8, 16, 32, 64],
            "model.bbox_head.anchor_generator.strides is [4, 8, 16, 32, 64], but",
        ),
        (RETINA, "model__neck__num_outs", 4, "gives 4 maps of the strides [8, 16, 32, 64]"),
        (TWO_STAGE, "model__rpn_head__in_channels", 32, "set model.rpn_head.in_channels=64"),
        (TWO_STAGE, f"{ROI}.bbox_head.in_channels", 32, f"{ROI}.bbox_head.in_channels is 32"),
        (TWO_STAGE, f"{ROI}.mask_head.in_channels", 32, f"{ROI}.mask_head.in_channels is 32"),
        (
            TWO_STAGE,
            f"{ROI}.bbox_roi_extractor.featmap_strides",
            [8, 16, 32, 64],
            f"{ROI}.bbox_roi_extractor.featmap_strides is [8, 16, 32, 64], but",
        ),
        (CASCADE, f"{ROI}.bbox_head.1.in_channels", 32, f"{ROI}.bbox_head.1.in_channels is 32"),
    ],
)
def test_what_does_not_go_together_is_named(config, key, value, message):
    model = model_of(config, **{key: value})
    with pytest.raises(ValueError) as error:
        check_connections(model)
    assert message in str(error.value)


def test_the_heads_of_nanodet_are_compared_at_once():
    with pytest.raises(ValueError, match="aux_head.in_channels is 96, but must be 128, twice that"):
        model_of(NANODET, model__aux_head__in_channels=96)
    with pytest.raises(ValueError, match="num_classes is 80 and aux_head.num_classes 6; set both"):
        model_of(NANODET, model__bbox_head__num_classes=80)


def test_a_model_stays_as_it_is():
    torch.manual_seed(0)
    model = build(load_config(NANODET).model, MODELS)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    check_connections(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    for name, value in model.state_dict().items():
        assert value.device.type == "cpu" and torch.equal(value, before[name])


def test_parts_that_do_not_tell_or_cannot_run_are_left_out():
    class Picky(nn.Module):
        def forward(self, images):
            return [images] if images.sum() > 0 else []  # which nobody knows without values

    class Plain(nn.Module):
        backbone, neck = Picky(), None

        def __init__(self):
            super().__init__()
            self.bbox_head = nn.Identity()

    check_connections(Plain())
    check_connections(nn.Identity())
