"""Looking at a batch: what is odd about it, and its pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from mmdet_lite.apis.browse import draw_batch
from mmdet_lite.structures.masks import InstanceMasks
from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.samples import Batch
from mmdet_lite.visualization.draw import save_image


def odd_inputs(batch: Batch) -> list[str]:
    """What is unusual about a batch's pixels and ground truth, a line each.

    Args:
        batch: with ground truth, on the CPU.
    """
    found = []
    for i, meta in enumerate(batch.metas):
        count = int((~batch.images[i].isfinite()).sum())
        lines = [f"{count} values of its pixels are not finite"] if count else []
        lines += _odd_boxes("box", batch.gt.boxes[i], batch.gt.valid[i], meta.shape)
        lines += _odd_boxes(
            "ignore box", batch.gt.ignore_boxes[i], batch.gt.ignore_valid[i], meta.shape
        )
        lines += _empty_masks(batch, i)
        found += [f"image {meta.image_id}: {line}" for line in lines]
    return found


def _odd_boxes(kind: str, boxes: Tensor, valid: Tensor, shape: tuple[int, int]) -> list[str]:
    problems = {row: _box_problem(boxes[row].tolist(), shape) for row in _rows(valid)}
    return [
        f"{kind} {row} ({', '.join(f'{value:g}' for value in boxes[row].tolist())}) {problem}"
        for row, problem in problems.items()
        if problem
    ]


def _box_problem(box: list[float], shape: tuple[int, int]) -> str:
    x1, y1, x2, y2 = box
    height, width = shape
    if not all(map(math.isfinite, box)):
        return "is not finite"
    if x2 <= x1 or y2 <= y1:
        return "has no area"
    if max(x1, 0) >= min(x2, width) or max(y1, 0) >= min(y2, height):
        return f"lies outside of the picture ({height}x{width})"
    if min(x1, y1) < -1 or x2 > width + 1 or y2 > height + 1:  # a pixel may come from rounding
        return f"reaches out of the picture ({height}x{width})"
    return ""


def _empty_masks(batch: Batch, image: int) -> list[str]:
    bitmaps = _bitmaps(batch, image)
    if bitmaps is None:
        return []
    rows = _rows(batch.gt.valid[image])
    return [f"the mask of box {row} has no pixel" for row in rows if not bitmaps[row].any()]


def _rows(valid: Tensor) -> list[int]:
    return valid.nonzero().flatten().tolist()


def _bitmaps(batch: Batch, image: int) -> Tensor | None:
    """The masks of one image, in the rows of its boxes: (G, H, W) uint8."""
    if batch.gt.masks is None:
        return None
    masks = batch.gt.masks[image]
    if not isinstance(masks, InstanceMasks):
        return masks.unpack()
    size = tuple(batch.images.shape[-2:])
    padded = torch.zeros(batch.gt.valid.shape[1], *size, dtype=torch.uint8)
    padded[batch.gt.valid[image]] = torch.from_numpy(masks.pad(size).bitmaps())
    return padded


def save_pictures(batch: Batch, classes: Sequence[str], folder: Path) -> None:
    """Save a batch's images, as the model sees them, with their ground truth.

    Args:
        batch: with ground truth, on the CPU.
        classes: K names.
        folder: of the PNG files, one an image.
    """
    pictures = draw_batch(_drawable(batch), classes)
    for meta, (image_id, picture) in zip(batch.metas, pictures, strict=True):
        save_image(folder / f"slot_{meta.slot}_image_{image_id}.png", picture)


def _drawable(batch: Batch) -> Batch:
    """Pixels as bytes, masks as bitmaps, and without the boxes that are nowhere."""
    pixels = batch.images.float().nan_to_num(0, 255, 0).clamp(0, 255).to(torch.uint8)
    gt = batch.gt
    masks = None
    if gt.masks is not None:
        masks = torch.stack([_bitmaps(batch, i) for i in range(len(batch.metas))])
        masks = PackedBitmaps.pack(masks)
    gt = replace(
        gt,
        valid=gt.valid & gt.boxes.isfinite().all(dim=-1),
        ignore_valid=gt.ignore_valid & gt.ignore_boxes.isfinite().all(dim=-1),
        masks=masks,
    )
    return replace(batch, images=pixels, gt=gt)
