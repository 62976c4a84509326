"""Random ground truth and detections to be evaluated.

Letters: N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.structures.samples import Detections

_OBJECTS = 7  # an image, on average, as in COCO
_SHORTEST_SIDE = 10.0
_MASK_SIDE = 28


@dataclass(frozen=True)
class EvaluationSize:
    """How much there is to evaluate.

    Attributes:
        images: N.
        detections: boxes of each image in the evaluation of boxes.
        masks: of each image in the encoding of masks.
        classes: K.
        height, width: of each image.
    """

    images: int = 5000
    detections: int = 100
    masks: int = 20
    classes: int = 80
    height: int = 480
    width: int = 640


class RandomObjects:
    """Ground truth in COCO's format: about seven boxes an image, their sides of all scales.

    Args:
        size: of the data set.
        rng: what is drawn comes from it.
    """

    def __init__(self, size: EvaluationSize, rng: np.random.Generator):
        self.category_ids = list(range(1, size.classes + 1))
        self.classes = [f"class {i}" for i in self.category_ids]
        self.counts = rng.poisson(_OBJECTS, size.images)
        self.boxes_xywh = random_boxes(int(self.counts.sum()), size, rng)
        self.labels = rng.integers(size.classes, size=len(self.boxes_xywh))
        self._size = size

    def coco_dict(self) -> dict:
        """The ground truth in COCO's format."""
        size, categories = self._size, zip(self.category_ids, self.classes, strict=True)
        image_ids = np.repeat(np.arange(1, size.images + 1), self.counts).tolist()
        rows = zip(image_ids, self.boxes_xywh.tolist(), self.labels.tolist(), strict=True)
        return {
            "images": [
                {"id": i, "height": size.height, "width": size.width}
                for i in range(1, size.images + 1)
            ],
            "annotations": [
                {
                    "id": number,
                    "image_id": image_id,
                    "category_id": self.category_ids[label],
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
                for number, (image_id, box, label) in enumerate(rows, start=1)
            ],
            "categories": [{"id": i, "name": name} for i, name in categories],
        }


class NoObjects:
    """Ground truth without annotations, of one class.

    Args:
        size: of the data set.
    """

    def __init__(self, size: EvaluationSize):
        self.classes, self.category_ids = ["thing"], [1]
        self._images = [
            {"id": i, "height": size.height, "width": size.width} for i in range(size.images)
        ]

    def coco_dict(self) -> dict:
        """The ground truth in COCO's format."""
        categories = [{"id": 1, "name": "thing"}]
        return {"images": self._images, "annotations": [], "categories": categories}


def random_boxes(count: int, size: EvaluationSize, rng: np.random.Generator) -> np.ndarray:
    """(count, 4) xywh inside the image, as many small ones as large ones in logarithms."""
    limit = np.array([size.width, size.height], dtype=float)
    shortest = np.minimum(_SHORTEST_SIDE, limit / 2)
    sides = shortest * (limit * 0.8 / shortest) ** rng.random((count, 2))
    return np.hstack([rng.random((count, 2)) * (limit - sides), sides])


def random_results(
    objects: RandomObjects, size: EvaluationSize, rng: np.random.Generator
) -> CocoResults:
    """Detections of which four in ten lie near an object, most of these with its class."""
    count = size.images * size.detections
    image = np.repeat(np.arange(size.images), size.detections)
    boxes, labels = random_boxes(count, size, rng), rng.integers(size.classes, size=count)
    is_near = (rng.random(count) < 0.4) & (objects.counts[image] > 0)
    first = (np.cumsum(objects.counts) - objects.counts)[image]
    nearest = (first + rng.random(count) * objects.counts[image]).astype(int)[is_near]
    found = objects.boxes_xywh[nearest]
    boxes[is_near] = found + rng.normal(0, 0.1, found.shape) * np.tile(found[:, 2:], 2)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
    labels[is_near] = np.where(
        rng.random(len(found)) < 0.8, objects.labels[nearest], labels[is_near]
    )
    scores = np.where(is_near, rng.beta(2, 2, count), rng.beta(1, 6, count))
    return CocoResults(
        seen=np.arange(1, size.images + 1),
        image_ids=image + 1,
        labels=labels,
        scores=scores.astype(np.float32),
        boxes_xywh=boxes,
        sizes=np.tile([size.height, size.width], (count, 1)),
        rles=[],
    )


def random_masks(size: EvaluationSize, rng: np.random.Generator) -> Detections:
    """Detections of one image: ellipses with edges as soft and uneven as a mask head's."""
    boxes = torch.from_numpy(random_boxes(size.masks, size, rng)).float()
    boxes[:, 2:] += boxes[:, :2]
    offset = (np.arange(_MASK_SIDE) + 0.5) / _MASK_SIDE * 2 - 1
    radii = rng.uniform(0.6, 1.0, (size.masks, 2, 1, 1))
    inside = 1 - (offset[:, None] / radii[:, 0]) ** 2 - (offset / radii[:, 1]) ** 2
    logits = 4 * inside + rng.normal(0, 0.5, inside.shape)
    return Detections(
        boxes=boxes[None],
        scores=torch.ones(1, size.masks),
        labels=torch.zeros(1, size.masks, dtype=torch.int64),
        valid=torch.ones(1, size.masks, dtype=torch.bool),
        masks=torch.from_numpy(logits).float().sigmoid()[None],
    )
