"""What a user of an exported model has to know, as plain values that travel in its file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from torch import nn

from mmdet_lite import __version__


def describe(
    model: nn.Module, cfg: Config, classes: Sequence[str], with_nms: bool
) -> dict[str, Any]:
    """Class names, how pictures are prepared, thresholds.

    Args:
        model: the detector.
        cfg: the config, whose ``test_data``, or ``val_data``, says how pictures are prepared.
        classes: names in the order of the labels.
        with_nms: the model's outputs are detections.

    Returns:
        ``classes``; ``preprocessing``: ``channels``, ``resize`` ('letterbox', 'fit', 'stretch' or
        None), ``size`` of that, ``pad_value``, ``center``, ``enlarge``, ``divisor``;
        ``postprocessing``: ``nms`` (is it inside), ``score_thr``, ``iou_thr``, ``class_agnostic``,
        ``max_per_img`` and, with masks, ``mask_thr``; ``mmdet_lite``: the version.
    """
    return {
        "classes": list(classes),
        "preprocessing": _preprocessing(cfg),
        "postprocessing": _postprocessing(model, with_nms),
        "mmdet_lite": __version__,
    }


def _preprocessing(cfg: Config) -> dict[str, Any]:
    data = cfg.get("test_data") or cfg.get("val_data") or {}
    found = {
        "channels": "RGB",
        "resize": None,
        "size": None,
        "pad_value": 0,
        "center": False,
        "enlarge": True,
        "divisor": data.get("size_divisor", 32),
    }
    for step in (data.get("dataset") or {}).get("pipeline") or []:
        if step.get("type") == "Letterbox":
            size, pad_value = list(step["size"]), step.get("pad_val", 114)
            flags = {name: step.get(name, True) for name in ("center", "enlarge")}
            found |= {"resize": "letterbox", "size": size, "pad_value": pad_value, **flags}
        elif step.get("type") == "Resize":
            kind = "fit" if step.get("keep_ratio", True) else "stretch"
            found |= {"resize": kind, "size": list(step["scale"])}
    return found


def _postprocessing(model: nn.Module, with_nms: bool) -> dict[str, Any]:
    roi_head = getattr(model, "roi_head", None)
    head = _last(model.bbox_head if roi_head is None else roi_head.bbox_head)
    of_levels = getattr(head, "score_thrs", None)
    nms = getattr(head, "nms", None)  # a head of the user's own may have none of these
    found = {
        "nms": with_nms,
        "score_thr": min(of_levels) if of_levels else getattr(head, "score_thr", None),
        "iou_thr": getattr(nms, "iou_thr", None),
        "class_agnostic": getattr(nms, "class_agnostic", None),
        "max_per_img": getattr(head, "max_per_img", None),
    }
    mask_head = None if roi_head is None else roi_head.mask_head
    return found if mask_head is None else found | {"mask_thr": _last(mask_head).mask_thr}


def _last(head: nn.Module) -> nn.Module:
    """Of a cascade's stages."""
    return head[-1] if isinstance(head, nn.ModuleList) else head
