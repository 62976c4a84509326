"""A batch on disk: what a step was given when its numbers went wrong, for a replay.

Letters: B images, G padded objects, I padded ignore boxes, H, W padded size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmdet_lite.engine.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from mmdet_lite.structures.masks import InstanceMasks, Shape
from mmdet_lite.structures.packed_bitmaps import BatchMasks, PackedBitmaps
from mmdet_lite.structures.samples import Batch, GroundTruth, ImageMeta

_FORMAT = "mmdet_lite batch 3"
_INFO_TYPES = {
    "iteration": int,
    "rank": int,
    "seed": int,
    "precision": str,
    "losses": dict,
    "reason": str,
    "device": str,
    "torch": str,
    "threads": int,
}
_TENSORS = ("images", "shapes", "pad_shapes", "keys")
_AXES = {
    "images": "B3HW",
    "shapes": "B2",
    "pad_shapes": "B2",
    "keys": "B",
    "metas": "B",
    "gt.boxes": "BG4",
    "gt.labels": "BG",
    "gt.valid": "BG",
    "gt.ignore_boxes": "BI4",
    "gt.ignore_valid": "BI",
}


def save_batch(path: str | Path, batch: Batch, info: Mapping[str, Any]) -> None:
    """Write a batch with what is known about its step, as tensors and plain values only.

    Args:
        path: the file to write.
        batch: on any device.
        info: plain values: ``iteration`` (of the step, from 0), ``rank``, ``seed``, ``precision``,
            ``losses`` (name to float) and ``reason``; others are kept, and shown by a replay. What
            :func:`environment` tells is added.

    Raises:
        TypeError: ``info`` holds something that is no plain value; says where.
        OSError: the file cannot be written.
    """
    info = environment(batch.images.device) | dict(info)
    save_checkpoint({"format": _FORMAT, "batch": _pack(batch), "info": info}, path)


def load_batch(path: str | Path) -> tuple[Batch, dict[str, Any]]:
    """Read what :func:`save_batch` wrote, on the CPU, without running code from the file.

    Returns:
        The batch and the info.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is damaged, holds code, or is no such batch; lists what is wrong.
    """
    content = load_checkpoint(path)
    if content.get("format") != _FORMAT:
        found = ", ".join(map(str, list(content)[:10])) or "nothing"
        raise CheckpointError(
            f"{path} is no dumped batch: it has no 'format' {_FORMAT!r} (it holds {found}). Give a "
            "file batch_rank_<r>.pth of a folder nonfinite_iter_<n> in the run's work dir"
        )
    try:
        batch, info = _unpack(content["batch"]), content["info"]
        problems = _info_problems(info) + _shape_problems(batch)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        problems = [f"a part of it is missing or of another kind: {error!r}"]
    if problems:
        raise CheckpointError(f"{path} holds no whole batch: {'; '.join(problems)}")
    return batch, info


def environment(device: torch.device) -> dict[str, str | int]:
    """What the last digits of a sum depend on: ``device``, ``torch``, and CPU ``threads``."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "torch": str(torch.__version__), "threads": torch.get_num_threads()}


def _pack(batch: Batch) -> dict[str, Any]:
    packed = {name: getattr(batch, name) for name in _TENSORS}
    packed["epoch"] = batch.epoch
    packed["metas"] = [_builtin(asdict(meta)) for meta in batch.metas]
    packed["gt"] = None
    if batch.gt is not None:
        packed["gt"] = vars(batch.gt) | {"masks": _pack_masks(batch.gt.masks)}
    return packed


def _builtin(value: Any) -> Any:
    """Data sets of users may count in NumPy's numbers, which a checkpoint does not take."""
    if isinstance(value, dict):
        return {name: _builtin(item) for name, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_builtin(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def _pack_masks(masks: BatchMasks | None) -> dict | list[dict] | None:
    if masks is None:
        return None
    if isinstance(masks, PackedBitmaps):
        return vars(masks)
    return [{"size": m.size, "shapes": [_pack_shape(s) for s in m.shapes]} for m in masks]


def _pack_shape(shape: Shape) -> Tensor | list[Tensor] | dict:
    """Polygons to a list of tensors, a bitmap to a tensor, RLE to a dict with its text."""
    if isinstance(shape, dict):
        return {"size": list(shape["size"]), "counts": shape["counts"].decode("ascii")}
    if isinstance(shape, list):
        return [_to_tensor(points) for points in shape]
    return _to_tensor(shape)


def _to_tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, order="C"))  # torch takes no mirrored views


def _unpack(packed: dict[str, Any]) -> Batch:
    gt = packed["gt"]
    if gt is not None:
        gt = GroundTruth(**gt | {"masks": _unpack_masks(gt["masks"])})
    metas = [ImageMeta(**meta) for meta in packed["metas"]]
    return Batch(
        **{name: packed[name] for name in _TENSORS}, gt=gt, metas=metas, epoch=packed["epoch"]
    )


def _unpack_masks(masks: dict | list[dict] | None) -> BatchMasks | None:
    if masks is None:
        return None
    if isinstance(masks, dict):
        return PackedBitmaps(**masks)
    return [InstanceMasks([_unpack_shape(s) for s in m["shapes"]], m["size"]) for m in masks]


def _unpack_shape(shape: Tensor | list[Tensor] | dict) -> Shape:
    if isinstance(shape, dict):
        return {"size": shape["size"], "counts": shape["counts"].encode("ascii")}
    if isinstance(shape, list):
        return [points.numpy() for points in shape]
    return shape.numpy()


def _info_problems(info: dict[str, Any]) -> list[str]:
    return [
        f"info.{name} is {info.get(name)!r}, expected {kind.__name__}"
        for name, kind in _INFO_TYPES.items()
        if not isinstance(info.get(name), kind)
    ]


def _shape_problems(batch: Batch) -> list[str]:
    """What does not have the axes that it should, or another size than what came before it."""
    sizes = {digit: int(digit) for digit in "234"}
    problems = []
    for name, axes in _expected_axes(batch).items():
        value = attrgetter(name)(batch)
        shape = (len(value),) if isinstance(value, list) else tuple(value.shape)
        pairs = zip(axes, shape, strict=False)
        if len(shape) != len(axes) or any(sizes.setdefault(a, n) != n for a, n in pairs):
            expected = ", ".join(str(sizes.get(axis, axis)) for axis in axes)
            problems.append(f"{name} has shape {shape}, expected ({expected})")
    return problems


def _expected_axes(batch: Batch) -> dict[str, str]:
    if batch.gt is None:
        return {name: axes for name, axes in _AXES.items() if not name.startswith("gt.")}
    if batch.gt.masks is None:
        return _AXES
    return _AXES | {"gt.masks": "B" if isinstance(batch.gt.masks, list) else "BGHW"}
