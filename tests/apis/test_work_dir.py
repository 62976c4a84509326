"""What is in a run's folder from earlier is put aside, never lost and never mixed."""

from __future__ import annotations

import logging

import pytest

from mmdet_lite.apis.work_dir import set_aside_earlier_run, set_aside_later_checkpoints
from mmdet_lite.engine.checkpoint import find_resume_checkpoint, save_checkpoint


def test_a_new_run_sets_an_earlier_one_aside(tmp_path):
    names = ["iter_4.pth", "iter_4.pth.sha256", "best_segm_mAP.pth", "log.jsonl", "config.py"]
    for name in [*names, "notes.txt"]:
        (tmp_path / name).write_text(name)
    (tmp_path / "vis").mkdir()
    first = set_aside_earlier_run(tmp_path)
    assert first == tmp_path / "earlier_1"
    assert sorted(p.name for p in first.iterdir()) == sorted([*names, "vis"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["earlier_1", "notes.txt"]
    assert set_aside_earlier_run(tmp_path) is None
    (tmp_path / "log.jsonl").write_text("second")
    assert set_aside_earlier_run(tmp_path) == tmp_path / "earlier_2"


@pytest.fixture
def checkpoints(tmp_path):
    """Three of a run, the best of them at the end; one file is damaged, one has no run."""
    for name, iteration in [("iter_4", 4), ("iter_6", 6), ("epoch_2", 8), ("best_segm_mAP", 8)]:
        save_checkpoint({"iteration": iteration}, tmp_path / f"{name}.pth")
    save_checkpoint({"model": {}}, tmp_path / "weights.pth")
    (tmp_path / "iter_9.pth").write_bytes(b"damaged")
    return tmp_path


def test_going_back_puts_later_checkpoints_aside_with_their_checksums(checkpoints, caplog):
    with caplog.at_level(logging.WARNING, "mmdet_lite"):
        names = set_aside_later_checkpoints(checkpoints, checkpoints / "iter_4.pth")
    assert names == ["best_segm_mAP.pth", "epoch_2.pth", "iter_6.pth"]
    moved = sorted(path.name for path in (checkpoints / "earlier_1").iterdir())
    assert moved == sorted(names + [f"{name}.sha256" for name in names])
    assert "going back to iter_4.pth: later checkpoints were moved to " in caplog.text
    assert "earlier_1: best_segm_mAP.pth, epoch_2.pth, iter_6.pth" in caplog.text
    assert find_resume_checkpoint(checkpoints) == checkpoints / "iter_4.pth"


def test_the_newest_checkpoint_has_nothing_later(checkpoints):
    assert set_aside_later_checkpoints(checkpoints, checkpoints / "epoch_2.pth") == []
    assert not (checkpoints / "earlier_1").exists()
