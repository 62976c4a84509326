"""Run with: pytest tests/engine/test_checkpoint.py"""

from __future__ import annotations

import os
import pickle
import subprocess
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdet_lite.engine import checkpoint
from mmdet_lite.engine.checkpoint import (
    CheckpointError,
    find_resume_checkpoint,
    keep_last,
    link_checkpoint,
    load_checkpoint,
    save_checkpoint,
)


def save(folder: Path, name: str, iteration: int = 0) -> Path:
    path = folder / name
    save_checkpoint({"iteration": iteration, "weight": torch.full((100,), float(iteration))}, path)
    return path


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def test_what_was_saved_is_loaded(tmp_path):
    state = {
        "model": OrderedDict(weight=torch.arange(3.0), steps=torch.tensor(7)),
        "meta": {"classes": ("cat", "dog"), "seed": 3, "note": None, 5: [True, 0.5]},
    }
    save_checkpoint(state, tmp_path / "a.pth")
    loaded = load_checkpoint(tmp_path / "a.pth")
    assert loaded["model"]["weight"].tolist() == [0.0, 1.0, 2.0]
    assert loaded["meta"] == state["meta"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pth", "a.pth.sha256"]


def test_sha256sum_accepts_the_checksum_file(tmp_path):
    save(tmp_path, "epoch_1.pth")
    checked = subprocess.run(
        ["sha256sum", "-c", "epoch_1.pth.sha256"], cwd=tmp_path, capture_output=True, text=True
    )
    assert checked.stdout == "epoch_1.pth: OK\n"


def test_everything_that_is_not_plain_is_listed_with_its_place(tmp_path):
    state = {"hooks": {"Mine": [1, np.float64(2.0)]}, "config": Path("x"), "t": {("a",): 1}}
    with pytest.raises(TypeError) as error:
        save_checkpoint(state, tmp_path / "a.pth")
    assert "hooks.Mine[1] is a numpy.float64" in str(error.value)
    assert "config is a pathlib" in str(error.value)
    assert "t has the key ('a',) (tuple)" in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", range(1, 5))
def test_a_crash_while_overwriting_leaves_the_old_or_the_new_one(tmp_path, monkeypatch, call):
    """Two syncs of files and two renames: the process dies at each of them in turn."""
    path = save(tmp_path, "best_mAP.pth", iteration=1)
    calls = []

    def die_at(function):
        def wrapper(*args):
            calls.append(function)
            if len(calls) == call:
                raise KeyboardInterrupt
            return function(*args)

        return wrapper

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", die_at(os.fsync))
        patch.setattr(Path, "replace", die_at(Path.replace))
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, "best_mAP.pth", iteration=2)
    assert load_checkpoint(path)["iteration"] == (2 if call == 4 else 1)
    save(tmp_path, "best_mAP.pth", iteration=3)
    assert load_checkpoint(path)["iteration"] == 3
    assert len(list(tmp_path.iterdir())) == 2, "the next one must clean up what was left"


def test_a_full_disk_is_told_with_the_path_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = save(tmp_path, "epoch_1.pth", iteration=1)

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match=r"No space left on device.*older ones.*epoch_1.pth"):
            save(tmp_path, "epoch_1.pth", iteration=2)
    assert load_checkpoint(path)["iteration"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch_1.pth", "epoch_1.pth.sha256"]


def test_a_missing_file_is_named_with_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"x.pth does not exist .*{tmp_path}/x.pth"):
        load_checkpoint("x.pth")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("with_checksum", [True, False])
def test_a_truncated_file_is_damaged(tmp_path, with_checksum):
    path = save(tmp_path, "epoch_1.pth")
    truncate(path)
    if not with_checksum:
        path.with_name("epoch_1.pth.sha256").unlink()
    with pytest.raises(CheckpointError, match=r"epoch_1.pth is .*damaged.*bytes on disk.*older"):
        load_checkpoint(path)


def test_a_tensor_that_torch_would_not_read_is_damage(tmp_path):
    """Of an entry that one flipped bit marks as a folder, torch gives what memory held."""
    path = save(tmp_path, "epoch_1.pth")
    (tmp_path / "epoch_1.pth.sha256").unlink()
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 38] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"epoch_1.pth is truncated or damaged \(.*data.pkl"):
        load_checkpoint(path)


def test_an_unknown_compression_is_damage(tmp_path):
    path = save(tmp_path, "epoch_1.pth")
    (tmp_path / "epoch_1.pth.sha256").unlink()
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 11] ^= 0x80
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged \(That compression method is not supp"):
        load_checkpoint(path)


def test_a_damaged_checksum_file_vouches_for_nothing(tmp_path):
    path = save(tmp_path, "epoch_1.pth")
    (tmp_path / "epoch_1.pth.sha256").write_bytes(b"\xff\xfe  epoch_1.pth")
    with pytest.raises(CheckpointError, match=r"its SHA-256 is \w+, epoch_1.pth.sha256 says"):
        load_checkpoint(path)


@pytest.mark.parametrize("with_checksum", [True, False])
def test_one_flipped_bit_is_found(tmp_path, with_checksum):
    path = save(tmp_path, "epoch_1.pth", iteration=3)
    content = bytearray(path.read_bytes())
    position = content.index(np.full(100, 3.0, np.float32).tobytes())
    content[position] ^= 1
    path.write_bytes(content)
    if not with_checksum:
        path.with_name("epoch_1.pth.sha256").unlink()
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


class Hostile:
    def __reduce__(self):
        return os.system, ("touch code_was_run",)


@pytest.mark.parametrize("write", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o, 2))])
def test_a_hostile_pickle_is_refused_and_its_function_named(tmp_path, monkeypatch, write):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile.pth"
    write({"model": Hostile()}, path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    assert f"{path} was refused" in str(error.value)
    assert "posix.system" in str(error.value)
    assert "save its weights again as plain tensors" in str(error.value)
    assert not Path("code_was_run").exists()


def test_a_builtin_that_runs_code_is_named(tmp_path):
    class Hostile:
        def __reduce__(self):
            return eval, ("1",)

    torch.save({"model": Hostile()}, tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match="was refused: it holds .*eval, and loading that"):
        load_checkpoint(tmp_path / "old.pth")


def test_a_pickle_of_another_program_is_refused_without_a_warning_of_torch(tmp_path, recwarn):
    path = tmp_path / "other.pth"
    path.write_bytes(pickle.dumps({"weights": {1, 2}}, protocol=4))
    with pytest.raises(CheckpointError, match="refused: it holds a pickle that torch.save did not"):
        load_checkpoint(path)
    assert not recwarn.list


def test_a_numpy_array_inside_is_refused_with_the_way_out(tmp_path):
    torch.save({"meta": np.arange(3)}, tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match=r"it holds numpy.*plain tensors"):
        load_checkpoint(tmp_path / "old.pth")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"just some text\n", b"\x80\x02}."])
def test_other_files_are_no_checkpoints(tmp_path, content):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"x.pth .*{len(content)} bytes on disk"):
        load_checkpoint(path)


def test_a_lone_tensor_is_no_checkpoint(tmp_path):
    torch.save(torch.zeros(3), tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="holds a Tensor; a checkpoint is a dict"):
        load_checkpoint(tmp_path / "x.pth")


def test_the_old_format_of_torch_is_read(tmp_path):
    torch.save({"w": torch.ones(2)}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    assert load_checkpoint(tmp_path / "x.pth")["w"].tolist() == [1.0, 1.0]


def test_epoch_10_is_newer_than_epoch_9(tmp_path):
    for epoch in (10, 9):
        save(tmp_path, f"epoch_{epoch}.pth", iteration=epoch)
    save(tmp_path, "best_mAP.pth", iteration=99)
    assert find_resume_checkpoint(tmp_path) == tmp_path / "epoch_10.pth"


def test_a_damaged_newest_checkpoint_is_skipped_with_a_warning(tmp_path, caplog):
    for epoch in (1, 2):
        save(tmp_path, f"epoch_{epoch}.pth", iteration=epoch)
    truncate(tmp_path / "epoch_2.pth")
    assert find_resume_checkpoint(tmp_path) == tmp_path / "epoch_1.pth"
    assert "epoch_2.pth is damaged: its SHA-256 is" in caplog.text


def test_of_epochs_and_iterations_the_further_one_is_resumed(tmp_path):
    save(tmp_path, "epoch_2.pth", iteration=200)
    save(tmp_path, "iter_150.pth", iteration=150)
    assert find_resume_checkpoint(tmp_path) == tmp_path / "epoch_2.pth"
    save(tmp_path, "iter_230.pth", iteration=230)
    assert find_resume_checkpoint(tmp_path) == tmp_path / "iter_230.pth"


def test_an_empty_or_missing_folder_has_nothing_to_resume(tmp_path):
    assert find_resume_checkpoint(tmp_path) is None
    assert find_resume_checkpoint(tmp_path / "missing") is None


def test_only_the_last_written_ones_are_kept(tmp_path):
    for time, name in enumerate(["iter_900.pth", "best_mAP.pth", "iter_100.pth", "iter_200.pth"]):
        os.utime(save(tmp_path, name), (time, time))
    keep_last(tmp_path, 5)
    assert (tmp_path / "iter_900.pth").exists()
    keep_last(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.glob("*.pth")) == [
        "best_mAP.pth",
        "iter_100.pth",
        "iter_200.pth",
    ]
    assert not (tmp_path / "iter_900.pth.sha256").exists()


@pytest.mark.parametrize("hard_links", [True, False])
def test_a_linked_checkpoint_outlives_its_source(tmp_path, monkeypatch, hard_links):
    def refuse(source, target):
        raise OSError("no hard links here")

    if not hard_links:
        monkeypatch.setattr(checkpoint.os, "link", refuse)
    source = save(tmp_path, "epoch_1.pth", iteration=1)
    link_checkpoint(source, tmp_path / "best_mAP.pth")
    save(tmp_path, "epoch_1.pth", iteration=2)
    assert load_checkpoint(tmp_path / "best_mAP.pth")["iteration"] == 1
    assert (tmp_path / "best_mAP.pth.sha256").read_text().endswith("  best_mAP.pth\n")
