"""Logs of runs are found and read, or it is said what is wrong."""

from __future__ import annotations

import json

import pytest

from mmdet_lite.apis.run_logs import read_runs

TRAIN = {"mode": "train", "epoch": 1, "loss": 1.0, "lr": 0.1}
FOREIGN = {"lr": 0.1, "loss": 3.0, "epoch": 1}


def write(path, *lines, tail=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
    return path


def test_a_work_dir_or_its_log_with_the_config_beside_it(tmp_path):
    log = write(tmp_path / "one/log.jsonl", TRAIN | {"iter": 50}, tail='{"mode": "tra')
    (tmp_path / "one/config.py").write_text("seed = 1\ntrain = dict(max_iters=9)\n")
    for path in (tmp_path / "one", log):
        (run,) = read_runs([path])
        assert run.records == run.train == [TRAIN | {"iter": 50}] and run.val == []
        assert run.config == {"seed": 1, "train.max_iters": 9} and not run.is_foreign
    assert [run.name for run in read_runs([tmp_path / "one"])] == ["one"]


def test_folders_of_one_name_are_told_apart_by_their_paths(tmp_path):
    for name in "ab":
        write(tmp_path / name / "run/log.jsonl", TRAIN | {"iter": 1})
    paths = [tmp_path / name / "run" for name in "ab"]
    assert [run.name for run in read_runs(paths)] == list(map(str, paths))


def test_mmdetections_starts_are_one_run(tmp_path):
    for start, its in (("20240101_000000", (50, 100, 150)), ("20240102_000000", (100,))):
        lines = [FOREIGN | {"iter": i, "step": i} for i in its]
        write(tmp_path / start / "vis_data/scalars.json", *lines)
    (tmp_path / "20240102_000000/vis_data/config.py").write_text("max_epochs = 12\n")
    (run,) = read_runs([tmp_path])
    assert run.is_foreign and run.config == {"max_epochs": 12}
    assert [record["iter"] for record in run.records] == [50, 100], "resumed from 50"


@pytest.mark.parametrize("place", [".", "vis_data", "vis_data/scalars.json"])
def test_the_folder_of_mmdetections_log_may_be_named(tmp_path, place):
    inside = tmp_path / "scalars.json" if place == "." else tmp_path / "vis_data/scalars.json"
    write(inside, FOREIGN | {"iter": 50, "step": 50})
    assert read_runs([tmp_path / place])[0].records[0]["loss"] == 3.0


def test_a_config_that_would_have_to_be_run_is_left_out(tmp_path, caplog):
    write(tmp_path / "log.jsonl", TRAIN | {"iter": 1})
    (tmp_path / "config.py").write_text("import os\n")
    assert read_runs([tmp_path])[0].config is None
    assert "config.py: not compared, it cannot be read without running it" in caplog.text


def test_a_folder_without_a_log_names_those_below(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none: no such folder or file; name the work dir"):
        read_runs([tmp_path / "none"])
    with pytest.raises(FileNotFoundError) as error:
        read_runs([tmp_path])
    assert str(error.value) == (
        f"{tmp_path}: no log of a run; expected log.jsonl, or vis_data/scalars.json of "
        "MMDetection 3.x in the folder or in one below it"
    )
    write(tmp_path / "a/log.jsonl", TRAIN)
    write(tmp_path / "b/20240101_000000/vis_data/scalars.json", FOREIGN)
    with pytest.raises(FileNotFoundError) as error:
        read_runs([tmp_path])
    assert str(error.value).endswith(
        f". There are runs below it: {tmp_path / 'a'}, {tmp_path / 'b'}"
    )


@pytest.mark.parametrize("tail", ["", "{}\n", "no json", '{"mode": "test", "iter": 3}\n'])
def test_a_file_that_is_no_log_is_an_error(tmp_path, tail):
    log = write(tmp_path / "log.jsonl", tail=tail)
    with pytest.raises(ValueError, match=f"{log}: holds no record of a run"):
        read_runs([tmp_path])


def test_a_run_that_is_named_twice_is_an_error(tmp_path):
    write(tmp_path / "log.jsonl", TRAIN | {"iter": 1})
    with pytest.raises(ValueError, match="named more than once; name each run once"):
        read_runs([tmp_path, f"{tmp_path}/."])
