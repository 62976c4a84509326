"""Checkpoints of MMDetection 2.x and 3.x.

Names, shapes, class order and box deltas of Faster, Mask and Cascade R-CNN and RetinaNet are ours.
2.x and 3.x differ in ``meta`` only: class names are ``meta['CLASSES']`` in 2.x and
``meta['dataset_meta']['classes']`` in 3.x, the config is ``meta['config']`` and ``meta['cfg']``.
1.x counted classes from 1 and took the last pixel of a box as inside of it; its heads had no
``roi_head.`` in front, by which it is known here, and it is refused.
"""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

from mmdet_lite.compat.converted import Converted, add_batch_counts, require_tensors

_HEADS = ("rpn_head.", "roi_head.", "bbox_head.")
_FIRST_VERSION = ("bbox_head.fc_cls.", "bbox_head.0.", "bbox_head.shared_fcs.", "mask_head.")


def is_mmdet(names: Collection[str]) -> bool:
    """Whether parameters are named as in MMDetection."""
    return any(n.startswith(_HEADS) for n in names) and any(
        n.startswith("backbone.") and not n.startswith(("backbone.body.", "backbone.bottom_up."))
        for n in names
    )


def convert_mmdet(content: dict, raw: bool = False) -> Converted:
    """Take weights, class names and config.

    An EMAHook writes the averages as ``state_dict`` and what was trained beside it: MMEngine's as
    ``ema_state_dict``, mmcv 1's among the weights as ``ema_backbone_conv1_weight``.

    Args:
        content: the checkpoint.
        raw: take the weights as trained, not their average (EMA), where there is one.

    Raises:
        ValueError: it holds no weights, those of MMDetection 1.x, or a run of this program.
    """
    if "model" in content and "state_dict" not in content:
        raise ValueError(
            "it is in this program's own form, which needs no conversion; `mmdet-lite "
            "publish-model` writes the weights alone"
        )
    state = require_tensors(content.get("state_dict", content), "the checkpoint")
    state = {name.removeprefix("module."): value for name, value in state.items()}
    if any(name.startswith(_FIRST_VERSION) for name in state):
        raise ValueError(
            "it is of MMDetection 1.x, whose class order and boxes (a box ended with its last "
            "pixel, width = x2 - x1 + 1) were others, so that its detections would be off. Take a "
            "checkpoint of 2.0 or later; the model zoo of 2.x has all of 1.x's detectors"
        )
    trained = _trained(state, content.get("ema_state_dict"))
    averages = {name: v for name, v in state.items() if not name.startswith("ema_")}
    meta = content.get("meta") if isinstance(content.get("meta"), dict) else {}
    version = meta.get("mmdet_version")
    notes = ["The config is the one that it was trained with; those of MMDetection 3.x load as is"]
    if trained:
        taken = "the weights as trained" if raw else "their average (EMA), as --raw is not given"
        notes.append(f"It has weights and their average; taken: {taken}")
    text = meta.get("cfg", meta.get("config"))
    return Converted(
        weights=add_batch_counts(averages | trained if raw else averages),
        source=f"MMDetection {version}" if isinstance(version, str) else "MMDetection",
        notes=notes,
        classes=_classes(meta),
        config_text=text if isinstance(text, str) else None,
    )


def _trained(state: dict[str, Tensor], swapped: object) -> dict[str, Tensor]:
    """The weights that an EMAHook has put aside, by their own names; empty: there was none."""
    if isinstance(swapped, dict):
        named = {name.removeprefix("module."): value for name, value in swapped.items()}
        return {name: value for name, value in named.items() if name in state}
    kept = {name: f"ema_{name.replace('.', '_')}" for name in state}
    return {name: state[buffer] for name, buffer in kept.items() if buffer in state}


def _classes(meta: dict) -> list[str] | None:
    dataset = meta.get("dataset_meta") if isinstance(meta.get("dataset_meta"), dict) else {}
    for names in (dataset.get("classes"), dataset.get("CLASSES"), meta.get("CLASSES")):
        if isinstance(names, (list, tuple)) and names and all(type(n) is str for n in names):
            return list(names)
    return None
