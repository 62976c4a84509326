"""A run that was interrupted and resumed equals one that was not, bit for bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from mmdet_lite.apis.config import load_config
from mmdet_lite.apis.train import train
from mmdet_lite.engine.hooks import Hook
from mmdet_lite.registry import HOOKS

TINY = Path(__file__).parent / "tiny_config.py"
OPTIONS = {
    "train.max_iters": 7,
    "train.checkpoint_interval": 3,  # in the middle of an epoch
    "train.val_interval": 4,
    "train.accumulate": 2,
    "train.ema": {"decay": 0.5, "ramp_up": 2},
    "train.keep_last": 5,
    "hooks": [{"type": "InterruptAt"}],
}


class InterruptAt(Hook):
    """Ctrl-C in the middle of an iteration (counted from 0), or not at all."""

    iteration: int | None = None

    def after_step(self, trainer, losses):
        if trainer.iteration == self.iteration:
            raise KeyboardInterrupt


@pytest.fixture(scope="module", autouse=True)
def _hook():
    HOOKS.register_module(module=InterruptAt)
    yield
    HOOKS.module_dict.pop("InterruptAt")


@pytest.fixture(autouse=True)
def _no_curves(monkeypatch):
    monkeypatch.setattr("mmdet_lite.apis.train.plot_curves", lambda *given: None)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("uninterrupted")
    train(load_config(TINY, OPTIONS), work_dir)
    return work_dir


def state_of(work_dir):
    return torch.load(work_dir / "iter_7.pth", weights_only=True)


def assert_same(ours, theirs, place="state"):
    """Equal to the last bit, at any depth."""
    assert type(ours) is type(theirs), place
    if isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), place
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), place
        for key in ours:
            assert_same(ours[key], theirs[key], f"{place}.{key}")
    elif isinstance(ours, (list, tuple)):
        assert len(ours) == len(theirs), place
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{place}[{index}]")
    else:
        assert ours == theirs, place


def log_of(work_dir):
    """What was logged by (mode, iteration), the later line counts; without the timings."""
    lines = map(json.loads, (work_dir / "log.jsonl").read_text().splitlines())
    timings = ("time", "data_time_share", "memory_mb")
    return {
        (line["mode"], line["iter"]): {k: v for k, v in line.items() if k not in timings}
        for line in lines
    }


@pytest.mark.parametrize("num_workers", [0, 1])
def test_resumed_run_equals_an_uninterrupted_one(uninterrupted, tmp_path, monkeypatch, num_workers):
    options = OPTIONS | {"train_data.num_workers": num_workers}
    with monkeypatch.context() as interrupted, pytest.raises(KeyboardInterrupt):
        interrupted.setattr(InterruptAt, "iteration", 5)
        train(load_config(TINY, options), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("iter*.pth")) == ["iter_4.pth"]
    torch.rand(5)  # whatever happens in between
    train(load_config(TINY, options), tmp_path, resume=True)
    log = (tmp_path / "train.log").read_text()
    assert "interrupted at iteration 5 of 7; a resumed run continues from the last" in log
    assert f"resumed from {tmp_path}/iter_4.pth at iter 4/7" in log
    ours, theirs = state_of(tmp_path), state_of(uninterrupted)
    for state in (ours, theirs):
        state["meta"].pop("config")  # the number of workers
    assert_same(ours, theirs)
    assert log_of(tmp_path) == log_of(uninterrupted)


def test_resuming_from_a_given_file_writes_into_another_folder(uninterrupted, tmp_path):
    train(load_config(TINY, OPTIONS), tmp_path, resume=uninterrupted / "iter_6.pth")
    assert_same(state_of(tmp_path), state_of(uninterrupted))


@pytest.fixture
def finished(uninterrupted, tmp_path):
    """A copy of the finished run, to be changed."""
    return Path(shutil.copytree(uninterrupted, tmp_path / "finished"))


def test_damaged_newest_checkpoint_is_passed_over(uninterrupted, finished):
    content = (finished / "iter_7.pth").read_bytes()
    (finished / "iter_7.pth").write_bytes(content[:-1000])
    train(load_config(TINY, OPTIONS), finished, resume=True)
    log = (finished / "train.log").read_text()
    assert "WARNING: skipped a checkpoint when looking for the newest one: " in log
    assert f"{finished}/iter_7.pth is damaged: its SHA-256 is " in log
    assert f"resumed from {finished}/iter_6.pth" in log
    assert_same(state_of(finished), state_of(uninterrupted))


def test_finished_run_is_resumed_to_nothing(finished):
    before = log_of(finished), state_of(finished)
    metrics = train(load_config(TINY, OPTIONS), finished, resume=True)
    assert_same((log_of(finished), state_of(finished)), before)
    assert metrics["bbox_mAP"] == log_of(finished)["val", 7]["bbox_mAP"]


def test_going_back_in_a_folder_is_not_undone_by_the_next_resume(finished, uninterrupted):
    with pytest.MonkeyPatch.context() as interrupted, pytest.raises(KeyboardInterrupt):
        interrupted.setattr(InterruptAt, "iteration", 5)
        train(load_config(TINY, OPTIONS), finished, resume=finished / "iter_4.pth")
    aside = {path.name for path in (finished / "earlier_1").glob("*.pth")}
    assert {"iter_6.pth", "iter_7.pth"} <= aside
    train(load_config(TINY, OPTIONS), finished, resume=True)
    log = (finished / "train.log").read_text()
    assert log.count(f"resumed from {finished}/iter_4.pth") == 2
    assert "resumed from iter_7" not in log
    assert_same(state_of(finished), state_of(uninterrupted))
    assert log_of(finished) == log_of(uninterrupted)


def test_a_best_checkpoint_that_was_put_aside_counts_no_more(finished):
    best = finished / "best_segm_mAP.pth"
    later = torch.load(finished / "iter_7.pth", weights_only=True)
    best.with_name(best.name + ".sha256").unlink()
    torch.save(later, best)
    start = torch.load(finished / "iter_4.pth", weights_only=True)
    start["best"] = {"metric": "segm_mAP", "value": 0.99, "iteration": 4}
    torch.save(start, finished / "best_of_old.pth")  # with a best that no later one reaches
    train(load_config(TINY, OPTIONS), finished, resume=finished / "best_of_old.pth")
    assert "best_segm_mAP.pth" in {p.name for p in (finished / "earlier_1").iterdir()}
    assert torch.load(best, weights_only=True)["best"]["iteration"] == 7


def test_data_sets_made_of_others_and_mixed_images_resume_too(tmp_path):
    leaf = {"type": "ShapesDataset", "num_images": 3, "image_size": (64, 64)}
    leaf["pipeline"] = [{"type": "CopyPaste"}, {"type": "Mosaic", "size": (48, 48), "prob": 0.5}]
    repeated = {"type": "RepeatDataset", "times": 2, "dataset": leaf}
    dataset = {"type": "ConcatDataset", "datasets": [repeated, leaf]}
    options = {"train_data.dataset": dataset, "train.max_iters": 7, "train.checkpoint_interval": 3}
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train(load_config(TINY, options), whole)
    options["train_data.num_workers"] = 2
    train(load_config(TINY, options), resumed, resume=whole / "iter_3.pth")
    assert_same(state_of(resumed)["model"], state_of(whole)["model"])
    train_lines = {key: line for key, line in log_of(whole).items() if key[1] > 3}
    assert train_lines and log_of(resumed).items() >= train_lines.items()
