"""Small scenes written by hand, and the same for pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mmdet_lite.evaluation.coco_results import CocoResults
from mmdet_lite.evaluation.overlaps import Overlaps, find_overlaps, read_truth

SIZE = (300, 400)  # height, width of every image


class Scene:
    """Objects and detections of a few images.

    Args:
        objects: (image id, label, (x, y, width, height)), or with True as fourth: a crowd.
        found: (image id, label, score, (x, y, width, height)).
        num_classes: labels are 0..K-1, category ids twice that and 3.
        num_images: ids from 1.
    """

    def __init__(self, objects, found, num_classes=3, num_images=2):
        self.category_ids = [2 * label + 3 for label in range(num_classes)]
        self.classes = [f"class {label}" for label in range(num_classes)]
        self.image_ids = list(range(1, num_images + 1))
        self.objects = [(*each, False)[:4] for each in objects]
        self.found = list(found)

    def coco_dict(self) -> dict:
        height, width = SIZE
        return {
            "images": [{"id": i, "height": height, "width": width} for i in self.image_ids],
            "categories": [
                {"id": i, "name": name}
                for i, name in zip(self.category_ids, self.classes, strict=True)
            ],
            "annotations": [
                {
                    "id": number,
                    "image_id": image,
                    "category_id": self.category_ids[label],
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": int(crowd),
                    "segmentation": _rectangle(box),
                }
                for number, (image, label, box, crowd) in enumerate(self.objects, start=1)
            ],
        }

    def results(self) -> CocoResults:
        images, labels, scores, boxes = zip(*self.found, strict=True) if self.found else ([],) * 4
        return CocoResults(
            seen=np.array(self.image_ids),
            image_ids=np.array(images, dtype=np.int64),
            labels=np.array(labels, dtype=np.int64),
            scores=np.array(scores, dtype=np.float32),
            boxes_xywh=np.array(boxes, dtype=float).reshape(-1, 4),
            sizes=np.tile(SIZE, (len(self.found), 1)),
            rles=[_rectangle(box)["counts"] for box in boxes],
        ).sort_by_image()

    def overlaps(self, with_masks: bool = False, max_detections: int = 100) -> Overlaps:
        truth = read_truth(self.coco_dict(), self.category_ids, with_masks)
        return find_overlaps(truth, self.results(), max_detections, with_masks)

    def pycocotools(self, kind: str = "bbox") -> COCOeval:
        """Evaluated; by category as the labels are, as the ids ascend."""
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = self.coco_dict()
            truth.createIndex()
            entries = [
                {
                    "image_id": image,
                    "category_id": self.category_ids[label],
                    "score": float(np.float32(score)),
                    **(
                        {"bbox": list(box)} if kind == "bbox" else {"segmentation": _rectangle(box)}
                    ),
                }
                for image, label, score, box in self.found
            ]
            evaluator = COCOeval(truth, truth.loadRes(entries), kind)
            evaluator.evaluate()
            evaluator.accumulate()
        return evaluator


def random_scene(seed: int, num_images: int = 12, num_classes: int = 3) -> Scene:
    """Crowded images, with everything that can go wrong, equal scores and crowds included."""
    rng = np.random.default_rng(seed)
    objects, found = [], []
    for image in range(1, num_images + 1):
        for _ in range(rng.integers(0, 7)):
            box = np.round([*(rng.random(2) * 180), *(20 + rng.random(2) * 90)])
            label = int(rng.integers(num_classes))
            objects.append((image, label, tuple(box), bool(rng.random() < 0.15)))
            for _ in range(rng.integers(0, 4)):
                moved = box + np.round(rng.normal(0, 6, 4))
                guess = label if rng.random() < 0.7 else int(rng.integers(num_classes))
                score = float(np.round(rng.random(), 1))
                found.append((image, guess, score, tuple(np.maximum(moved, [0, 0, 5, 5]))))
        for _ in range(rng.integers(0, 3)):
            box = (*(rng.random(2) * 200).round(), 30.0, 40.0)
            found.append((image, int(rng.integers(num_classes)), float(rng.random()), box))
    return Scene(objects, found, num_classes, num_images)


def _rectangle(box) -> dict:
    bitmap = np.zeros(SIZE, np.uint8, order="F")
    x, y, width, height = (int(value) for value in box)
    bitmap[y : y + height, x : x + width] = 1
    return coco_mask.encode(bitmap)
