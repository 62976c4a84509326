"""Run with: pytest tests/engine/writers/test_all_writers.py"""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmdet_lite.engine.writers.all_writers import ID_FILE, AllWriters
from mmdet_lite.engine.writers.writer import Writer, flatten, is_installed, require_package

PICTURE = np.zeros((2, 3, 3), dtype=np.uint8)


class Recorder(Writer):
    """Keeps what it is given; raises in the calls that ``fails`` names."""

    def __init__(self, fails=(), run_id=None):
        self.fails = fails
        self.run_id = run_id
        self.calls = []

    def _note(self, name, *given):
        self.calls.append((name, *given))
        if name in self.fails:
            raise ConnectionError("no network\nand a long story")

    def open(self, work_dir, run_id, iteration):
        self._note("open", run_id, iteration)
        return run_id or self.run_id

    def config(self, text, values):
        self._note("config", text, values)

    def scalars(self, values, iteration):
        self._note("scalars", values, iteration)

    def images(self, pictures, iteration):
        self._note("images", list(pictures), iteration)

    def close(self, failed):
        self._note("close", failed)


def opened(work_dir, *writers, iteration=0):
    every = AllWriters(writers)
    every.open(work_dir, iteration)
    return every


def test_everything_reaches_every_writer(tmp_path):
    writers = Recorder(), Recorder()
    every = opened(tmp_path, *writers)
    every.config("seed = 1", {"seed": 1})
    every.scalars({"train/loss": 2.0}, 5)
    every.images({"val/7": PICTURE}, 5)
    every.close(failed=False)
    for writer in writers:
        assert writer.calls == [
            ("open", None, 0),
            ("config", "seed = 1", {"seed": 1}),
            ("scalars", {"train/loss": 2.0}, 5),
            ("images", ["val/7"], 5),
            ("close", False),
        ]
    assert not every


def test_a_resumed_run_is_found_again_and_a_new_one_is_not(tmp_path):
    first, second = Recorder(run_id="abc"), Recorder(run_id="def")
    opened(tmp_path, first, second)
    assert json.loads((tmp_path / ID_FILE).read_text()) == {"Recorder": "abc", "Recorder-2": "def"}
    again = Recorder(run_id="new"), Recorder(run_id="new")
    opened(tmp_path, *again, iteration=30)
    assert [writer.calls for writer in again] == [[("open", "abc", 30)], [("open", "def", 30)]]
    (tmp_path / "other").mkdir()
    other = Recorder(run_id="xyz")
    opened(tmp_path / "other", other)
    assert other.calls == [("open", None, 0)]


@pytest.mark.parametrize("text", ['{"Recorder": "ab', "[]", '{"Recorder": 3}'])
def test_a_damaged_file_of_ids_starts_anew(tmp_path, text):
    (tmp_path / ID_FILE).write_text(text)
    writer = Recorder(run_id="new")
    opened(tmp_path, writer, iteration=3)
    assert writer.calls == [("open", None, 3)]


def test_a_writer_that_cannot_be_opened_is_left_out(tmp_path, caplog):
    bad, good = Recorder(fails=["open"]), Recorder()
    every = opened(tmp_path, bad, good)
    every.scalars({"a": 1.0}, 1)
    assert [name for name, *_ in bad.calls] == ["open"]
    assert [name for name, *_ in good.calls] == ["open", "scalars"]
    (message,) = caplog.messages
    assert message == (
        "Recorder cannot be opened, so the run goes on without it: ConnectionError: no network"
    )


def test_a_writer_that_fails_is_told_of_once_and_left_out_after_three(tmp_path, caplog):
    bad, good = Recorder(fails=["scalars"]), Recorder()
    every = opened(tmp_path, bad, good)
    for iteration in range(2):
        every.scalars({"a": 1.0}, iteration)
    (message,) = caplog.messages
    assert message.startswith("Recorder has failed, so what it shows is incomplete; the run goes")
    every.images({}, 2)  # which works: the count starts anew
    for iteration in range(3, 9):
        every.scalars({"a": 1.0}, iteration)
    assert caplog.messages[1:] == ["Recorder failed 3 times in a row and is left out"]
    assert [name for name, *_ in bad.calls] == ["open"] + 2 * ["scalars"] + ["images"] + 3 * [
        "scalars"
    ]
    assert len(good.calls) == 10
    every.close(failed=True)
    assert good.calls[-1] == ("close", True)


def test_ids_that_cannot_be_kept_are_a_warning(tmp_path, caplog):
    (tmp_path / ID_FILE).mkdir()
    opened(tmp_path, Recorder(run_id="abc"))
    assert "so a resumed run will be shown anew" in caplog.text


def test_a_base_class_takes_everything_and_does_nothing(tmp_path):
    every = opened(tmp_path, Writer())
    every.scalars({"a": 1.0}, 1)
    every.close(failed=False)
    assert list(tmp_path.iterdir()) == []


def test_nested_values_become_those_of_options():
    values = {"train": {"ema": None}, "pipeline": [{"type": "Pad"}, {"scale": [4, 5]}], "hooks": []}
    assert flatten(values) == {
        "train.ema": None,
        "pipeline.0.type": "Pad",
        "pipeline.1.scale": [4, 5],
        "hooks": [],
    }


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    assert is_installed("json") and not is_installed("no_such_module")
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ImportError) as error:
        require_package("WandbWriter", "wandb", "wandb")
    assert str(error.value) == (
        "WandbWriter needs the package 'wandb', which is not installed: pip install wandb, or "
        "pip install -e '.[wandb]' in a checkout; or leave the writer out of the config"
    )
