"""Weights of detectron2's Faster and Mask R-CNN with FPN under our names.

What is the same: the background is the last class, deltas are laid out class by class and have the
standard deviations 0.1, 0.1, 0.2, 0.2 (its weights 10, 10, 5, 5), a cell's anchors run over the
ratios 0.5, 1, 2, and COCO's classes stand in the order of their ids. Parameters are only renamed:

    backbone.bottom_up.stem.conv1.weight             backbone.conv1.weight
    backbone.bottom_up.stem.conv1.norm.*             backbone.bn1.*
    backbone.bottom_up.res2.0.conv1.weight           backbone.layer1.0.conv1.weight
    backbone.bottom_up.res2.0.conv1.norm.*           backbone.layer1.0.bn1.*
    backbone.bottom_up.res2.0.shortcut.weight        backbone.layer1.0.downsample.0.weight
    backbone.bottom_up.res2.0.shortcut.norm.*        backbone.layer1.0.downsample.1.*
    backbone.fpn_lateral2.*                          neck.lateral_convs.0.conv.*
    backbone.fpn_output2.*                           neck.fpn_convs.0.conv.*
    proposal_generator.rpn_head.conv.*               rpn_head.rpn_conv.*
    proposal_generator.rpn_head.objectness_logits.*  rpn_head.rpn_cls.*
    proposal_generator.rpn_head.anchor_deltas.*      rpn_head.rpn_reg.*
    roi_heads.box_head.fc1.*                         roi_head.bbox_head.shared_fcs.0.*
    roi_heads.box_predictor.cls_score.*              roi_head.bbox_head.fc_cls.*
    roi_heads.box_predictor.bbox_pred.*              roi_head.bbox_head.fc_reg.*
    roi_heads.mask_head.mask_fcn1.*                  roi_head.mask_head.convs.0.conv.*
    roi_heads.mask_head.deconv.*                     roi_head.mask_head.upsample.*
    roi_heads.mask_head.predictor.*                  roi_head.mask_head.conv_logits.*

What differs in computing is in ``configs/detectron2/``.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import torch
from torch import Tensor

from mmdet_lite.compat.converted import (
    COCO_CLASSES,
    Converted,
    add_batch_counts,
    count_blocks,
    require_tensors,
    unknown_names,
)

_BOX_HEAD = "roi_head.bbox_head."
_MASK_HEAD = "roi_head.mask_head."
_STATISTICS = "weight|bias|running_mean|running_var|num_batches_tracked"
# Of the values a model has no parameter for: the normaliser and the anchors.
_CONSTANTS = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.")
_ANCHOR_SIZES = (32, 64, 128, 256, 512)
_CAFFE_STD = (1.0, 1.0, 1.0)
# detectron2's FrozenBatchNorm2d without statistics has these, so that its epsilon is cancelled
_IDENTITY_VAR = 1.0 - 1e-5
_DEPTHS = {(4, 6): 50, (4, 23): 101, (8, 36): 152}  # blocks of res3 and res4

_RESNET = [
    (r"stem\.conv1\.weight", "conv1.weight"),
    (rf"stem\.conv1\.norm\.({_STATISTICS})", r"bn1.\1"),
    (r"res(\d)\.(\d+)\.conv(\d)\.weight", r"layer<\1>.\2.conv\3.weight"),
    (rf"res(\d)\.(\d+)\.conv(\d)\.norm\.({_STATISTICS})", r"layer<\1>.\2.bn\3.\4"),
    (r"res(\d)\.(\d+)\.shortcut\.weight", r"layer<\1>.\2.downsample.0.weight"),
    (rf"res(\d)\.(\d+)\.shortcut\.norm\.({_STATISTICS})", r"layer<\1>.\2.downsample.1.\3"),
]
_NAMES = [
    *((r"backbone\.bottom_up\." + theirs, "backbone." + ours) for theirs, ours in _RESNET),
    (r"backbone\.fpn_lateral(\d)\.(weight|bias)", r"neck.lateral_convs.<<\1>>.conv.\2"),
    (r"backbone\.fpn_output(\d)\.(weight|bias)", r"neck.fpn_convs.<<\1>>.conv.\2"),
    (r"proposal_generator\.rpn_head\.conv\.(weight|bias)", r"rpn_head.rpn_conv.\1"),
    (r"proposal_generator\.rpn_head\.objectness_logits\.(\w+)", r"rpn_head.rpn_cls.\1"),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.(\w+)", r"rpn_head.rpn_reg.\1"),
    (r"roi_heads\.box_head\.fc(\d)\.(\w+)", _BOX_HEAD + r"shared_fcs.<\1>.\2"),
    (r"roi_heads\.box_predictor\.cls_score\.(\w+)", _BOX_HEAD + r"fc_cls.\1"),
    (r"roi_heads\.box_predictor\.bbox_pred\.(\w+)", _BOX_HEAD + r"fc_reg.\1"),
    (r"roi_heads\.mask_head\.mask_fcn(\d)\.(weight|bias)", _MASK_HEAD + r"convs.<\1>.conv.\2"),
    (r"roi_heads\.mask_head\.deconv\.(\w+)", _MASK_HEAD + r"upsample.\1"),
    (r"roi_heads\.mask_head\.predictor\.(\w+)", _MASK_HEAD + r"conv_logits.\1"),
]


def is_detectron2(names: Collection[str]) -> bool:
    """Whether parameters are named as in detectron2's detectors."""
    return any(n.startswith(("backbone.bottom_up.", "proposal_generator.")) for n in names)


def is_detectron2_resnet(names: Collection[str]) -> bool:
    """Whether parameters are named as in detectron2's backbones alone."""
    return "stem.conv1.weight" in names


def convert_detectron2(content: dict) -> Converted:
    """Rename parameters and say which config computes the same.

    Args:
        content: of a file of its model zoo, or a checkpoint of its trainer.

    Raises:
        ValueError: it is another detector than Faster or Mask R-CNN with ResNet and FPN, or its
            anchors are others.
    """
    state = require_tensors(content.get("model", content), "the checkpoint")
    weights = convert_detectron2_state_dict(state)
    _check_anchors(state)
    is_mask = _MASK_HEAD + "conv_logits.weight" in weights
    heads = ["roi_head.bbox_head", *(["roi_head.mask_head"] if is_mask else [])]
    if _BOX_HEAD + "fc_reg.bias" not in weights:
        raise ValueError("it has no roi_heads.box_predictor.bbox_pred.bias: no Faster R-CNN")
    count = len(weights[_BOX_HEAD + "fc_cls.bias"]) - 1
    options: dict[str, object] = {}
    if count != len(COCO_CLASSES):
        options = {f"model.{head}.num_classes": count for head in heads}
    agnostic = len(weights[_BOX_HEAD + "fc_reg.bias"]) == 4 and count > 1
    options |= {"model.roi_head.bbox_head.reg_class_agnostic": True} if agnostic else {}
    options |= resnet_options(weights, "backbone.", "model.backbone.")
    normalizer, notes = _normalizer(state)
    return Converted(
        weights=weights,
        source=f"detectron2's {'Mask' if is_mask else 'Faster'} R-CNN with FPN",
        config=f"configs/detectron2/{'mask' if is_mask else 'faster'}-rcnn_r50-caffe_fpn.py",
        options=options | normalizer,
        notes=notes,
        classes=list(COCO_CLASSES.values()) if count == len(COCO_CLASSES) else None,
    )


def convert_detectron2_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename parameters; fill in what frozen batch norms leave out.

    Args:
        state: state dict of Faster or Mask R-CNN with ResNet and FPN.

    Returns:
        A state dict for the models of ``configs/detectron2/``.

    Raises:
        ValueError: a parameter is not one of those detectors'.
    """
    what = "detectron2's Faster or Mask R-CNN with ResNet and FPN"
    return _rename_all(state, _NAMES, what)


def convert_detectron2_resnet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of a backbone that stands alone; its classifier is left out.

    Args:
        state: ``stem.conv1.weight``, ``res2.0.conv1.weight``, ...

    Raises:
        ValueError: a parameter is not a ResNet's.
    """
    backbone = {name: v for name, v in state.items() if not name.startswith(("fc", "linear"))}
    return _rename_all(backbone, _RESNET, "detectron2's ResNet")


def resnet_options(weights: dict[str, Tensor], prefix: str, key: str) -> dict[str, object]:
    """What a config of ResNet-50 must be told for these weights of bottlenecks.

    Args:
        weights: under our names.
        prefix: of the backbone's names.
        key: of the backbone in the config, with a dot at its end.

    Raises:
        ValueError: no ResNet has as many blocks.
    """
    blocks = tuple(count_blocks(weights, f"{prefix}layer{stage}.") for stage in (2, 3))
    if blocks not in _DEPTHS:
        raise ValueError(f"no ResNet has {blocks[0]} blocks in res3 and {blocks[1]} in res4")
    options: dict[str, object] = {}
    if _DEPTHS[blocks] != 50:
        options[key + "depth"] = _DEPTHS[blocks]
    conv = weights[f"{prefix}layer1.0.conv2.weight"]
    if len(conv) != conv.shape[1]:  # ResNeXt
        options[key + "groups"] = len(conv) // conv.shape[1]
        options[key + "base_width"] = conv.shape[1]
    return options


def _rename_all(
    state: dict[str, Tensor], names: list[tuple[str, str]], what: str
) -> dict[str, Tensor]:
    own = {name: value for name, value in state.items() if not name.startswith(_CONSTANTS)}
    renamed = {name: _rename(name, names) for name in own}
    if lost := [name for name, ours in renamed.items() if ours is None]:
        raise unknown_names(lost, what)
    return add_batch_counts(_add_statistics({renamed[name]: v for name, v in own.items()}))


def _rename(name: str, names: list[tuple[str, str]]) -> str | None:
    """Numbers in <> count from 0 here and from 1 there, in <<>> from 2."""
    for theirs, ours in names:
        if re.fullmatch(theirs, name):
            renamed = re.sub(theirs, ours, name)
            renamed = re.sub(r"layer<(\d)>", lambda m: f"layer{int(m[1]) - 1}", renamed)
            renamed = re.sub(r"<<(\d)>>", lambda m: str(int(m[1]) - 2), renamed)
            return re.sub(r"<(\d)>", lambda m: str(int(m[1]) - 1), renamed)
    return None


def _add_statistics(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Batch norms from Caffe2 have scale and shift only; the statistics are part of these."""
    added = {}
    for name, value in weights.items():
        stem, _, last = name.rpartition(".")
        is_norm = re.search(r"(^|\.)(bn\d|downsample\.1)$", stem)
        if last == "weight" and is_norm and f"{stem}.running_var" not in weights:
            added[f"{stem}.running_mean"] = torch.zeros_like(value)
            added[f"{stem}.running_var"] = torch.full_like(value, _IDENTITY_VAR)
    return weights | added


def _check_anchors(state: dict[str, Tensor]) -> None:
    """Anchors that are in the file must be those of the config."""
    prefix = "proposal_generator.anchor_generator.cell_anchors."
    for name, cell in state.items():
        if not name.startswith(prefix):
            continue
        level = int(name.removeprefix(prefix))
        sides = ((cell[:, 2:] - cell[:, :2]).prod(dim=1)).sqrt()
        expected = torch.full_like(sides, _ANCHOR_SIZES[min(level, len(_ANCHOR_SIZES) - 1)])
        if len(cell) != 3 or not torch.allclose(sides, expected, rtol=1e-3):
            raise ValueError(
                f"its anchors of level {level} have sides {sides.tolist()}; configs/detectron2/ "
                "has one size a level, 32 to 512, and 3 ratios"
            )


def _normalizer(state: dict[str, Tensor]) -> tuple[dict[str, object], list[str]]:
    """Options for images that are prepared otherwise than for the MSRA weights, and remarks."""
    mean, std = (state.get(f"pixel_{what}") for what in ("mean", "std"))
    if mean is None or std is None:
        return {}, [
            "It does not say how images are prepared; the config has BGR, mean 103.53, 116.28, "
            "123.675 and standard deviation 1, and style='caffe', as for detectron2's R-50 and "
            "R-101. If MODEL.PIXEL_STD or RESNETS.STRIDE_IN_1X1 was another, change "
            "model.normalizer and model.backbone.style"
        ]
    mean, std = (tuple(round(v, 3) for v in t.flatten().tolist()) for t in (mean, std))
    if std == _CAFFE_STD and mean[0] < mean[-1]:
        return {}, ["Images are BGR, not divided by a standard deviation"]
    return {
        "model.normalizer.mean": list(mean),
        "model.normalizer.std": list(std),
        "model.normalizer.to_bgr": mean[0] < mean[-1],
        "model.backbone.style": "pytorch",
    }, ["Check that its config has RESNETS.STRIDE_IN_1X1: False, to which style='pytorch' belongs"]
