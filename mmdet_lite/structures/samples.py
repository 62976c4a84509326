"""What flows through the model: padded tensors, each with its ``valid`` mask.

Letters: B images, G padded ground truths, I padded ignore boxes, P proposals, D detections.
Boxes are float32 (x1, y1, x2, y2) in pixels of the network input. Rows whose ``valid`` is False
hold zeros and take part in nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from mmdet_lite.structures.packed_bitmaps import BatchMasks
from mmdet_lite.structures.pasting import PasteRule

T = TypeVar("T")


@dataclass
class ImageMeta:
    """Where an image of the batch comes from and what was done to it. Shapes are (height, width).

    Attributes:
        image_id: the id in the annotation file.
        file: path of the image file, or a description of where the pixels come from.
        index: position in the data set.
        slot: place in the global batch (over all processes).
        ori_shape: shape of the image in the file, after EXIF orientation.
        shape: shape after the transforms, before padding to the batch.
        scale_factor: (x, y) factors from original to network coordinates.
        flip: '', 'horizontal', 'vertical' or 'both'.
        offset: (x, y) in network coordinates of the upper left corner of the scaled and mirrored
            picture: what lies before it is padding.
    """

    image_id: int
    file: str
    index: int
    slot: int
    ori_shape: tuple[int, int]
    shape: tuple[int, int]
    scale_factor: tuple[float, float] = (1.0, 1.0)
    flip: str = ""
    offset: tuple[float, float] = (0.0, 0.0)


@dataclass
class GroundTruth:
    """Padded ground truth of a batch; G and I are at least 1, also where no image has objects.

    Attributes:
        boxes: (B, G, 4).
        labels: (B, G) int64 in 0..K-1; 0 in padded rows.
        valid: (B, G) bool.
        ignore_boxes: (B, I, 4), crowd regions.
        ignore_valid: (B, I) bool.
        masks: (B, G, H, W) packed bitmaps of the padded input size; or, for target rules that run
            on the host, an :class:`InstanceMasks` an image, in the order of the valid rows; or
            None.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor
    ignore_boxes: Tensor
    ignore_valid: Tensor
    masks: BatchMasks | None = None


@dataclass
class Batch:
    """What the loader hands to the model.

    Attributes:
        images: (B, 3, H, W) uint8 RGB (or float that is normalised by the model all the same),
            zero outside ``shapes``.
        shapes: (B, 2) int64 (height, width) of the picture inside the padded tensor.
        pad_shapes: (B, 2) int64, ``shapes`` rounded up to the size divisor: where priors are valid.
        keys: (B,) int64, see :func:`mmdet_lite.random_keys.image_key`.
        gt: ground truth, or None at inference.
        metas: one an image, on the host.
        epoch: of the run, from 0; what changes in the course of a training depends on it.
    """

    images: Tensor
    shapes: Tensor
    pad_shapes: Tensor
    keys: Tensor
    gt: GroundTruth | None
    metas: list[ImageMeta]
    epoch: int = 0

    def pin_memory(self) -> Batch:
        """Called by ``DataLoader(pin_memory=True)``."""
        return map_tensors(self, Tensor.pin_memory)


@dataclass
class Views:
    """The same images several times, at other sizes or mirrored (test-time augmentation).

    Attributes:
        batches: one a view, of the same B images in the same order.
    """

    batches: list[Batch]

    @property
    def metas(self) -> list[ImageMeta]:
        """The images as they are in their files, to which detections of all views are taken."""
        return [
            replace(meta, shape=meta.ori_shape, scale_factor=(1.0, 1.0), flip="", offset=(0.0, 0.0))
            for meta in self.batches[0].metas
        ]

    def pin_memory(self) -> Views:
        """Called by ``DataLoader(pin_memory=True)``."""
        return map_tensors(self, Tensor.pin_memory)


@dataclass
class Proposals:
    """Boxes that a region proposal network hands to the RoI head.

    Attributes:
        boxes: (B, P, 4), sorted by score.
        scores: (B, P) in 0..1.
        valid: (B, P) bool.
        ids: (B, P) int64, the identity of the prior that each came from.
    """

    boxes: Tensor
    scores: Tensor
    valid: Tensor
    ids: Tensor


@dataclass
class Detections:
    """Final output of a detector, in network coordinates, sorted by score.

    Attributes:
        boxes: (B, D, 4).
        scores: (B, D) in 0..1.
        labels: (B, D) int64 in 0..K-1.
        valid: (B, D) bool; valid rows come first.
        masks: (B, D, h, w) mask probabilities inside each box (28x28 as a rule), or None.
        mask_thr: a pixel belongs to the mask from this probability on.
        paste_rule: how masks are put back into the image, see ``paste_masks``.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    valid: Tensor
    masks: Tensor | None = None
    mask_thr: float = 0.5
    paste_rule: PasteRule = "sample"


def map_tensors(value: T, function: Any) -> T:
    """A copy of a dataclass, list or dict with ``function`` applied to every tensor inside."""
    if isinstance(value, Tensor):
        return function(value)
    if is_dataclass(value) and not isinstance(value, (ImageMeta, type)):
        changed = {f.name: map_tensors(getattr(value, f.name), function) for f in fields(value)}
        return replace(value, **changed)
    if isinstance(value, list):
        return [map_tensors(item, function) for item in value]
    if isinstance(value, dict):
        return {key: map_tensors(item, function) for key, item in value.items()}
    return value


def to_device(value: T, device: torch.device | str) -> T:
    """Move every tensor inside a batch or result; from pinned memory to a GPU without waiting."""
    # The other way it must wait: whoever reads the result has no means to know that it is there.
    to_gpu = torch.device(device).type != "cpu"
    return map_tensors(value, lambda tensor: tensor.to(device, non_blocking=to_gpu))
