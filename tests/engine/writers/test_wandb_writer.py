"""Run with: pytest tests/engine/writers/test_wandb_writer.py"""

from __future__ import annotations

import numpy as np
import pytest

from mmdet_lite.engine.writers.wandb_writer import WandbWriter
from mmdet_lite.registry import WRITERS, build

PICTURE = np.zeros((2, 3, 3), dtype=np.uint8)


class Run:
    """In place of a run of wandb: notes what is called."""

    def __init__(self):
        self.calls = []
        self.config = self

    def __getattr__(self, name):
        return lambda *given, **named: self.calls.append((name, *given, named))


@pytest.fixture
def wandb(inject):
    """In place of the package: what ``init`` was given, and the run."""
    run, inits = Run(), []
    inject(
        "wandb",
        init=lambda **given: inits.append(given) or run,
        Settings=dict,
        Image=lambda picture: ("image", picture.shape),
    )
    return inits, run


def test_the_settings_reach_wandb(tmp_path, wandb):
    inits, _ = wandb
    writer = WandbWriter(project="shapes", entity="me", mode="offline")
    run_id = writer.open(tmp_path / "first", None, 0)
    assert len(run_id) == 8
    assert inits == [
        {
            "project": "shapes",
            "entity": "me",
            "name": "first",
            "mode": "offline",
            "dir": str(tmp_path / "first"),
            "id": run_id,
            "resume": "allow",
            "settings": {"console": "off"},
        }
    ]


def test_a_resumed_run_goes_on_under_its_id_and_a_name_may_be_given(tmp_path, wandb):
    inits, _ = wandb
    assert WandbWriter(name="mine").open(tmp_path, "abc", 7) == "abc"
    assert (inits[0]["id"], inits[0]["name"]) == ("abc", "mine")


def test_everything_is_logged_against_the_iteration(tmp_path, wandb):
    _, run = wandb
    writer = WandbWriter()
    writer.open(tmp_path, None, 0)
    writer.config("seed = 1", {"seed": 1})
    writer.scalars({"train/loss": 1.5}, 7)
    writer.images({"val/1": PICTURE}, 7)
    writer.close(failed=True)
    assert run.calls == [
        ("define_metric", "iter", {}),
        ("define_metric", "*", {"step_metric": "iter"}),
        ("update", {"seed": 1}, {"allow_val_change": True}),
        ("log", {"train/loss": 1.5, "iter": 7}, {}),
        ("log", {"val/1": ("image", (2, 3, 3)), "iter": 7}, {}),
        ("finish", {"exit_code": 1}),
    ]


def test_a_mode_that_does_not_exist_is_an_error(wandb):
    with pytest.raises(TypeError, match="mode is 'of', expected 'online' or 'offline' or None"):
        build({"type": "WandbWriter", "mode": "of"}, WRITERS)


@pytest.mark.slow
def test_a_run_is_written_offline_and_continued(tmp_path):
    pytest.importorskip("wandb")
    run_id = None
    for start in (0, 2):
        writer = WandbWriter(mode="offline")
        run_id = writer.open(tmp_path, run_id, start)
        writer.config("seed = 1", {"seed": 1, "pipeline": [{"type": "Pad"}]})
        writer.scalars({"train/loss": 1.5, "val/bbox_AR@100": float("nan")}, start + 1)
        writer.images({"val/1": PICTURE}, start + 1)
        writer.close(failed=False)
    folders = sorted((tmp_path / "wandb").glob(f"offline-run-*-{run_id}"))
    assert len(folders) == 2
    for folder in folders:
        content = (folder / f"run-{run_id}.wandb").read_bytes()
        assert b"train/loss" in content and b"val/bbox_AR@100" in content and b"Pad" in content
        assert len(list(folder.glob("files/media/images/val/*.png"))) == 1
