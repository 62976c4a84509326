"""Small data sets on disk, and what becomes of them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmdet_lite.data.formats import ReadOptions, read_dataset, write_dataset


@pytest.fixture
def draw(tmp_path):
    """Write a grey image; gives its path."""

    def run(name: str, height: int = 40, width: int = 60) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
        return path

    return run


@pytest.fixture
def write(tmp_path):
    """Write a text file; gives its path."""

    def run(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return run


@pytest.fixture
def content():
    """COCO: an image with two objects and a crowd, an empty one; a class without objects."""
    polygons = [[10, 5, 30, 5, 30, 25], [34, 5, 40, 5, 40, 12.5]]
    crowd = {"id": 3, "image_id": 9, "category_id": 3, "bbox": [0, 0, 8, 8], "iscrowd": 1}
    return {
        "images": [
            {"id": 9, "file_name": "a/nine.png", "height": 40, "width": 60},
            {"id": 4, "file_name": "four.png", "height": 30, "width": 20},
        ],
        "annotations": [
            {"id": 1, "image_id": 9, "category_id": 7, "bbox": [10, 5, 30, 20], "area": 222.5}
            | {"segmentation": polygons, "iscrowd": 0},
            {"id": 2, "image_id": 9, "category_id": 3, "bbox": [1.5, 2.25, 8, 9.75], "area": 78}
            | {"segmentation": [[1.5, 2.25, 9.5, 2.25, 9.5, 12, 1.5, 12]], "iscrowd": 0},
            crowd | {"area": 64},
        ],
        "categories": [{"id": n, "name": c} for n, c in ((7, "rose"), (3, "tulip"), (5, "weed"))],
    }


@pytest.fixture
def round_trip(tmp_path, draw):
    """COCO -> a format -> COCO: what was lost, and what was read."""

    def run(content: dict, name: str, file: str = "out", image_dir: Path | None = None):
        if image_dir is None:
            image_dir = tmp_path / "images"
            for image in content["images"]:
                draw(f"images/{image['file_name']}", image["height"], image["width"])
        (tmp_path / "source.json").write_text(json.dumps(content))
        source = read_dataset(tmp_path / "source.json", options=ReadOptions(image_dir=image_dir))
        lost = write_dataset(source, tmp_path / file, name)
        folder = image_dir if "." in file else None
        return lost, read_dataset(tmp_path / file, options=ReadOptions(image_dir=folder))

    return run
