"""The tutorials are followed as they stand: files written, commands and snippets run.

Trainings are cut short, and data is little; `make test-slow` follows the one on export, whose model
has to learn something before it can be compared.
"""

from __future__ import annotations

import re
import shlex

import pytest
import torch

FEW_STEPS = ["train.max_iters=2", "train.val_interval=2", "train_data.batch_size=2"]
SMALL_YOLO = [
    "model.backbone.width_multiple=0.125",
    "model.neck.in_channels=[32,64,128]",
    "model.bbox_head.in_channels=[32,64,128]",
]
NO_WORKERS = ["train_data.num_workers=0", "val_data.num_workers=0", "test_data.num_workers=0"]


@pytest.fixture
def follow(read_page, workspace, run_cli):
    """Runs a page from top to bottom; gives what its commands and snippets left.

    Args:
        name: of the page.
        options: of commands, added to their ``--cfg-options``.
        changes: texts of the page, and what takes their places.
    """

    def run(name: str, options: dict[str, list[str]], changes: dict[str, str]) -> dict:
        left: dict = {"printed": {}}
        for kind, block in re.findall(
            r"^```(bash|python)\n(.*?)^```$", read_page(name).text, re.M | re.S
        ):
            for old, new in changes.items():
                block = block.replace(old, new)
            file = re.match(r"# (\S+\.py)\n", block)
            if kind == "bash":
                for line in block.replace("\\\n", " ").splitlines():
                    _run(line, options, run_cli, left["printed"])
            elif file:
                (workspace / file[1]).parent.mkdir(parents=True, exist_ok=True)
                (workspace / file[1]).write_text(block)
            else:
                exec(block, left)
        return left

    return run


def _run(line: str, options: dict[str, list[str]], run_cli, printed: dict[str, str]) -> None:
    words = [word for word in shlex.split(line) if "PYTHONPATH" not in word]
    assert words[0] == "mmdet-lite"
    if words[1] in options:
        words += [] if "--cfg-options" in words else ["--cfg-options"]
        words += options[words[1]]
    result = run_cli(*words[1:])
    assert result.code == 0, f"{line}\n{result.out}\n{result.err}"
    printed[line] = result.out


def test_own_images(follow, workspace):
    small = {"num_images=400": "num_images=4", "num_images=50": "num_images=6", "--index 3": ""}
    options = {
        "train": FEW_STEPS + NO_WORKERS + SMALL_YOLO,
        "test": NO_WORKERS + SMALL_YOLO,
        "targets": SMALL_YOLO,
    }
    left = follow("docs/tutorials/own_images.md", options, small)
    assert (workspace / "work_dirs/my_detector/report/report.html").is_file()
    assert len(list((workspace / "my_pictures").rglob("*.png"))) == 6
    assert left["model"].classes == ("circle", "square", "triangle", "star", "ring", "cross")
    assert "4 images" in left["printed"]["mmdet-lite doctor my_yolo_data.py"]
    assert (workspace / "data/voc_train.json").is_file()


def test_change_a_part(follow, workspace):
    few = ["train_data.dataset.num_images=4", "val_data.dataset.num_images=2"]
    options = {"train": FEW_STEPS + NO_WORKERS + few, "targets": few + ["train_data.batch_size=2"]}
    left = follow("docs/tutorials/change_a_part.md", options, {})
    middle = torch.full((4, 4), -1)
    middle[1:3, 1:3] = 0
    assert left["assigned"].view(4, 4).tolist() == middle.tolist()
    assert left["loss"].item() == pytest.approx(3 * (torch.tensor(2.0).log().item() + 0.5))
    against, own = (text for line, text in left["printed"].items() if " targets " in line)
    assert "MaxIoUAssigner" in against and "TaskAlignedAssigner" in against
    assert "MiddleAssigner" in own
    assert (workspace / "work_dirs/my_own_parts/log.jsonl").is_file()


def test_from_mmdetection(follow, workspace):
    small = {"num_images=200": "num_images=4"}
    slim = ["model.backbone.base_channels=16", "model.neck.in_channels=[16,32,64,128]"]
    short = ["train_data.batch_size=2", "train.max_epochs=1"]
    options = {"train": short + slim + NO_WORKERS, "test": slim + NO_WORKERS}
    left = follow("docs/tutorials/from_mmdetection.md", options, small)
    first, second = (text for line, text in left["printed"].items() if " test " in line)
    figures = re.compile(r"^bbox .+$", re.M)
    assert figures.findall(first) == figures.findall(second) != []


@pytest.mark.slow
def test_export(follow, workspace):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    steps = ["train.max_iters=150", "train.val_interval=150", "train_data.batch_size=4"]
    few = ["train_data.dataset.num_images=200", "val_data.dataset.num_images=8"]
    left = follow("docs/tutorials/export.md", {"train": steps + NO_WORKERS + few}, {})
    assert left["count"] > 0
    assert left["classes"] == ["circle", "square", "triangle", "star", "ring", "cross"]
