"""The data pipeline beside torchvision's: what is compared, and what is written."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmdet_lite.benchmarks import data
from mmdet_lite.benchmarks.torchvision_data import TorchvisionData
from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.sample import Sample
from mmdet_lite.data.transforms import Resize


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """Four images of 60 x 80 pixels: the first without objects, the last with a crowd too."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    images, annotations = [], []
    for key in range(4):
        pixels = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (80, 60))
        cv2.imwrite(str(tmp_path / f"images/{key}.jpg"), pixels)
        images.append({"id": key, "file_name": f"{key}.jpg", "height": 60, "width": 80})
        annotations += [_annotation(key, 10 * key + i, 0) for i in range(key)]
    annotations.append(_annotation(3, 94, iscrowd=1))
    categories = [{"id": 5, "name": "triangle"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "annotations.json").write_text(json.dumps(content))
    return str(tmp_path / "annotations.json"), str(tmp_path / "images")


def _annotation(image_id: int, key: int, iscrowd: int) -> dict:
    x, y = 5 + key % 10 * 10, 7
    return {
        "id": key,
        "image_id": image_id,
        "category_id": 5,
        "bbox": [x, y, 30, 40],
        "area": 600,
        "iscrowd": iscrowd,
        "segmentation": [[x, y, x + 30, y, x, y + 40]],
    }


def test_both_pipelines_make_the_same_of_an_image(files):
    ours = CocoDataset(*files, [Resize((160, 120))], with_masks=True)[3]
    torch.manual_seed(0)
    peer = TorchvisionData(*files, [3], (160, 120), as_float=False)
    shown = [peer[0] for _ in range(8)]  # some are mirrored, and some are not
    boxes, masks = torch.tensor(ours.boxes), torch.from_numpy(ours.masks.bitmaps())
    upright = [target for _, target in shown if (target["boxes"] - boxes).abs().max() < 1]
    assert 0 < len(upright) < 8
    assert shown[0][0].shape == (3, 120, 160) and shown[0][0].dtype == torch.uint8
    theirs = upright[0]["masks"]
    assert theirs.shape == masks.shape
    assert (masks & theirs).sum() / (masks | theirs).sum() > 0.95


def test_figures_are_written(files, run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr("mmdet_lite.benchmarks.rows.gc.collect", int)  # takes most of the time
    options = ("--scale", 160, 120, "--rounds", 1, "--json", tmp_path / "rows.json")
    threads = torch.get_num_threads(), cv2.getNumThreads()
    result = run_cli("benchmark", "data", *files, *options)
    assert result.code == 0, result.err
    assert (torch.get_num_threads(), cv2.getNumThreads()) == threads
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {row["settings"]["num_images"] for row in rows} == {3}
    rates = [row for row in rows if row["unit"] == "images/s"]
    stages = [row["case"] for row in rows if row["unit"] == "ms"]
    assert [row["case"] for row in rates] == ["files to batches, one core"] * 2 + [
        "files to batches, one worker"
    ]
    assert stages == [
        "one image: read and decode",
        "one image: resize, flip",
        "one image: masks",
        "one image: pad to a batch",
    ]
    assert all(row["ours"] > 0 and row["peer"] > 0 for row in rates)


def test_memory_is_that_of_the_worker_alone(monkeypatch):
    """A worker that keeps 10 MB of each of two images grows by 20 MB an epoch."""
    loader = torch.utils.data.DataLoader(_Growing(), num_workers=1, persistent_workers=True)
    monkeypatch.setattr(data, "_EPOCHS", 2)
    first, second = data._memory_by_epoch(loader)
    assert 18 < second - first < 25 or not data._PROCESSES.exists()


class _Growing:
    """Each image leaves 10 MB behind."""

    def __init__(self):
        self.kept = []

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> int:
        self.kept.append(np.ones(10_000_000, dtype=np.uint8))
        return index


def test_different_numbers_of_objects_end_the_measurement(files, monkeypatch):
    monkeypatch.setattr(CocoDataset, "__getitem__", lambda self, i: _only_first(self.load(i)))
    with pytest.raises(AssertionError, match=r"image id 2: \(1, 2\) objects"):
        data.benchmark_data(data.DataSource(*files, scale=(160, 120)), rounds=1)


def _only_first(sample: Sample) -> Sample:
    """As it should be, but for the other objects."""
    return Resize((160, 120))(sample.select([0]), None)


def test_a_file_without_objects_is_refused(files, tmp_path):
    content = json.loads(Path(files[0]).read_text())
    (tmp_path / "empty.json").write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(ValueError, match="no image has objects"):
        data.benchmark_data(data.DataSource(str(tmp_path / "empty.json"), files[1]))
