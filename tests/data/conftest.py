"""Small samples and COCO files, written out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mmdet_lite.data.sample import Sample
from mmdet_lite.structures.masks import InstanceMasks


@pytest.fixture
def sample() -> Sample:
    """40 x 60 pixels; a rectangle as a polygon, an L as a bitmap, and one ignore box."""
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    rectangle = [np.array([[10, 5], [30, 5], [30, 25], [10, 25]], dtype=np.float64)]
    shape_l = np.zeros((40, 60), dtype=np.uint8)
    shape_l[10:30, 40:44] = 1
    shape_l[26:30, 40:56] = 1
    return Sample(
        image=image,
        boxes=np.array([[10, 5, 30, 25], [40, 10, 56, 30]], dtype=np.float32),
        labels=np.array([3, 1]),
        annotation_ids=np.array([11, 12]),
        ignore_boxes=np.array([[0, 30, 20, 40]], dtype=np.float32),
        masks=InstanceMasks([rectangle, shape_l], (40, 60)),
        image_id=7,
        file="seven.png",
        index=0,
        ori_shape=(40, 60),
    )


def annotation(key: int, image_id: int, bbox: list[float], category_id: int = 18) -> dict[str, Any]:
    """A COCO annotation whose mask is its box."""
    x, y, w, h = bbox
    polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
    return {
        "id": key,
        "image_id": image_id,
        "category_id": category_id,
        "bbox": bbox,
        "area": w * h,
        "iscrowd": 0,
        "segmentation": [polygon],
    }


@pytest.fixture
def coco() -> dict[str, Any]:
    """Two images, 20 x 30 and 30 x 20 (height x width), sparse category ids, one crowd."""
    crowd = annotation(103, 5, [0, 0, 30, 10])
    crowd |= {
        "iscrowd": 1,
        "segmentation": {"size": [20, 30], "counts": [0, 10] + [10, 10] * 29 + [10]},
    }
    return {
        "images": [
            {"id": 9, "file_name": "nine.png", "height": 30, "width": 20},
            {"id": 5, "file_name": "five.png", "height": 20, "width": 30},
        ],
        "categories": [{"id": 44, "name": "cat"}, {"id": 18, "name": "dog"}],
        "annotations": [
            annotation(101, 5, [2, 3, 10, 8]),
            annotation(102, 9, [1, 1, 5, 5], category_id=44),
            crowd,
            annotation(104, 5, [25, 15, 10, 10], category_id=44),
        ],
    }


@pytest.fixture
def write_coco(tmp_path: Path) -> Callable[[dict[str, Any]], dict[str, str]]:
    """Write a COCO dict and its images; returns the arguments of a CocoDataset."""

    def write(content: dict[str, Any]) -> dict[str, str]:
        (tmp_path / "images").mkdir(exist_ok=True)
        for image in content["images"]:
            pixels = np.full((image["height"], image["width"], 3), 90, dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "images" / image["file_name"]), pixels)
        (tmp_path / "annotations.json").write_text(json.dumps(content))
        return {
            "ann_file": str(tmp_path / "annotations.json"),
            "image_dir": str(tmp_path / "images"),
        }

    return write
