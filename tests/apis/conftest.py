"""A tiny model, a small COCO data set on disk, and the command line called in this process."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.train import train
from mmdet_lite.data.shapes_dataset import ShapesDataset

TINY = Path(__file__).parent / "tiny_config.py"


@pytest.fixture(scope="module", autouse=True)
def _on_the_cpu(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep to the CPU where there is a GPU too: there, sums differ from run to run."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("needs_gpu") is None:
            patch.setattr(torch.cuda, "is_available", lambda: False)
        yield


@pytest.fixture
def tiny() -> Callable:
    """The tiny config with options: ``tiny({"train.max_iters": 4})``."""
    return lambda options=None: load_config(TINY, options)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of the tiny config, with averaged weights."""
    work_dir = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        train(load_config(TINY, {"train.ema": {"decay": 0.5, "ramp_up": 1}}), work_dir)
    return work_dir


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``annotations.json`` and ``images/``: what the tiny config's val_data shows."""
    folder = tmp_path_factory.mktemp("shapes")
    ShapesDataset(4, (64, 64), data_seed=1).write(folder)
    return folder


@pytest.fixture
def annotations(shapes: Path, tmp_path: Path) -> Callable[[Callable], Path]:
    """Write a changed copy of the annotation file: ``annotations(change)`` gives its path."""
    content = json.loads((shapes / "annotations.json").read_text())

    def write(change: Callable[[dict], None]) -> Path:
        changed = copy.deepcopy(content)
        change(changed)
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(changed))
        return path

    return write


@pytest.fixture
def coco_config(shapes: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a tiny config whose data sets are the COCO files of ``shapes``, or those given."""

    def write(**arguments: object) -> Path:
        dataset = {
            "_delete_": True,
            "type": "CocoDataset",
            "ann_file": str(shapes / "annotations.json"),
            "image_dir": str(shapes / "images"),
            "with_masks": True,
            **{k: str(v) if isinstance(v, Path) else v for k, v in arguments.items()},
        }
        path = tmp_path / "coco.py"
        path.write_text(
            f"_base_ = {str(TINY)!r}\n"
            f"train_data = dict(dataset={dataset!r})\n"
            f"val_data = dict(dataset={dataset!r})\n"
            "test_data = val_data\n"
        )
        return path

    return write
