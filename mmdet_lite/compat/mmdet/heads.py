"""Dense heads and RoI heads, with their settings from ``train_cfg`` and ``test_cfg``."""

from __future__ import annotations

from mmdet_lite.compat.mmdet.backbones import no_init, pretrained
from mmdet_lite.compat.mmdet.parts import (
    anchors,
    assigner,
    coder,
    loss,
    nms,
    nms_iou_thr,
    norm,
    sampler,
)
from mmdet_lite.compat.mmdet.read import Native, Section

_NO_DEBUG = "there is nothing to debug with it"


def rpn_head(s: Section, train: Section, test: Section) -> Native | None:
    """A region proposal head.

    Args:
        s: the head.
        train: the model's ``train_cfg``.
        test: its ``test_cfg``.
    """
    final = _selector(test.section_or_empty("rpn"))
    training = train.section("rpn_proposal")  # without it training proposes as testing does
    selectors = {
        "train_selector": final if training is None else _selector(training),
        "test_selector": final,
    }
    own = train.section_or_empty("rpn")
    if s.type == "FCOSHead":
        own.has_no_effect("FCOS assigns by itself", *own)
        return _fcos(s) | selectors
    native = s.dispatch("proposal head", {"RPNHead": lambda s: _rpn(s, own)})
    return native and native | selectors


def _rpn(s: Section, train: Section) -> Native:
    no_init(s)
    s.expect("num_classes", 1)
    s.expect("reg_decoded_bbox", False)
    native: Native = {
        "type": "RPNHead",
        "in_channels": s.require("in_channels"),
        "feat_channels": s.take("feat_channels", 256),
        "anchor_generator": anchors(s.section_or_empty("anchor_generator")),
        "bbox_coder": coder(s.section_or_empty("bbox_coder")),
        "assigner": assigner(train.section_or_empty("assigner")),
        "sampler": sampler(train.section_or_empty("sampler")),
        "loss_cls": loss(s.section_or_empty("loss_cls")),
        "loss_bbox": loss(s.section_or_empty("loss_bbox")),
    }
    if (count := s.take("num_convs", 1)) != 1:
        native["num_convs"] = count
    return native | _training(train)


def _training(train: Section) -> Native:
    """Settings of ``train_cfg`` that a head with anchors shares with RoI heads."""
    train.has_no_effect(_NO_DEBUG, "debug")
    native: Native = {}
    if (weight := train.take("pos_weight", -1)) > 0:
        native["pos_weight"] = weight
    if (border := train.take("allowed_border", -1)) >= 0:
        native["allowed_border"] = border
    return native


def _selector(s: Section) -> Native:
    native: Native = {"type": "ProposalSelector", **s.numbers("nms_pre", "max_per_img")}
    if (threshold := nms_iou_thr(s.section("nms"))) is not None:
        native["nms_iou_thr"] = threshold
    if size := s.take("min_bbox_size", 0):
        native["min_bbox_size"] = size
    return native


def dense_head(s: Section, train: Section, test: Section) -> Native | None:
    """The head of a one-stage detector; arguments as of :func:`rpn_head`."""
    return s.dispatch("dense head", {"RetinaHead": lambda s: _retina(s, train) | _testing(test)})


def _testing(test: Section) -> Native:
    """Settings of ``test_cfg`` of heads that give final boxes."""
    native = test.numbers("score_thr", "nms_pre", "max_per_img")
    if size := test.take("min_bbox_size", 0):
        native["min_bbox_size"] = size
    if suppression := nms(test.section("nms")):
        native["nms"] = suppression
    return native


def _retina(s: Section, train: Section) -> Native:
    no_init(s)
    s.expect("reg_decoded_bbox", False)
    s.expect("conv_cfg", None)
    if (own := train.section("sampler")) is not None and own.type != "PseudoSampler":
        own.problem("type", f"is {own.type!r}, only 'PseudoSampler' is supported: all are trained")
    native: Native = {
        "type": "RetinaHead",
        "num_classes": s.require("num_classes"),
        "in_channels": s.require("in_channels"),
        "stacked_convs": s.take("stacked_convs", 4),
        "feat_channels": s.take("feat_channels", 256),
        "anchor_generator": anchors(s.section_or_empty("anchor_generator")),
        "bbox_coder": coder(s.section_or_empty("bbox_coder")),
        "assigner": assigner(train.section_or_empty("assigner")),
        "loss_cls": loss(s.section_or_empty("loss_cls")),
        "loss_bbox": loss(s.section_or_empty("loss_bbox")),
    }
    if (norm_cfg := norm(s)) is not None:
        native["norm_cfg"] = norm_cfg
    return native | _training(train)


def _fcos(s: Section) -> Native:
    no_init(s)
    for key in ("center_sampling", "norm_on_bbox", "centerness_on_reg", "dcn_on_last_conv"):
        s.expect(key, False)
    s.has_no_effect("only with center_sampling", "center_sample_radius")
    s.expect("conv_bias", "auto", False)
    groups = s.take("norm_cfg", {"type": "GN", "num_groups": 32, "requires_grad": True})
    if not groups or groups.get("type") != "GN":
        s.problem("norm_cfg", f"is {groups!r}, only GN is supported")
        groups = {}
    native: Native = {
        "type": "FCOSHead",
        "num_classes": 1,
        "in_channels": s.require("in_channels"),
        "stacked_convs": s.take("stacked_convs", 4),
        "feat_channels": s.take("feat_channels", 256),
        "strides": list(s.take("strides", (4, 8, 16, 32, 64))),
        "num_groups": groups.get("num_groups", 32),
        **{name: loss(s.section_or_empty(name)) for name in ("loss_cls", "loss_bbox")},
        "loss_centerness": loss(s.section_or_empty("loss_centerness")),
    }
    s.has_no_effect("a proposal head has one class", "num_classes")
    if (ranges := s.take("regress_ranges")) is not None:
        native["assigner"] = {"type": "FCOSAssigner", "regress_ranges": [list(r) for r in ranges]}
    return native


def roi_head(s: Section, train: Section, test: Section, target_rule: str) -> Native | None:
    """A RoI head.

    Args:
        s: the head.
        train: the model's ``train_cfg``.
        test: its ``test_cfg``.
        target_rule: how mask targets are made, which the pipeline says.
    """
    table = {
        "StandardRoIHead": lambda s: _standard(s, train, test, target_rule),
        "CascadeRoIHead": lambda s: _cascade(s, train, test, target_rule),
    }
    return s.dispatch("RoI head", table)


def _standard(s: Section, train: Section, test: Section, rule: str) -> Native:
    no_init(s)
    own, final = train.section_or_empty("rcnn"), test.section_or_empty("rcnn")
    native: Native = {
        "type": "RoIHead",
        "assigner": assigner(own.section_or_empty("assigner")),
        "sampler": sampler(own.section_or_empty("sampler")),
        "bbox_roi_extractor": _extractor(s.section_or_empty("bbox_roi_extractor")),
        "bbox_head": _bbox_head(s.section_or_empty("bbox_head"), final),
        **_training(own),
    }
    if (shared := s.section("shared_head")) is not None:
        native["shared_head"] = shared.dispatch("shared head", {"ResLayer": _res_layer})
    mask_size, threshold = own.take("mask_size", 28), final.take("mask_thr_binary", 0.5)
    if (extractor := s.section("mask_roi_extractor")) is not None:
        native["mask_roi_extractor"] = _extractor(extractor)
    if (head := s.section("mask_head")) is not None:
        native["mask_head"] = _mask_head(head, mask_size, threshold, rule)
    return native


def _cascade(s: Section, train: Section, test: Section, rule: str) -> Native:
    no_init(s)
    s.expect("shared_head", None)
    own, final = train.sections("rcnn"), test.section_or_empty("rcnn")
    heads = s.sections("bbox_head")
    s.expect("num_stages", len(heads))
    if len(own) != len(heads):
        train.problem("rcnn", f"has {len(own)} stages, but roi_head.bbox_head has {len(heads)}")
    native: Native = {
        "type": "CascadeRoIHead",
        "stage_loss_weights": list(s.require("stage_loss_weights")),
        "assigner": [assigner(stage.section_or_empty("assigner")) for stage in own],
        "sampler": [sampler(stage.section_or_empty("sampler")) for stage in own],
        "bbox_roi_extractor": _extractor(s.section_or_empty("bbox_roi_extractor")),
        "bbox_head": [_bbox_head(head, final) for head in heads],
    }
    shared = [_training(stage) for stage in own]
    if any(stage != shared[0] for stage in shared):
        train.problem("rcnn", "has a pos_weight that differs between stages")
    native |= shared[0] if shared else {}
    sizes = {stage.take("mask_size", 28) for stage in own}
    threshold = final.take("mask_thr_binary", 0.5)
    if (extractor := s.section("mask_roi_extractor")) is not None:
        native["mask_roi_extractor"] = _extractor(extractor)
    masks = s.sections("mask_head")
    if masks:
        masks = masks * len(heads) if len(masks) == 1 else masks
        native["mask_head"] = [_mask_head(m, max(sizes), threshold, rule) for m in masks]
    return native


def _res_layer(s: Section) -> Native:
    s.expect("with_cp", False)
    s.expect("dcn", None)
    native: Native = {"type": "ResLayer", **s.copy("depth", "stage", "stride", "dilation", "style")}
    native["norm_eval"] = s.take("norm_eval", True)
    if (norm_cfg := norm(s)) not in (None, {"type": "BN"}):
        native["norm_cfg"] = norm_cfg
    return native | {"pretrained": pretrained(s)}


def _extractor(s: Section) -> Native | None:
    return s.dispatch("RoI extractor", {"SingleRoIExtractor": _single_extractor})


def _single_extractor(s: Section) -> Native:
    no_init(s)
    s.has_no_effect("it follows from the feature maps", "out_channels")
    layer = s.section_or_empty("roi_layer")
    if layer.type != "RoIAlign":
        layer.problem("type", f"is {layer.type!r}, only 'RoIAlign' is supported")
    layer.expect("pool_mode", "avg")
    layer.has_no_effect("RoIAlign is torchvision's", "use_torchvision")
    native: Native = {
        "type": "RoIExtractor",
        "output_size": layer.require("output_size"),
        "featmap_strides": list(s.require("featmap_strides") or ()),
    }
    if ratio := layer.take("sampling_ratio", 0):
        native["sampling_ratio"] = ratio
    if not layer.take("aligned", True):
        native["aligned"] = False
    if (finest := s.take("finest_scale", 56)) != 56:
        native["finest_scale"] = finest
    return native


# Convolutions and fully connected layers of each kind of box head.
_LAYERS = {
    "Shared2FCBBoxHead": {"num_shared_fcs": 2},
    "Shared4Conv1FCBBoxHead": {"num_shared_convs": 4, "num_shared_fcs": 1},
    "ConvFCBBoxHead": {"num_shared_fcs": 0},
    "BBoxHead": {"num_shared_fcs": 0},
}


def _bbox_head(s: Section, test: Section) -> Native | None:
    return s.dispatch("box head", {name: lambda s: _conv_fc(s, test) for name in _LAYERS})


def _conv_fc(s: Section, test: Section) -> Native:
    no_init(s)
    for key in ("num_cls_convs", "num_cls_fcs", "num_reg_convs", "num_reg_fcs"):
        s.expect(key, 0)
    for key in ("with_cls", "with_reg"):
        s.expect(key, True)
    s.expect("custom_cls_channels", False)
    s.expect("predict_box_type", "hbox")
    for key in ("reg_predictor_cfg", "cls_predictor_cfg"):
        s.expect(key, {"type": "Linear"})
    native: Native = {
        "type": "ConvFCBBoxHead",
        "num_classes": s.require("num_classes"),
        "in_channels": s.take("in_channels", 256),
        **_LAYERS[s.type],
        **s.copy("num_shared_convs", "num_shared_fcs", "conv_out_channels", "fc_out_channels"),
        "bbox_coder": coder(s.section_or_empty("bbox_coder")),
        "loss_cls": loss(s.section_or_empty("loss_cls")),
        "loss_bbox": loss(s.section_or_empty("loss_bbox")),
    }
    if (size := s.take("roi_feat_size", 7)) != 7:
        native["roi_feat_size"] = size
    for key in ("with_avg_pool", "reg_class_agnostic", "reg_decoded_bbox"):
        if s.take(key, False):
            native[key] = True
    if (norm_cfg := norm(s)) is not None:
        native["norm_cfg"] = norm_cfg
    if (conv_cfg := s.take("conv_cfg")) is not None:
        native["conv_cfg"] = conv_cfg
    native |= test.numbers("score_thr", "max_per_img")
    if suppression := nms(test.section("nms")):
        native["nms"] = suppression
    return native


def _mask_head(s: Section, mask_size: int, threshold: float, rule: str) -> Native | None:
    return s.dispatch("mask head", {"FCNMaskHead": lambda s: _fcn(s, mask_size, threshold, rule)})


def _fcn(s: Section, mask_size: int, threshold: float, rule: str) -> Native:
    no_init(s)
    s.has_no_effect("it follows from train_cfg.rcnn.mask_size", "roi_feat_size")
    s.expect("conv_kernel_size", 3)
    s.expect("upsample_cfg", {"type": "deconv", "scale_factor": 2}, {"type": "deconv"})
    s.expect("predictor_cfg", {"type": "Conv"})
    native: Native = {
        "type": "FCNMaskHead",
        "num_classes": s.require("num_classes"),
        "in_channels": s.take("in_channels", 256),
        "num_convs": s.take("num_convs", 4),
        "conv_out_channels": s.take("conv_out_channels", 256),
        "loss_mask": loss(s.section_or_empty("loss_mask")),
    }
    if mask_size != 28:
        native["roi_feat_size"] = mask_size // 2
    if s.take("class_agnostic", False):
        native["class_agnostic"] = True
    if (norm_cfg := norm(s)) is not None:
        native["norm_cfg"] = norm_cfg
    if (conv_cfg := s.take("conv_cfg")) is not None:
        native["conv_cfg"] = conv_cfg
    if threshold != 0.5:
        native["mask_thr"] = threshold
    if rule != "roi_align":
        native["target_rule"] = rule
    return native
