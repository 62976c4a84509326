"""Samples to a padded batch, on the worker's side.

Letters: B images, G padded objects, I padded ignore boxes, H, W padded size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from mmdet_lite.data.sample import Sample
from mmdet_lite.structures.packed_bitmaps import BatchMasks, PackedBitmaps
from mmdet_lite.structures.samples import Batch, GroundTruth, ImageMeta


class Collate:
    """Pads samples to a batch; every array of it is new, of the batch's own size.

    Args:
        size_divisor: the padded height and width are multiples of it.
        masks: 'bitmaps' rasterises masks at the padded size, eight pixels a byte, 'lazy' passes
            them on as they are, None leaves them out.
        pad_size: (width, height) in pixels that every image is padded to at least; priors are valid
            in that padding too, as after MMDetection's BatchFixedSizePad.

    Raises:
        ValueError: ``masks`` is none of these, or ``pad_size`` is not two positive integers.
    """

    def __init__(
        self,
        size_divisor: int = 32,
        masks: Literal["bitmaps", "lazy"] | None = None,
        pad_size: tuple[int, int] | None = None,
    ):
        if masks not in ("bitmaps", "lazy", None):
            raise ValueError(f"masks must be 'bitmaps', 'lazy' or None, got {masks!r}")
        if pad_size is not None and not is_size(pad_size):
            raise ValueError(
                f"pad_size must be two positive integers, (width, height), got {pad_size!r}"
            )
        self.size_divisor = size_divisor
        self.masks = masks
        self.least = torch.tensor([1, 1] if pad_size is None else pad_size[::-1])

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """Pad ``samples`` to the batch's largest image and largest number of objects.

        Raises:
            ValueError: masks are wanted and a sample has none.
        """
        shapes = torch.tensor([sample.size for sample in samples])  # (B, 2)
        pad_shapes = self._round_up(torch.maximum(shapes, self.least))
        size = tuple(pad_shapes.amax(dim=0).tolist())
        boxes, valid = _pad_rows([sample.boxes for sample in samples])
        labels, _ = _pad_rows([sample.labels for sample in samples])
        ignore_boxes, ignore_valid = _pad_rows([sample.ignore_boxes for sample in samples])
        masks = self._collate_masks(samples, (*valid.shape, *size))
        return Batch(
            images=_pad_images([sample.image for sample in samples], size),
            shapes=shapes,
            pad_shapes=pad_shapes,
            keys=torch.tensor([sample.key for sample in samples]),
            gt=GroundTruth(boxes, labels, valid, ignore_boxes, ignore_valid, masks),
            metas=[_meta(sample) for sample in samples],
            epoch=samples[0].epoch,
        )

    def _round_up(self, shapes: Tensor) -> Tensor:
        return -(-shapes // self.size_divisor) * self.size_divisor

    def _collate_masks(
        self, samples: Sequence[Sample], shape: tuple[int, int, int, int]
    ) -> BatchMasks | None:
        if self.masks is None:
            return None
        without = [sample.image_id for sample in samples if sample.masks is None]
        if without:
            raise ValueError(
                f"masks={self.masks!r} are to be collated, but images {without} come without: "
                "build the data set with with_masks=True, or set masks=None"
            )
        if self.masks == "lazy":
            return [sample.masks for sample in samples]
        *rows, width = shape
        bits = _new_zeros((*rows, -(-width // 8)))
        for of_image, sample in zip(bits.numpy(), samples, strict=True):
            sample.masks.pack(of_image[: len(sample.masks)])
        return PackedBitmaps(bits, width)


def is_size(value: Any) -> bool:
    """Whether a value is two positive integers."""
    is_pair = isinstance(value, (list, tuple)) and len(value) == 2
    return is_pair and all(type(edge) is int and edge > 0 for edge in value)


def _pad_images(images: Sequence[np.ndarray], size: tuple[int, int]) -> Tensor:
    padded = _new_zeros((len(images), 3, *size))
    for planes, image in zip(padded.numpy(), images, strict=True):
        height, width = image.shape[:2]
        for plane, channel in zip(planes, cv2.split(image), strict=True):
            plane[:height, :width] = channel
    return padded


def _new_zeros(shape: tuple[int, ...]) -> Tensor:
    """A uint8 tensor of zeros; pages that nothing is written to are never made.

    In a worker it lies where the main process reads it, or it would be copied there as a whole.
    """
    if get_worker_info() is None:
        return torch.from_numpy(np.zeros(shape, dtype=np.uint8))
    # As torch's own collation does. The system fills a new shared memory object with zeros.
    storage = torch.UntypedStorage._new_shared(math.prod(shape))
    return torch.empty(0, dtype=torch.uint8).set_(storage, 0, shape)


def _pad_rows(arrays: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Stack (n, ...) arrays to (B, max n or 1, ...) and say which rows are filled: (B, max n)."""
    length = max(1, *(len(array) for array in arrays))
    padded = np.zeros((len(arrays), length, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
    valid = np.zeros((len(arrays), length), dtype=bool)
    for i, array in enumerate(arrays):
        padded[i, : len(array)] = array
        valid[i, : len(array)] = True
    return torch.from_numpy(padded), torch.from_numpy(valid)


def _meta(sample: Sample) -> ImageMeta:
    return ImageMeta(
        image_id=sample.image_id,
        file=sample.file,
        index=sample.index,
        slot=sample.slot,
        ori_shape=sample.ori_shape,
        shape=sample.size,
        scale_factor=sample.scale_factor,
        flip=sample.flip,
        offset=sample.offset,
    )
