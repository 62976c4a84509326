"""detectron2's checkpoints: our own model under its names computes the same after conversion.

Run with: pytest tests/compat/test_detectron2.py
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import torch
from reference import make_batch

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.convert import convert_content
from mmdet_lite.compat.detectron2 import convert_detectron2_state_dict
from mmdet_lite.compat.foreign_file import read_foreign
from mmdet_lite.registry import MODELS, build

CONFIG = "detectron2/{}-rcnn_r50-caffe_fpn.py"
SMALL = {
    "model.backbone.base_channels": 8,
    "model.neck.in_channels": [32, 64, 128, 256],
    "model.neck.out_channels": 16,
    "model.rpn_head.in_channels": 16,
    "model.rpn_head.feat_channels": 16,
    "model.rpn_head.test_selector.max_per_img": 50,
    "model.roi_head.bbox_head.in_channels": 16,
    "model.roi_head.bbox_head.fc_out_channels": 32,
    "model.roi_head.bbox_head.num_classes": 5,
    "model.roi_head.bbox_head.score_thr": 0.0,
}
SMALL_MASK = {
    "model.roi_head.mask_head.in_channels": 16,
    "model.roi_head.mask_head.conv_out_channels": 16,
    "model.roi_head.mask_head.num_classes": 5,
}
# Written by hand once more, in the other direction.
THEIRS = [
    (r"^backbone\.conv1", "backbone.bottom_up.stem.conv1"),
    (r"^backbone\.bn1", "backbone.bottom_up.stem.conv1.norm"),
    (r"^backbone\.layer1", "backbone.bottom_up.res2"),
    (r"^backbone\.layer2", "backbone.bottom_up.res3"),
    (r"^backbone\.layer3", "backbone.bottom_up.res4"),
    (r"^backbone\.layer4", "backbone.bottom_up.res5"),
    (r"\.bn(\d)\.", r".conv\1.norm."),
    (r"\.downsample\.0\.", ".shortcut."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
    *((rf"^neck\.lateral_convs\.{i}\.conv", f"backbone.fpn_lateral{i + 2}") for i in range(4)),
    *((rf"^neck\.fpn_convs\.{i}\.conv", f"backbone.fpn_output{i + 2}") for i in range(4)),
    (r"^rpn_head\.rpn_conv", "proposal_generator.rpn_head.conv"),
    (r"^rpn_head\.rpn_cls", "proposal_generator.rpn_head.objectness_logits"),
    (r"^rpn_head\.rpn_reg", "proposal_generator.rpn_head.anchor_deltas"),
    (r"^roi_head\.bbox_head\.shared_fcs\.0", "roi_heads.box_head.fc1"),
    (r"^roi_head\.bbox_head\.shared_fcs\.1", "roi_heads.box_head.fc2"),
    (r"^roi_head\.bbox_head\.fc_cls", "roi_heads.box_predictor.cls_score"),
    (r"^roi_head\.bbox_head\.fc_reg", "roi_heads.box_predictor.bbox_pred"),
    *(
        (rf"^roi_head\.mask_head\.convs\.{i}\.conv", f"roi_heads.mask_head.mask_fcn{i + 1}")
        for i in range(4)
    ),
    (r"^roi_head\.mask_head\.upsample", "roi_heads.mask_head.deconv"),
    (r"^roi_head\.mask_head\.conv_logits", "roi_heads.mask_head.predictor"),
]


def model_of(family: str, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    options = SMALL | (SMALL_MASK if family == "mask" else {})
    model = build(load_config(CONFIG.format(family), options).model, MODELS).eval()
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2)
        elif name.endswith("running_mean") or name.endswith(".bias"):
            value.normal_(std=0.1)
    return model


def as_detectron2(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = {}
    for name, value in model.state_dict().items():
        if "num_batches_tracked" not in name:
            for ours, theirs in THEIRS:
                name = re.sub(ours, theirs, name)
            state[name] = value
    return state


def constants() -> dict[str, torch.Tensor]:
    """What detectron2 stores beside parameters."""
    sides = torch.tensor([[1, 0.5], [0.5**0.5] * 2, [0.5, 1]]) * 2**0.5
    cells = [torch.cat([-sides * s / 2, sides * s / 2], dim=1) for s in (32, 64, 128, 256, 512)]
    return {
        "pixel_mean": torch.tensor([103.53, 116.28, 123.675]).reshape(3, 1, 1),
        "pixel_std": torch.ones(3, 1, 1),
        **{
            f"proposal_generator.anchor_generator.cell_anchors.{i}": cell
            for i, cell in enumerate(cells)
        },
    }


@pytest.mark.parametrize("family", ["faster", "mask"])
def test_a_model_under_their_names_computes_the_same(family, tmp_path):
    theirs = model_of(family, seed=1)
    state = as_detectron2(theirs) | constants()
    path = tmp_path / "model_final.pkl"
    arrays = {name: value.numpy() for name, value in state.items()}
    content = {"model": arrays, "__author__": "Detectron2", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(content, protocol=2))
    converted = convert_content(read_foreign(path), str(path))
    assert converted.config == "configs/" + CONFIG.format(family)
    assert converted.options.pop("model.roi_head.bbox_head.num_classes") == 5
    assert converted.options == (
        {"model.roi_head.mask_head.num_classes": 5} if family == "mask" else {}
    )
    ours = model_of(family, seed=2)
    ours.load_state_dict(converted.weights, strict=True)
    images = torch.randint(0, 256, (2, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    batch = make_batch(images, [(64, 96), (50, 80)], [(64, 96)] * 2)
    expected, found = theirs.predict(batch), ours.predict(batch)
    assert int(expected.valid.sum()) > 50
    for field in ("boxes", "scores", "labels", "valid", *(["masks"] if family == "mask" else [])):
        assert torch.equal(getattr(found, field), getattr(expected, field)), field


def test_images_prepared_otherwise_become_options():
    state = as_detectron2(model_of("faster", seed=1)) | constants()
    state["pixel_mean"] = torch.tensor([123.675, 116.28, 103.53]).reshape(3, 1, 1)
    state["pixel_std"] = torch.tensor([58.395, 57.12, 57.375]).reshape(3, 1, 1)
    converted = convert_content({"model": state}, "theirs")
    cfg = load_config(CONFIG.format("faster"), converted.options)
    assert cfg.model.normalizer.mean == pytest.approx([123.675, 116.28, 103.53])
    assert cfg.model.normalizer.std == pytest.approx([58.395, 57.12, 57.375])
    assert (cfg.model.normalizer.to_bgr, cfg.model.backbone.style) == (False, "pytorch")


def test_frozen_batch_norms_without_statistics_are_an_identity():
    state = as_detectron2(model_of("faster", seed=1))
    bare = {name: v for name, v in state.items() if "running" not in name}
    ours = model_of("faster", seed=2)
    ours.load_state_dict(convert_detectron2_state_dict(bare), strict=True)
    norm = ours.backbone.layer1[0].bn2
    x = torch.randn(1, len(norm.weight), 2, 2)
    expected = x * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ({"roi_heads.res5.0.conv1.weight": torch.zeros(1)}, "roi_heads.res5.0.conv1.weight"),
        (
            {"proposal_generator.anchor_generator.cell_anchors.0": torch.zeros(9, 4)},
            "its anchors of level 0",
        ),
        ({"backbone.bottom_up.res4.6.conv1.weight": torch.zeros(1)}, "7 in res4"),
    ],
)
def test_other_architectures_are_refused(added, message):
    state = as_detectron2(model_of("faster", seed=1)) | added
    with pytest.raises(ValueError, match=rf"theirs \(taken as --kind detectron2\).*{message}"):
        convert_content({"model": state}, "theirs")


def test_the_shipped_configs_are_what_the_page_says():
    for family in ("faster", "mask"):
        cfg = load_config(Path("configs") / CONFIG.format(family))
        assert cfg.model.normalizer.to_bgr and cfg.model.normalizer.std == [1.0, 1.0, 1.0]
        assert cfg.model.backbone.style == "caffe"
        coders = (cfg.model.rpn_head.bbox_coder, cfg.model.roi_head.bbox_head.bbox_coder)
        assert not any(coder.clip_shrinking for coder in coders)
        assert cfg.model.rpn_head.test_selector.nms_pre == 1000
        assert cfg.model.roi_head.bbox_head.score_thr == 0.05
