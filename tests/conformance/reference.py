"""Reading the reference arrays, and turning their conventions into ours."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmdet_lite.models import targets as _targets  # noqa: F401  (fills the registry)
from mmdet_lite.structures.packed_bitmaps import BatchMasks
from mmdet_lite.structures.samples import Batch, GroundTruth, ImageMeta

ROOT = Path(os.environ.get("MMDET_LITE_REFERENCE") or Path(__file__).parents[1] / "data/reference")


class Arrays:
    """The arrays of one .npz file as tensors; float16 values are exact and become float32."""

    def __init__(self, name: str, folder: str = "two_stage"):
        self._file = np.load(ROOT / folder / f"{name}.npz")
        self.names = list(self._file.files)

    def __getitem__(self, name: str) -> Tensor:
        array = self._file[name]
        if array.dtype == np.float16:
            array = array.astype(np.float32)
        if array.dtype == np.uint64:
            array = array.astype(np.int64)
        return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def size(self, name: str) -> tuple[int, int]:
        """A (height, width) array as a tuple."""
        height, width = self._file[name].tolist()
        return int(height), int(width)

    def masks(self, name: str) -> Tensor:
        """Unpack bit masks: (n, H, W) uint8."""
        shape = self._file[f"{name}_shape"]
        bits = np.unpackbits(self._file[name], axis=-1)[..., : shape[-1]]
        return torch.from_numpy(bits.reshape(tuple(shape)))


def load_json(name: str) -> dict:
    return json.loads((ROOT / "two_stage" / f"{name}.json").read_text())


def make_gt(
    boxes: list[Tensor],
    labels: list[Tensor] | None = None,
    ignore: list[Tensor] | None = None,
    masks: BatchMasks | None = None,
) -> GroundTruth:
    """Pad per-image boxes to a batch."""
    labels = labels or [torch.zeros(len(b), dtype=torch.long) for b in boxes]
    ignore = ignore or [torch.zeros(0, 4) for _ in boxes]
    padded_boxes, valid = pad_rows(boxes)
    ignore_boxes, ignore_valid = pad_rows(ignore)
    return GroundTruth(padded_boxes, pad_rows(labels)[0], valid, ignore_boxes, ignore_valid, masks)


def pad_rows(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack tensors of different length, at least 1: (B, N, ...) and which rows are real (B, N)."""
    longest = max(1, *(len(row) for row in rows))
    out = rows[0].new_zeros(len(rows), longest, *rows[0].shape[1:])
    valid = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
        valid[i, : len(row)] = True
    return out, valid


def make_batch(
    images: Tensor, shapes: list[tuple], pad_shapes: list[tuple], gt: GroundTruth | None = None
) -> Batch:
    metas = [ImageMeta(i, f"image {i}", i, i, shape, shape) for i, shape in enumerate(shapes)]
    keys = torch.arange(len(shapes)) + 1
    return Batch(images, torch.tensor(shapes), torch.tensor(pad_shapes), keys, gt, metas)


def close(ours: Tensor, theirs: Tensor, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """The reference's tolerance for deltas, features and losses."""
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=rtol, atol=atol)


def close_boxes(ours: Tensor, theirs: Tensor) -> None:
    """The reference's tolerance for boxes: 1e-3 pixels."""
    torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=0, atol=1e-3)
