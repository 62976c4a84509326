"""Detectors and their data preprocessors."""

from __future__ import annotations

from typing import Any

from mmdet_lite.compat.mmdet.backbones import backbone, neck
from mmdet_lite.compat.mmdet.heads import dense_head, roi_head, rpn_head
from mmdet_lite.compat.mmdet.read import Native, Section


def detector(s: Section, target_rule: str) -> tuple[Native | None, Native]:
    """A detector.

    Args:
        s: ``model``.
        target_rule: how mask targets are made, which the pipeline says.

    Returns:
        The model, and what its data preprocessor sets in ``train_data``.
    """
    s.expect("init_cfg", None)
    preprocessor, data = _preprocessor(s.section_or_empty("data_preprocessor"))
    table = dict.fromkeys(
        ("FasterRCNN", "MaskRCNN", "CascadeRCNN"),
        lambda s: _two_stage(s, preprocessor, target_rule),
    )
    table["RetinaNet"] = lambda s: _single_stage(s, preprocessor)
    return s.dispatch("detector", table), data


def _two_stage(s: Section, normalizer: Native | None, target_rule: str) -> Native:
    train, test = s.section_or_empty("train_cfg"), s.section_or_empty("test_cfg")
    native: Native = {
        "type": "TwoStageDetector",
        "normalizer": normalizer,
        "backbone": backbone(s.section_or_empty("backbone")),
        "neck": neck(s.section("neck")),
        "rpn_head": rpn_head(s.section_or_empty("rpn_head"), train, test),
        "roi_head": roi_head(s.section_or_empty("roi_head"), train, test, target_rule),
    }
    return _without_neck(native)


def _single_stage(s: Section, normalizer: Native | None) -> Native:
    train, test = s.section_or_empty("train_cfg"), s.section_or_empty("test_cfg")
    native: Native = {
        "type": "SingleStageDetector",
        "normalizer": normalizer,
        "backbone": backbone(s.section_or_empty("backbone")),
        "neck": neck(s.section("neck")),
        "bbox_head": dense_head(s.section_or_empty("bbox_head"), train, test),
    }
    return _without_neck(native)


def _without_neck(native: Native) -> Native:
    return native if native["neck"] else {k: v for k, v in native.items() if k != "neck"}


def _preprocessor(s: Section) -> tuple[Native | None, Native]:
    """The normaliser, and the settings of ``train_data`` for padding."""
    data: Native = {}

    def translate(s: Section) -> Native:
        s.has_no_effect("padding of images and masks is zero", "pad_mask", "mask_pad_value")
        s.has_no_effect("copies to the device do not block", "non_blocking")
        s.has_no_effect("not for detection", "pad_seg", "seg_pad_value", "boxtype2tensor")
        s.expect("pad_value", 0)
        s.expect("rgb_to_bgr", False)
        mean, std = (
            list(s.take(key, default)) for key, default in (("mean", [0] * 3), ("std", [1] * 3))
        )
        if (divisor := s.take("pad_size_divisor", 1)) != 32:
            data["size_divisor"] = divisor
        for augment in s.sections("batch_augments"):
            data.update(
                augment.dispatch("batch augmentation", {"BatchFixedSizePad": _fixed_pad}) or {}
            )
        native: dict[str, Any] = {"type": "ImageNormalizer", "mean": mean, "std": std}
        if not s.take("bgr_to_rgb", False):
            native["to_bgr"] = True
        return native

    return s.dispatch("data preprocessor", {"DetDataPreprocessor": translate}), data


def _fixed_pad(s: Section) -> Native:
    s.has_no_effect(
        "masks and images are padded alike", "pad_mask", "mask_pad_value", "img_pad_value"
    )
    s.has_no_effect("not for detection", "pad_seg", "seg_pad_value")
    height, width = s.require("size") or (0, 0)
    return {"pad_size": (width, height)}
