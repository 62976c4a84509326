"""Transforms that put several images of the data set together.

Letters: H, W size of the result, n objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from mmdet_lite.data.geometry import crop, fitted_size, place, resize
from mmdet_lite.data.pipeline import DrawSample, MixingTransform
from mmdet_lite.data.sample import Sample
from mmdet_lite.data.transforms import read_grey, read_pair, read_prob, read_range
from mmdet_lite.registry import TRANSFORMS
from mmdet_lite.structures.masks import InstanceMasks, tight_boxes

_CORNERS = ((0, 0), (1, 0), (0, 1), (1, 1))  # of the mosaic: (right?, below?)


@TRANSFORMS.register_module()
class CopyPaste(MixingTransform):
    """Paste random objects of another image, Ghiasi et al., https://arxiv.org/abs/2012.07177.

    The other image lies at the same upper left corner; what reaches out of this one is cut off.
    The masks of objects that are covered lose what is covered, and their boxes become tight. An
    object is left out if nothing of it is seen any more; or if an edge of its box has moved far and
    few of its pixels are left, as the two thresholds say. Crowds are not pasted, and stay.

    Args:
        max_num_pasted: at most so many objects are pasted; their number is drawn from 0 on.
        bbox_occluded_thr: a covered object stays if no edge of its box moves by more pixels.
        mask_occluded_thr: it also stays if it has more pixels left.
        selected: paste a random choice of the objects; otherwise all of them.
        paste_by_box: where no masks are loaded, take boxes for masks.

    Raises:
        ValueError: ``max_num_pasted`` is negative.
    """

    training_only = True

    def __init__(
        self,
        max_num_pasted: int = 100,
        bbox_occluded_thr: float = 10,
        mask_occluded_thr: float = 300,
        selected: bool = True,
        paste_by_box: bool = False,
    ):
        if max_num_pasted < 0:
            raise ValueError(f"CopyPaste: max_num_pasted must be 0 or more, got {max_num_pasted}")
        self.max_num_pasted = max_num_pasted
        self.bbox_occluded_thr = bbox_occluded_thr
        self.mask_occluded_thr = mask_occluded_thr
        self.selected = selected
        self.paste_by_box = paste_by_box

    def __call__(
        self, sample: Sample, rng: np.random.Generator, draw_partner: DrawSample
    ) -> Sample:
        """Paste onto ``sample``.

        Raises:
            ValueError: an image comes without masks, and ``paste_by_box`` is not set.
        """
        pasted = draw_partner()
        _check_masks([sample, pasted])
        if sample.masks is None and not self.paste_by_box:
            raise ValueError(
                f"CopyPaste: image id {sample.image_id} comes without masks: build the data set "
                "with with_masks=True, or set paste_by_box=True to paste boxes"
            )
        pasted = _cut_to(pasted, sample.size)
        if self.selected:
            pasted = self._select(pasted, rng)
        if not len(pasted.boxes):
            return sample
        cover = _union(_masks_or_boxes(pasted))
        image = sample.image.copy()
        image[cover] = pasted.image[cover]
        pasted = replace(pasted, ignore_boxes=pasted.ignore_boxes[:0])
        return _join([self._cover(sample, cover), pasted], image)

    def _select(self, sample: Sample, rng: np.random.Generator) -> Sample:
        count = len(sample.boxes)
        number = rng.integers(min(count, self.max_num_pasted) + 1)
        return sample.select(rng.choice(count, number, replace=False) if number else [])

    def _cover(self, sample: Sample, cover: np.ndarray) -> Sample:
        """What is left of the objects where ``cover``, (H, W) bool, hides the image."""
        masks = _masks_or_boxes(sample)
        shapes, boxes = list(masks.shapes), sample.boxes.copy()
        keep = np.ones(len(boxes), dtype=bool)
        for i in range(len(boxes)):
            bitmap = masks.select([i]).bitmaps()
            left = bitmap * ~cover
            if (left == bitmap).all():
                continue
            shapes[i], boxes[i] = left[0], tight_boxes(left)[0]
            moved = np.abs(boxes[i] - sample.boxes[i]).max()
            pixels = left.sum()
            is_seen = moved <= self.bbox_occluded_thr or pixels > self.mask_occluded_thr
            keep[i] = pixels > 0 and is_seen
        masks = None if sample.masks is None else InstanceMasks(shapes, masks.size)
        return replace(sample, boxes=boxes, masks=masks).select(keep)


@TRANSFORMS.register_module()
class Mosaic(MixingTransform):
    """Four images around a random point, YOLOv4, https://arxiv.org/abs/2004.10934.

    Each is made as large as fits ``size`` and laid with a corner at the point: this image above on
    the left, three others on the right and below. The result is twice as large as ``size``; what
    reaches out of it is cut off.

    Args:
        size: (width, height) in pixels of a quarter.
        center_ratio_range: bounds of the point's place, as shares of ``size``; x and y are drawn
            each on its own.
        pad_val: grey level where no image lies, 0..255.
        prob: share of the images that become a mosaic; the others stay as they are.

    Raises:
        ValueError: an argument is out of its range.
    """

    training_only = True

    def __init__(
        self,
        size: tuple[int, int] = (640, 640),
        center_ratio_range: tuple[float, float] = (0.5, 1.5),
        pad_val: int = 114,
        prob: float = 1.0,
    ):
        self.size = np.array(read_pair("Mosaic", "size", size))  # x before y from here on
        self.center_ratio_range = read_range("Mosaic", "center_ratio_range", center_ratio_range)
        if self.center_ratio_range[1] > 2:
            raise ValueError(
                f"Mosaic: center_ratio_range must end at 2 at most, got {center_ratio_range}"
            )
        self.pad_val = read_grey("Mosaic", pad_val)
        self.prob = read_prob("Mosaic", prob)

    def __call__(
        self, sample: Sample, rng: np.random.Generator, draw_partner: DrawSample
    ) -> Sample:
        """Make a mosaic that begins with ``sample``.

        Raises:
            ValueError: some of the images come with masks and some without.
        """
        if rng.random() >= self.prob:
            return sample
        canvas_size = 2 * self.size
        point = (rng.uniform(*self.center_ratio_range, size=2) * self.size).astype(int)
        point = np.clip(point, 1, canvas_size - 1)  # so that something is seen of all four
        samples = [sample, *(draw_partner() for _ in range(3))]
        _check_masks(samples)
        canvas = np.full((*canvas_size[::-1], 3), self.pad_val, dtype=np.uint8)
        parts = [
            _lay(resize(part, self._fit(part)), point, np.array(corner), canvas)
            for part, corner in zip(samples, _CORNERS, strict=True)
        ]
        return _join(parts, canvas)

    def _fit(self, sample: Sample) -> tuple[int, int]:
        return fitted_size(sample.size[::-1], self.size.tolist())


@TRANSFORMS.register_module()
class MixUp(MixingTransform):
    """Blend with another image and keep the objects of both, https://arxiv.org/abs/1710.09412.

    The share of this image is drawn from a beta distribution. It stands where all images have one
    size: after RandomAffine or Letterbox.

    Args:
        alpha: both parameters of the beta distribution; with 32, that of YOLOv5's code, most shares
            lie between 0.4 and 0.6.
        prob: share of the images that are blended; the others stay as they are.

    Raises:
        ValueError: ``alpha`` is not above 0, or ``prob`` not in 0..1.
    """

    training_only = True

    def __init__(self, alpha: float = 32.0, prob: float = 1.0):
        if not alpha > 0:
            raise ValueError(f"MixUp: alpha must be larger than 0, got {alpha}")
        self.alpha = alpha
        self.prob = read_prob("MixUp", prob)

    def __call__(
        self, sample: Sample, rng: np.random.Generator, draw_partner: DrawSample
    ) -> Sample:
        """Blend ``sample`` with a partner.

        Raises:
            ValueError: the images differ in size, or only one comes with masks.
        """
        if rng.random() >= self.prob:
            return sample
        partner = draw_partner()
        if partner.size != sample.size:
            raise ValueError(
                f"MixUp: image id {sample.image_id} is {_name_size(sample)} and its partner, id "
                f"{partner.image_id}, {_name_size(partner)}; put it after what gives all images "
                "the same size, such as RandomAffine with a size, or Letterbox"
            )
        _check_masks([sample, partner])
        share = rng.beta(self.alpha, self.alpha)
        image = cv2.addWeighted(sample.image, share, partner.image, 1 - share, 0)
        return _join([sample, partner], image)


def _name_size(sample: Sample) -> str:
    return f"{sample.size[1]} wide and {sample.size[0]} high"


def _lay(sample: Sample, point: np.ndarray, corner: np.ndarray, canvas: np.ndarray) -> Sample:
    """Draw a sample onto ``canvas``, (H, W, 3), so that it lies on one side of a point.

    Returns:
        The sample with boxes and masks in pixels of the canvas.
    """
    size, limit = np.array(sample.size[::-1]), np.array(canvas.shape[1::-1])
    start = point - size * (1 - corner)
    low, high = np.maximum(start, 0), np.minimum(start + size, limit)
    part = crop(sample, *(low - start).tolist(), *(high - low).tolist())
    return place(part, canvas, *low.tolist())


def _cut_to(sample: Sample, size: tuple[int, int]) -> Sample:
    """A sample cut, or padded with black, to an image of (height, width) ``size``."""
    if sample.size == size:
        return sample
    height, width = (min(edges) for edges in zip(sample.size, size, strict=True))
    sample = crop(sample, 0, 0, width, height)
    image = np.zeros((*size, 3), dtype=np.uint8)
    image[:height, :width] = sample.image
    masks = None if sample.masks is None else sample.masks.pad(size)
    return replace(sample, image=image, masks=masks)


def _masks_or_boxes(sample: Sample) -> InstanceMasks:
    """The masks; without them, the boxes as polygons."""
    if sample.masks is not None:
        return sample.masks
    corners = sample.boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].astype(np.float64).reshape(-1, 4, 2)
    return InstanceMasks([[points] for points in corners], sample.size)


def _union(masks: InstanceMasks) -> np.ndarray:
    """(H, W) bool, where any of the masks is; made one by one, which spares memory."""
    union = np.zeros(masks.size, dtype=bool)
    for i in range(len(masks)):
        union |= masks.select([i]).bitmaps()[0].astype(bool)
    return union


def _check_masks(samples: Sequence[Sample]) -> None:
    without = [sample.image_id for sample in samples if sample.masks is None]
    if 0 < len(without) < len(samples):
        others = [sample.image_id for sample in samples if sample.masks is not None]
        raise ValueError(
            f"images {others} come with masks and images {without} without, and they cannot be "
            "put together: give all data sets the same with_masks"
        )


def _join(samples: Sequence[Sample], image: np.ndarray) -> Sample:
    """The first sample with another image of its own size and the objects of all samples."""
    masks = None
    if samples[0].masks is not None:
        shapes = [shape for sample in samples for shape in sample.masks.shapes]
        masks = InstanceMasks(shapes, samples[0].masks.size)
    return replace(
        samples[0],
        image=image,
        boxes=np.concatenate([sample.boxes for sample in samples]),
        labels=np.concatenate([sample.labels for sample in samples]),
        annotation_ids=np.concatenate([sample.annotation_ids for sample in samples]),
        ignore_boxes=np.concatenate([sample.ignore_boxes for sample in samples]),
        masks=masks,
    )
