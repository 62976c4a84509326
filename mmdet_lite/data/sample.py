"""One image with its annotations, on the host, as it travels through the transforms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mmdet_lite.structures.masks import InstanceMasks


class SampleRef(NamedTuple):
    """What a batch sampler asks of a data set: which image, and where in the run it is used."""

    index: int  # position in the data set
    epoch: int = 0
    iteration: int = 0
    slot: int = 0  # place in the global batch, over all processes


@dataclass
class Sample:
    """One image before collation. n objects, m ignore boxes; boxes xyxy in pixels of ``image``.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (n, 4) float32.
        labels: (n,) int64 in 0..K-1.
        annotation_ids: (n,) int64, the objects' ids in the annotation file.
        ignore_boxes: (m, 4) float32, crowd regions.
        masks: n masks of the size of ``image``, or None where they are not loaded.
        image_id: the id in the annotation file.
        file: path of the image, or where else its pixels come from.
        index: position in the data set.
        ori_shape: (height, width) as loaded.
        scale_factor: (x, y) factors from loaded to present coordinates.
        offset: (x, y) in pixels of ``image`` of the upper left corner of the scaled and mirrored
            picture.
        flip: '', 'horizontal', 'vertical' or 'both'.
        epoch: of the run, in which it is used.
        iteration: of the run, in which it is used.
        slot: place in the global batch.
        key: the key that the model's samplers draw by, see
            :func:`mmdet_lite.random_keys.image_key`.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    annotation_ids: np.ndarray
    ignore_boxes: np.ndarray
    masks: InstanceMasks | None
    image_id: int
    file: str
    index: int
    ori_shape: tuple[int, int]
    scale_factor: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    flip: str = ""
    epoch: int = 0
    iteration: int = 0
    slot: int = 0
    key: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image as it is now."""
        return self.image.shape[0], self.image.shape[1]

    def select(self, keep: np.ndarray) -> Sample:
        """The sample with the objects at ``keep`` (bool (n,) or indices) only."""
        indices = np.arange(len(self.boxes))[keep]
        return replace(
            self,
            boxes=self.boxes[indices],
            labels=self.labels[indices],
            annotation_ids=self.annotation_ids[indices],
            masks=None if self.masks is None else self.masks.select(indices),
        )
