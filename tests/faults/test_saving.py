"""Whatever happens while a checkpoint is written or afterwards to the file, a good one is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
import torch
from comparison import assert_same, assert_same_run, final_state, logged
from fault_hooks import MOMENTS
from single_run import train_here, train_in_fork

from mmdet_lite.engine.checkpoint import (
    CheckpointError,
    find_resume_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from mmdet_lite.visualization.curves import plot_curves

pytestmark = pytest.mark.faults

# Saves: 1 is iter_2, 2 iter_4, 3 iter_4 once more after its validation, 4 iter_6.
_OPTIONS = {
    "train.max_iters": 8,
    "train.checkpoint_interval": 2,
    "train.val_interval": 4,
    "train.keep_last": 2,
    "val_data.dataset.num_images": 4,
}
_RISING = _OPTIONS | {  # every validation ends with a new best checkpoint
    "metric.type": "RisingMetric",
    "train.best_metric": "rising",
    "train.keep_last": 1,
}
_RENAMED = MOMENTS[MOMENTS.index("between the rename and the checksum's") : -2]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """The folder of the undisturbed run."""
    work_dir = tmp_path_factory.mktemp("straight")
    train_here(work_dir, _OPTIONS)
    return work_dir


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_during_a_save_leaves_a_good_checkpoint(moment, straight, tmp_path, record_row):
    """The first one, one that replaces another of its name, one for which an older is removed."""
    folders = {1: tmp_path / "first", 3: tmp_path / "replacing", 4: tmp_path / "removing"}
    for save, folder in folders.items():
        assert train_in_fork(folder, _OPTIONS | {"hooks": _hooks(moment, save)}) == -signal.SIGKILL
    found = {save: find_resume_checkpoint(folder) for save, folder in folders.items()}
    is_renamed = moment in _RENAMED
    assert {save: path and path.name for save, path in found.items()} == {
        1: "iter_2.pth" if is_renamed else None,
        3: "iter_4.pth",  # with or without the validation's metrics
        4: "iter_6.pth" if is_renamed else "iter_4.pth",
    }
    for folder in folders.values():
        train_here(folder, _OPTIONS, resume=True)
        assert not list(folder.glob(".*.tmp"))
        assert_same_run(folder, straight, "hooks")
    record_row(
        f"SIGKILL during a save, {moment}",
        f"{'the checkpoint itself' if is_renamed else 'the checkpoint before it'} was found good; "
        "3 runs (the first checkpoint, one that replaces another, one for which an older is "
        "removed) were resumed to the same bits",
        f"the iterations since {'that' if is_renamed else 'the earlier'} checkpoint",
    )


def test_a_disk_that_is_full_for_a_while(tmp_path, small_disk, record_row, caplog):
    straight = tmp_path / "straight"
    train_here(straight, _RISING)
    hooks = [{"type": "TellPhase"}, {"type": "FillDisk", "first": 3, "last": 6}]
    train_here(small_disk / "run", _RISING | {"hooks": hooks})
    failed = [r.message for r in caplog.records if "cannot write a checkpoint" in r.message]
    assert [Path(m.partition(": '")[2].partition("'")[0]).name for m in failed] == [
        "iter_4.pth",
        "best_rising.pth",  # the same checkpoint once more, with the validation's metrics
        "iter_6.pth",
    ]
    assert failed[1].endswith("training goes on without it and without iter_4.pth")
    for message in failed:
        assert "No space left on device); older ones are intact" in message
        assert "training goes on without it" in message
    assert not list(small_disk.glob("run/.*.tmp"))
    assert_same(final_state(small_disk / "run", "hooks"), final_state(straight, "hooks"))
    assert logged(small_disk / "run") == logged(straight)
    record_row(
        "disk full during 3 saves (tmpfs of 24 MB), then room again",
        "each failed save was logged as an error with its reason, training went on, the next save "
        "succeeded, the final state is bit-identical and the log complete",
        "nothing; a kill in between would have lost the iterations since the last good checkpoint",
    )


def test_a_disk_that_is_full_at_the_end(small_disk, record_row):
    hooks = [{"type": "TellPhase"}, {"type": "FillDisk", "first": 5, "last": 99}]
    with pytest.raises(OSError) as error:
        train_here(small_disk / "run", _RISING | {"hooks": hooks})
    assert "cannot write a checkpoint (No space left on device); older ones" in str(error.value)
    assert error.value.filename.endswith("best_rising.pth")  # iter_8.pth is a second name of it
    assert find_resume_checkpoint(small_disk / "run").name == "iter_4.pth"
    record_row(
        "disk full until the end of the run",
        "the run trained to its end, then failed with an error that names the file and the "
        "reason; iter_4.pth, written before, is intact",
        "the iterations since the last good checkpoint",
    )


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A tmpfs; a checkpoint of these tests takes 3.5 MB. Curves are drawn there too."""
    monkeypatch.setattr("mmdet_lite.apis.train.plot_curves", plot_curves)
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except FileNotFoundError:
        pytest.skip("there is no mount command for a tmpfs")
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _cut_to_nothing(path: Path) -> None:
    os.truncate(path, 0)


def _flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16  # in a weight
    path.write_bytes(content)


def _flip_bit_without_checksum(path: Path) -> None:
    _flip_bit(path)
    _remove_checksum(path)


def _remove_checksum(path: Path) -> None:
    path.with_name(f"{path.name}.sha256").unlink()


_DAMAGES = {
    _cut: "second half missing",
    _cut_to_nothing: "empty",
    _flip_bit: "one flipped bit",
    _flip_bit_without_checksum: "one flipped bit, and no checksum file",
    _remove_checksum: "no checksum file",
}


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    """The folder of a run that was killed while it saved iter_8; its checkpoints are 4 and 6."""
    work_dir = tmp_path_factory.mktemp("interrupted") / "run"
    options = _OPTIONS | {"hooks": _hooks("before anything is written", 5)}
    assert train_in_fork(work_dir, options) == -signal.SIGKILL
    return work_dir


@pytest.mark.parametrize(
    ("damage", "says", "resumed"),
    [
        (_cut, "iter_6.pth is damaged: its SHA-256 is ", "iter_4.pth"),
        (_cut_to_nothing, "iter_6.pth is damaged: its SHA-256 is ", "iter_4.pth"),
        (_flip_bit, "iter_6.pth is damaged: its SHA-256 is ", "iter_4.pth"),
        (_flip_bit_without_checksum, "iter_6.pth is truncated or damaged (", "iter_4.pth"),
        (_remove_checksum, "", "iter_6.pth"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_damaged_newest_checkpoint(
    damage, says, resumed, interrupted, straight, tmp_path, record_row
):
    work_dir = Path(shutil.copytree(interrupted, tmp_path / "run"))
    damage(work_dir / "iter_6.pth")
    train_here(work_dir, _OPTIONS, resume=True)
    log = (work_dir / "train.log").read_text()
    assert f"resumed from {work_dir / resumed}" in log
    assert ("WARNING: skipped a checkpoint when looking for the newest one" in log) == bool(says)
    assert says in log
    assert_same_run(work_dir, straight, "hooks")
    record_row(
        f"newest checkpoint: {_DAMAGES[damage]}",
        f"resumed from {resumed}, {'as the log says' if says else 'its own checksums vouch for it'}"
        "; bit-identical in the end",
        "the 2 iterations between the checkpoints" if says else "nothing",
    )


def test_no_flipped_bit_changes_what_is_loaded(tmp_path, record_row):
    """Every single bit, also of the zip archive's own structure, where a flip may be harmless."""
    path = tmp_path / "iter_5.pth"
    state = {"model": {f"weight_{i}": torch.full((4,), 0.1 * i) for i in range(3)}, "iteration": 5}
    save_checkpoint(state, path)
    _remove_checksum(path)
    good = path.read_bytes()
    refused = sum(_is_refused(path, good, bit, state) for bit in range(8 * len(good)))
    assert refused > 4 * len(good)
    record_row(
        f"each of the {8 * len(good)} bits of a small checkpoint flipped, no checksum file",
        f"refused as damaged {refused} times; loaded with the same content the other "
        f"{8 * len(good) - refused} times (padding, names and dates of the zip archive)",
        "nothing",
    )


def _is_refused(path: Path, good: bytes, bit: int, expected: dict) -> bool:
    content = bytearray(good)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    try:
        assert_same(load_checkpoint(path), expected, f"after a flip of bit {bit}: state")
    except CheckpointError:
        return True
    return False


def _hooks(moment: str, save: int) -> list[dict]:
    return [
        {"type": "TellPhase"},
        {"type": "KillWhileSaving", "moment": moment, "save": save},
    ]
