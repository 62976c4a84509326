"""A file that would run code when it is unpickled is refused, whatever it is given for."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from mmdet_lite.engine.checkpoint import save_checkpoint

_TINY = Path(__file__).parents[1] / "apis/tiny_config.py"
_REFUSED = f"{os.mkdir.__module__}.mkdir"  # posix.mkdir


class MakeFolder:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def _plain_pickle(path: Path, folder: Path) -> None:
    path.write_bytes(pickle.dumps({"state_dict": MakeFolder(folder)}, protocol=2))


def _by_torch(path: Path, folder: Path) -> None:
    torch.save({"model": {}, "meta": MakeFolder(folder)}, path)


def _as_optimizer_state(path: Path, folder: Path) -> None:
    state = {"state": {0: {"exp_avg": MakeFolder(folder)}}, "param_groups": []}
    torch.save({"model": {}, "optimizer": state, "identity": {}, "iteration": 1}, path)


def _in_an_edited_zip(path: Path, folder: Path) -> None:
    """A good file whose pickle program is preceded by a call; the rest of it stays as it was."""
    good = path.with_suffix(".good")
    save_checkpoint({"model": {"weight": torch.ones(3)}, "iteration": 1}, good)
    call = pickle.dumps(MakeFolder(folder), protocol=2).rstrip(b".") + b"0"  # and drop its result
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            is_program = name.endswith("data.pkl")
            target.writestr(name, call + content[2:] if is_program else content)


FORMS = (_plain_pickle, _by_torch, _as_optimizer_state, _in_an_edited_zip)
ENTRANCES: dict[str, Callable[[Path, Path], list]] = {
    "--resume": lambda file, out: ["train", _TINY, "--work-dir", out, "--resume", file],
    "load_from": lambda file, out: [
        *("train", _TINY, "--work-dir", out, "--cfg-options", f"load_from={file}"),
    ],
    "tools/test.py": lambda file, out: ["test", _TINY, file],
    "tools/publish_model.py": lambda file, out: ["publish-model", file, out / "out.pth"],
    "tools/replay_batch.py": lambda file, out: ["replay-batch", _TINY, file],
}


@pytest.fixture
def attack(tmp_path, cli_error):
    """Give a hostile file to a command, and see to it that the file is refused."""

    def run(entrance: str, form: Callable[[Path, Path], None]) -> None:
        folder = tmp_path / "made_by_the_pickle"
        file = tmp_path / f"{form.__name__}.pth"
        form(file, folder)
        message = cli_error(*ENTRANCES[entrance](file, tmp_path / "out"))
        assert f"{file} was refused: it holds {_REFUSED}, and loading that could run" in message
        assert not folder.exists()
        with suppress(RuntimeError):  # a bare pickle is no torch file, which is found too late
            torch.load(file, weights_only=False)
        assert folder.exists(), "the file was not hostile at all"
        folder.rmdir()

    return run


@pytest.mark.parametrize("entrance", ENTRANCES)
def test_a_hostile_file_is_refused(entrance, attack):
    attack(entrance, _in_an_edited_zip)


@pytest.mark.faults
def test_every_hostile_file_is_refused_everywhere(attack, record_row):
    for entrance in ENTRANCES:
        for form in FORMS:
            attack(entrance, form)
    record_row(
        "hostile pickle: a bare one, in torch.save's archive, as optimizer state, in an otherwise "
        f"good file; given as {', '.join(ENTRANCES)}",
        f"refused {len(ENTRANCES) * len(FORMS)} times with the file's name and that of the object "
        "in it; nothing was executed, which it is by torch.load(weights_only=False)",
        "nothing",
    )


@pytest.mark.faults
def test_a_hostile_newest_checkpoint_is_passed_over(tmp_path, run_cli, record_row):
    work_dir = tmp_path / "run"
    arguments = ["train", _TINY, "--work-dir", work_dir]
    assert run_cli(*arguments).code == 0
    _as_optimizer_state(work_dir / "iter_9.pth", tmp_path / "made_by_the_pickle")
    result = run_cli(*arguments, "--resume")
    assert result.code == 0, result
    assert f"{work_dir / 'iter_9.pth'} was refused: it holds {_REFUSED}" in result.out
    assert f"resumed from {work_dir / 'iter_2.pth'}" in result.out
    assert not (tmp_path / "made_by_the_pickle").exists()
    record_row(
        "hostile pickle as the newest checkpoint of a work dir, --resume",
        "passed over with a warning that names it; the run resumed from the one before",
        "nothing",
    )
