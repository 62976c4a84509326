"""Instance masks: kept lazily as polygons, RLE or bitmaps; cropped to boxes.

``InstanceMasks`` lives on the host and travels through the transforms. What the model sees are
uint8 bitmaps (B, G, H, W). Letters: n instances, M boxes, H, W image size, m mask size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import mmcv
import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.structures.rle import draw_rle, pack_rle

Polygons = list[np.ndarray]  # one (points, 2) float64 array a part
Shape = Polygons | np.ndarray | dict  # polygons, (H, W) uint8 bitmap, or compressed COCO RLE

_FAR = 1e6  # pixels; no picture is so large, and 32 bits hold it
_LONGEST_OUTLINE = 1e6  # pixels


class InstanceMasks:
    """The masks of one image's objects; every operation returns new masks.

    Polygons stay polygons through resizing, flipping and cropping and are rasterised once, at the
    size that the model sees. RLE is decoded at the first operation that changes it.

    Args:
        shapes: one entry an instance.
        size: (height, width) of the image the shapes refer to.
    """

    def __init__(self, shapes: Sequence[Shape], size: tuple[int, int]):
        self.shapes = list(shapes)
        self.size = (int(size[0]), int(size[1]))

    @classmethod
    def from_coco(cls, segmentations: Sequence, size: tuple[int, int]) -> InstanceMasks:
        """Read COCO ``segmentation`` values.

        Args:
            segmentations: per instance a list of flat polygons ``[x1, y1, x2, y2, ...]``, an
                uncompressed RLE (``counts`` is a list) or a compressed one.
            size: (height, width) of the image.
        """
        return cls([_read_segmentation(value, size) for value in segmentations], size)

    def __len__(self) -> int:
        return len(self.shapes)

    def select(self, indices: Sequence[int] | np.ndarray) -> InstanceMasks:
        """The masks at ``indices``, in that order."""
        return InstanceMasks([self.shapes[i] for i in indices], self.size)

    def resize(self, size: tuple[int, int]) -> InstanceMasks:
        """Scale to another image size; of bitmaps by the nearest centre of a pixel."""
        factors = np.array([size[1] / self.size[1], size[0] / self.size[0]])
        return self._map(
            lambda points: points * factors,
            lambda bitmap: cv2.resize(
                bitmap, (int(size[1]), int(size[0])), interpolation=cv2.INTER_NEAREST_EXACT
            ),
            size,
        )

    def flip(self, direction: str) -> InstanceMasks:
        """Mirror: 'horizontal' or 'vertical'."""
        axis = {"horizontal": 1, "vertical": 0}[direction]  # of the bitmap
        sign = np.array([-1.0, 1.0]) if axis else np.array([1.0, -1.0])
        offset = np.array([self.size[1], 0.0]) if axis else np.array([0.0, self.size[0]])
        return self._map(
            lambda points: points * sign + offset,
            lambda bitmap: cv2.flip(bitmap, axis),
            self.size,
        )

    def crop(self, x: int, y: int, width: int, height: int) -> InstanceMasks:
        """Cut out a window inside the image; coordinates are relative to it afterwards."""
        return self._map(
            lambda points: points - np.array([x, y], dtype=np.float64),
            lambda bitmap: np.ascontiguousarray(bitmap[y : y + height, x : x + width]),
            (height, width),
        )

    def pad(self, size: tuple[int, int]) -> InstanceMasks:
        """Extend the image on the right and below to (height, width) ``size``."""
        return self.place(0, 0, size)

    def place(self, x: int, y: int, size: tuple[int, int]) -> InstanceMasks:
        """Put the image at (x, y) into a larger one of (height, width) ``size``."""
        right, below = size[1] - self.size[1] - x, size[0] - self.size[0] - y
        offset = np.array([x, y], dtype=np.float64)
        return self._map(
            # what a crop cut off stays away
            lambda points: _clip_polygon(points, self.size) + offset,
            lambda bitmap: np.pad(bitmap, ((y, below), (x, right))),
            size,
        )

    def warp(self, matrix: np.ndarray, size: tuple[int, int]) -> InstanceMasks:
        """Move by a (2, 3) affine map into an image of (height, width) ``size``."""
        return self._map(
            # what a crop cut off stays away
            lambda points: _clip_polygon(points, self.size) @ matrix[:, :2].T + matrix[:, 2],
            lambda bitmap: warp_pixels(bitmap, matrix, size[::-1], cv2.INTER_NEAREST, 0),
            size,
        )

    def bitmaps(self) -> np.ndarray:
        """Rasterise: (n, H, W) uint8 in {0, 1}."""
        out = np.zeros((len(self.shapes), *self.size), dtype=np.uint8)
        for shape, bitmap in zip(self.shapes, out, strict=True):
            if isinstance(shape, np.ndarray):
                bitmap[:] = shape
            elif (rle := _encode(shape, self.size)) is not None:
                draw_rle(rle, bitmap)
        return out

    def pack(self, bits: np.ndarray) -> None:
        """Rasterise into zeros that are there already, eight pixels a byte.

        Args:
            bits: (n, H, ceil(W / 8)) uint8, all 0, of this size or larger; see
                :class:`~mmdet_lite.structures.packed_bitmaps.PackedBitmaps`.
        """
        height, width = self.size[0], -(-self.size[1] // 8)
        for shape, out in zip(self.shapes, bits, strict=True):
            if isinstance(shape, np.ndarray):
                out[:height, :width] = np.packbits(shape, axis=1)
            elif (rle := _encode(shape, self.size)) is not None:
                pack_rle(rle, out)

    def _map(
        self,
        move_points: Callable[[np.ndarray], np.ndarray],
        move_bitmap: Callable[[np.ndarray], np.ndarray],
        size: tuple[int, int],
    ) -> InstanceMasks:
        moved = []
        for shape in self.shapes:
            if isinstance(shape, list):
                moved.append([move_points(points) for points in shape])
            else:
                moved.append(move_bitmap(self._bitmap(shape)))
        return InstanceMasks(moved, size)

    def _bitmap(self, shape: Shape) -> np.ndarray:
        if isinstance(shape, list):
            return rasterize_polygons(shape, self.size)
        if isinstance(shape, dict):
            return coco_mask.decode(shape)
        return shape


def warp_pixels(
    pixels: np.ndarray, matrix: np.ndarray, size: tuple[int, int], interpolation: int, pad_val: int
) -> np.ndarray:
    """Move an image or a bitmap by an affine map.

    Args:
        pixels: (H, W) or (H, W, 3) uint8.
        matrix: (2, 3) from its coordinates to those of the result; pixel i is the range i to i + 1.
        size: (width, height) of the result.
        interpolation: OpenCV's flag.
        pad_val: level where there is nothing.
    """
    centred = matrix.astype(np.float64)  # OpenCV's pixel i lies at i
    centred[:, 2] += centred[:, :2].sum(axis=1) / 2 - 0.5
    return cv2.warpAffine(pixels, centred, size, flags=interpolation, borderValue=(pad_val,) * 3)


def tight_boxes(bitmaps: np.ndarray) -> np.ndarray:
    """Boxes around the pixels of (n, H, W) bitmaps: (n, 4) float32 xyxy, zeros for an empty one."""
    boxes = np.zeros((len(bitmaps), 4), dtype=np.float32)
    for box, bitmap in zip(boxes, bitmaps, strict=True):
        rows, columns = np.flatnonzero(bitmap.any(axis=1)), np.flatnonzero(bitmap.any(axis=0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def rasterize_polygons(polygons: Polygons, size: tuple[int, int]) -> np.ndarray:
    """The union of polygons as a (H, W) uint8 bitmap, by COCO's rasterisation rule."""
    bitmap = np.zeros(size, dtype=np.uint8)
    if (rle := _encode(polygons, size)) is not None:
        draw_rle(rle, bitmap)
    return bitmap


def _encode(shape: Polygons | dict, size: tuple[int, int]) -> dict | None:
    """Run lengths of polygons' union; None if no polygon has three points. RLE stays as it is."""
    if isinstance(shape, dict):
        return shape
    drawable = [_bound(points, size) for points in shape]
    flat = [points.reshape(-1) for points in drawable if len(points) > 2]
    return coco_mask.merge(coco_mask.frPyObjects(flat, *size)) if flat else None


def _bound(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A polygon that pycocotools can draw, if need be only its part inside the image.

    pycocotools ends the process over coordinates beyond 32 bits, and takes memory for each pixel
    of the outline, also outside of the image.
    """
    points = points.clip(-_FAR, _FAR)
    outline = np.abs(points - np.roll(points, -1, axis=0)).sum()
    return points if outline <= _LONGEST_OUTLINE else _clip_polygon(points, size)


def _clip_polygon(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The part of a polygon inside an image of (height, width) ``size``."""
    points = points.clip(-_FAR, _FAR)  # so that products are finite
    for axis, limit in ((0, size[1]), (1, size[0])):
        points = _clip_half_plane(points, points[:, axis])
        points = _clip_half_plane(points, limit - points[:, axis])
    return points


def _clip_half_plane(points: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """The part of a polygon whose ``distance`` is not negative (Sutherland and Hodgman)."""
    next_distance = np.roll(distance, -1)
    crosses = distance * next_distance < 0
    share = distance / np.where(crosses, distance - next_distance, 1)
    crossings = points + share[:, None] * (np.roll(points, -1, axis=0) - points)
    candidates = np.stack([points, crossings], axis=1).reshape(-1, 2)
    return candidates[np.stack([distance >= 0, crosses], axis=1).reshape(-1)]


def _read_segmentation(value: list | dict, size: tuple[int, int]) -> Shape:
    if isinstance(value, dict):
        if isinstance(value["counts"], list):
            return coco_mask.frPyObjects(value, size[0], size[1])
        counts = value["counts"]
        encoded = counts.encode() if isinstance(counts, str) else counts
        return {"size": list(value["size"]), "counts": encoded}
    return [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in value]


def crop_and_resize(
    masks: InstanceMasks, boxes: np.ndarray, indices: np.ndarray, size: int, rule: str
) -> np.ndarray:
    """Mask targets on the host, by one of MMDetection's two older rules.

    Args:
        masks: the masks of one image.
        boxes: (M, 4) float32, pixels of that image.
        indices: (M,) which mask each box crops.
        size: side of the square result.
        rule: 'polygon' (polygons are shifted, scaled and rasterised) or 'legacy' (whole pixels are
            cropped, ends included, and resized with 8-bit bilinear weights).

    Returns:
        (M, size, size) uint8 in {0, 1}.

    Raises:
        ValueError: 'polygon' meets a mask that is not a polygon.
    """
    height, width = masks.size
    edge = 0 if rule == "polygon" else 1
    limit = np.array([width - edge, height - edge] * 2, dtype=boxes.dtype)
    boxes = np.clip(boxes, 0, limit)
    crop = _crop_polygons if rule == "polygon" else _crop_whole_pixels
    out = np.zeros((len(boxes), size, size), dtype=np.uint8)
    for row, (box, index) in enumerate(zip(boxes, indices, strict=True)):
        out[row] = crop(masks, int(index), box, size)
    return out


def _crop_polygons(masks: InstanceMasks, index: int, box: np.ndarray, size: int) -> np.ndarray:
    polygons = masks.shapes[index]
    if not isinstance(polygons, list):
        raise ValueError(
            "mask rule 'polygon' needs polygon annotations, but this object's mask is an RLE or a "
            "bitmap; use rule 'roi_align'"
        )
    x1, y1, x2, y2 = (float(value) for value in box)
    scale = np.array([size / max(x2 - x1, 1.0), size / max(y2 - y1, 1.0)])
    moved = [(points - np.array([x1, y1])) * scale for points in polygons]
    return rasterize_polygons(moved, (size, size))


def _crop_whole_pixels(masks: InstanceMasks, index: int, box: np.ndarray, size: int) -> np.ndarray:
    x1, y1, x2, y2 = box.astype(np.int32)
    width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    window = masks.select([index]).bitmaps()[0, y1 : y1 + height, x1 : x1 + width]
    return mmcv.imresize(window, (size, size))
