"""Images of one fixed size whose picture keeps its ratio."""

from __future__ import annotations

import numpy as np

from mmdet_lite.data.geometry import fitted_size, place, resize
from mmdet_lite.data.sample import Sample
from mmdet_lite.data.transforms import read_grey, read_pair
from mmdet_lite.registry import TRANSFORMS


@TRANSFORMS.register_module()
class Letterbox:
    """Resize as large as fits a size, and pad to just that size; the padding is part of the image.

    Detections are taken back to the original image exactly: what the meta data says of scale and
    offset is that of the rounded size and of the padding.

    Args:
        size: (width, height) of the result.
        pad_val: grey level of the padding, 0..255; 114 is that of the YOLO papers' code.
        center: put the picture in the middle; otherwise at the upper left.
        enlarge: make smaller pictures larger too; otherwise they are only padded.

    Raises:
        ValueError: ``size`` is not two positive integers, or ``pad_val`` no whole number of 0..255.
    """

    def __init__(
        self,
        size: tuple[int, int],
        pad_val: int = 114,
        center: bool = True,
        enlarge: bool = True,
    ):
        self.size = read_pair("Letterbox", "size", size)
        self.pad_val = read_grey("Letterbox", pad_val)
        self.center = center
        self.enlarge = enlarge

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        picture = fitted_size(sample.size[::-1], self.size, self.enlarge)
        if picture != sample.size[::-1]:
            sample = resize(sample, picture)
        x, y = np.subtract(self.size, picture).tolist()
        if self.center:
            x, y = x // 2, y // 2
        else:
            x, y = 0, 0
        canvas = np.full((*self.size[::-1], 3), self.pad_val, dtype=np.uint8)
        return place(sample, canvas, x, y)
