"""A procedural data set: coloured shapes that cover one another, with exact masks.

Letters: H, W image size, n objects of an image.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.data.dataset import DetectionDataset
from mmdet_lite.data.pipeline import Transform
from mmdet_lite.data.rng import PICTURE, generator
from mmdet_lite.data.sample import Sample
from mmdet_lite.data.shapes_drawing import SHAPES, draw_background, draw_shape
from mmdet_lite.registry import DATASETS
from mmdet_lite.structures.masks import InstanceMasks, tight_boxes

_MIN_VISIBLE = 0.5  # share of a shape's pixels that later shapes must leave uncovered
_MIN_PIXELS = 16
_MAX_SHAPES = 6
_IDS_PER_IMAGE = 100  # annotation ids of image i begin at 100 * i


@DATASETS.register_module()
class ShapesDataset(DetectionDataset):
    """Pictures that are a function of ``(data_seed, index)``, with nothing to download.

    Later shapes cover earlier ones: masks are the visible parts, boxes are tight around them. A
    shape that would hide too much of another one is not drawn, so nothing visible is unlabelled.

    Args:
        num_images: size of the data set.
        image_size: (height, width) of the pictures.
        data_seed: tells sets of pictures apart: one for training, another for validation.
        pipeline: transforms.
        seed: the run's seed, which decides about the transforms and not about the pictures.
    """

    def __init__(
        self,
        num_images: int,
        image_size: tuple[int, int] = (160, 160),
        data_seed: int = 0,
        pipeline: Sequence[Transform] = (),
        seed: int = 0,
    ):
        super().__init__(tuple(SHAPES), range(1, len(SHAPES) + 1), pipeline, seed)
        self.num_images = num_images
        self.image_size = tuple(image_size)
        self.data_seed = data_seed

    def __len__(self) -> int:
        return self.num_images

    @property
    def image_sizes(self) -> np.ndarray:
        """(N, 2) int64 (height, width)."""
        return np.tile(np.array(self.image_size, dtype=np.int64), (self.num_images, 1))

    def load(self, index: int) -> Sample:
        """Draw one picture."""
        image, labels, masks = self._draw(index)
        image_id = self.image_id_of(index)
        return Sample(
            image=image,
            boxes=tight_boxes(masks),
            labels=labels,
            annotation_ids=np.arange(len(labels)) + image_id * _IDS_PER_IMAGE,
            ignore_boxes=np.zeros((0, 4), dtype=np.float32),
            masks=InstanceMasks(list(masks), self.image_size),
            image_id=image_id,
            file=f"shapes/{self.data_seed}/{index}",
            index=index,
            ori_shape=self.image_size,
        )

    def image_id_of(self, index: int) -> int:
        """One picture's id, which counts from 1 on."""
        return index + 1

    def coco_dict(self) -> dict[str, Any]:
        """The ground truth in COCO's format, masks as RLE; file names as :meth:`write` gives."""
        samples = [self.load(index) for index in range(self.num_images)]
        categories = zip(self.category_ids, self.classes, strict=True)
        return {
            "images": [_coco_image(sample) for sample in samples],
            "annotations": [a for sample in samples for a in self._coco_annotations(sample)],
            "categories": [{"id": key, "name": name} for key, name in categories],
        }

    def write(self, out_dir: str | Path) -> Path:
        """Write ``annotations.json`` and ``images/*.png`` for a :class:`CocoDataset`.

        Returns:
            The annotation file.
        """
        out_dir = Path(out_dir)
        (out_dir / "images").mkdir(parents=True, exist_ok=True)
        for index in range(self.num_images):
            sample = self.load(index)
            path = out_dir / "images" / _coco_image(sample)["file_name"]
            _, png = cv2.imencode(".png", cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR))
            path.write_bytes(png.tobytes())
        ann_file = out_dir / "annotations.json"
        ann_file.write_text(json.dumps(self.coco_dict()))
        return ann_file

    def _draw(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(H, W, 3) uint8 picture, (n,) int64 labels, (n, H, W) uint8 visible masks."""
        rng = generator(PICTURE, self.data_seed, index)
        image = draw_background(self.image_size, rng)
        labels = np.zeros(0, dtype=np.int64)
        masks = np.zeros((0, *self.image_size), dtype=np.uint8)
        whole = np.zeros(0)  # pixels of each shape before others covered it
        for _ in range(rng.integers(1, _MAX_SHAPES + 1)):
            label = int(rng.integers(len(self.classes)))
            drawn, mask = draw_shape(image, self.classes[label], rng)
            covered = masks & ~mask
            visible = covered.sum(axis=(1, 2))
            if mask.sum() < _MIN_PIXELS or (visible < _MIN_VISIBLE * whole).any():
                continue
            image, labels = drawn, np.append(labels, label)
            masks, whole = np.concatenate([covered, mask[None]]), np.append(whole, mask.sum())
        return image, labels, masks

    def _coco_annotations(self, sample: Sample) -> list[dict[str, Any]]:
        annotations = []
        bitmaps = sample.masks.bitmaps()
        for box, label, key, bitmap in zip(
            sample.boxes, sample.labels, sample.annotation_ids, bitmaps, strict=True
        ):
            rle = coco_mask.encode(np.asfortranarray(bitmap))
            annotations.append(
                {
                    "id": int(key),
                    "image_id": sample.image_id,
                    "category_id": self.category_ids[label],
                    "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                    "area": int(bitmap.sum()),
                    "iscrowd": 0,
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
        return annotations


def _coco_image(sample: Sample) -> dict[str, Any]:
    height, width = sample.ori_shape
    file_name = f"{sample.image_id:06d}.png"
    return {"id": sample.image_id, "file_name": file_name, "height": height, "width": width}
