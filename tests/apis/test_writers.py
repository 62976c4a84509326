"""Runs that are shown elsewhere: what writers get, and that they cannot harm a run."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from mmdet_lite.apis import writers as apis_writers
from mmdet_lite.apis.train import train
from mmdet_lite.apis.writers import build_writers, make_draw
from mmdet_lite.data.shapes_dataset import ShapesDataset
from mmdet_lite.engine.writers.writer import Writer
from mmdet_lite.registry import WRITERS

CALLS: list[tuple] = []


@WRITERS.register_module()
class NoteForTest(Writer):
    """Keeps what it is given; raises where it is told to."""

    def __init__(self, fails: bool = False):
        self.fails = fails

    def open(self, work_dir, run_id, iteration):
        CALLS.append(("open", run_id, iteration))
        return run_id or "first"

    def config(self, text, values):
        CALLS.append(("config", values["train"]["max_iters"]))

    def scalars(self, values, iteration):
        CALLS.append(("scalars", iteration, next(iter(values)).partition("/")[0]))
        if self.fails:
            raise ConnectionError("no network")

    def images(self, pictures, iteration):
        CALLS.append(("images", iteration, dict(pictures)))

    def close(self, failed):
        CALLS.append(("close", failed))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    CALLS.clear()
    monkeypatch.setattr("mmdet_lite.apis.train.plot_curves", lambda *given: None)


def losses(work_dir):
    records = [json.loads(line) for line in (work_dir / "log.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["mode"] == "train"]


def test_a_run_and_its_continuation_are_shown(tiny, tmp_path):
    options = {"writers": [{"type": "NoteForTest"}]}
    train(tiny(options), tmp_path)
    calls = [call for call in CALLS if call[0] != "images"]
    assert calls == [
        ("open", None, 0),
        ("config", 2),
        ("scalars", 1, "train"),
        ("scalars", 2, "train"),
        ("scalars", 2, "val"),
        ("close", False),
    ]
    ((_, iteration, pictures),) = (call for call in CALLS if call[0] == "images")
    assert iteration == 2 and list(pictures) == [f"val/{i:012d}" for i in (1, 2, 3, 4)]
    for picture in pictures.values():
        assert picture.dtype == np.uint8 and picture.shape[1:] == (
            903,
            3,
        )  # two of 7 x 64
    CALLS.clear()
    train(tiny(options | {"train.max_iters": 3}), tmp_path, resume=True)
    assert CALLS[0] == ("open", "first", 2)
    train(tiny(options), tmp_path)
    assert CALLS[-1] == ("close", False) and ("open", None, 0) in CALLS, "a new run in the folder"


def test_a_writer_that_fails_changes_nothing(tiny, tmp_path, caplog):
    train(tiny({"writers": [{"type": "NoteForTest", "fails": True}]}), tmp_path / "a")
    assert "NoteForTest has failed, so what it shows is incomplete" in caplog.text
    train(tiny({"writers": [], "train.val_pictures": 0}), tmp_path / "b")
    assert losses(tmp_path / "a") == losses(tmp_path / "b")


def test_an_error_is_told_and_no_pictures_are_drawn_if_none_are_wanted(tiny, tmp_path):
    options = {"writers": [{"type": "NoteForTest"}], "train.val_pictures": 0}
    with pytest.raises(ValueError, match="best_metric is 'mAP'"):
        train(tiny(options | {"train.best_metric": "mAP"}), tmp_path)
    assert CALLS == [], "it was not open yet"
    train(tiny(options), tmp_path)
    assert {call[0] for call in CALLS} == {"open", "config", "scalars", "close"}


def test_pictures_that_cannot_be_drawn_are_a_warning(tiny, tmp_path, monkeypatch, caplog):
    def gone(*given):
        raise FileNotFoundError("7.jpg: no such file")

    monkeypatch.setattr(apis_writers, "draw_pictures", gone)
    train(tiny({"writers": [{"type": "NoteForTest"}]}), tmp_path)
    assert "cannot draw pictures of the validation: 7.jpg: no such file" in caplog.text


def test_wide_pictures_are_made_smaller():
    picture = np.full((600, 2560, 3), 90, dtype=np.uint8)
    assert apis_writers._shrink(picture).shape == (300, 1280, 3)


def test_a_metric_of_ones_own_has_no_pictures():
    assert make_draw(object(), ShapesDataset(1, (64, 64))) is None


def test_without_the_section_it_is_tensorboard_if_installed(tiny, monkeypatch, caplog):
    caplog.set_level("INFO")
    monkeypatch.setattr(apis_writers, "is_installed", lambda name: False)
    build_writers(tiny())
    assert caplog.text.count("TensorBoard is not installed") == 1
    monkeypatch.setattr(apis_writers, "is_installed", lambda name: True)
    monkeypatch.setattr(apis_writers, "TensorBoardWriter", NoteForTest)
    assert list(build_writers(tiny())._given) == ["NoteForTest"]


@pytest.mark.parametrize(
    ("module", "type_name"),
    [("tensorboard", "TensorBoardWriter"), ("wandb", "WandbWriter"), ("mlflow", "MLflowWriter")],
)
def test_a_writer_that_is_not_installed_is_an_error_before_the_run(
    tiny, tmp_path, monkeypatch, module, type_name
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"{type_name} needs the package '{module}'.*\[{module}"):
        train(tiny({"writers": [{"type": type_name}]}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_section_of_another_form_is_an_error(tiny):
    with pytest.raises(ValueError, match="writers must be a list such as .* got 'wandb'"):
        build_writers(tiny({"writers": "wandb"}))
