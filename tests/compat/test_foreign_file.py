"""Foreign checkpoint files: tensors come out of them, and nothing in them is imported or run.

Run with: pytest tests/compat/test_foreign_file.py
"""

from __future__ import annotations

import builtins
import collections
import io
import logging
import os
import pickle
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from mmdet_lite.compat.foreign_file import read_foreign
from mmdet_lite.engine.checkpoint import CheckpointError

WEIGHT = torch.arange(6.0).reshape(2, 3)


class Call:
    """Its pickle calls a function."""

    def __init__(self, function, *args, state=None):
        self.made = (function, args) if state is None else (function, args, state)

    def __reduce__(self):
        return self.made


class ConfigDict(dict):
    """As MMEngine's: a dict of a foreign class, full of values."""


class HistoryBuffer:
    """As MMEngine's: arrays in the attributes of a foreign class."""

    def __init__(self):
        self.log, self.max_length = np.arange(3.0), 10


@pytest.fixture(params=["zip", "legacy"])
def save(request, tmp_path):
    """Write a checkpoint in one of torch.save's two formats."""

    def write(content) -> Path:
        path = tmp_path / "checkpoint.pth"
        torch.save(content, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return write


def weights(**more) -> dict:
    return {"state_dict": collections.OrderedDict(weight=WEIGHT), **more}


def test_tensors_of_all_kinds_are_read(save):
    shared = torch.arange(12.0).reshape(3, 4)
    state = collections.OrderedDict(
        whole=shared,
        transposed=shared.t(),
        part=shared[1:, ::2],
        parameter=torch.nn.Parameter(torch.ones(3)),
        count=torch.tensor(7),
        half=torch.ones(2).half(),
        brain=torch.ones(2).bfloat16(),
        flags=torch.tensor([True, False]),
        none=torch.zeros(0, 4),
    )
    state._metadata = {"": {"version": 1}}
    read = read_foreign(save({"state_dict": state}))["state_dict"]
    assert read.keys() == state.keys()
    for name, value in state.items():
        assert torch.equal(read[name], value) and read[name].dtype == value.dtype, name
    assert type(read["parameter"]) is torch.Tensor
    assert read["whole"].untyped_storage().data_ptr() == read["part"].untyped_storage().data_ptr()


def test_foreign_objects_are_left_out_and_listed(save, caplog):
    meta = {
        "epoch": 12,
        "score": np.float64(0.5),
        "classes": ("cat", "dog"),
        "cfg": ConfigDict(model=ConfigDict(a=1)),
        "log": [1, HistoryBuffer(), 2],
        "bound": {}.get,
        "dtype": torch.float32,
        ("a", 1): 2,
    }
    with caplog.at_level(logging.INFO, logger="mmdet_lite"):
        read = read_foreign(save(weights(meta=meta)))
    assert torch.equal(read["state_dict"]["weight"], WEIGHT)
    assert read["meta"] == {"epoch": 12, "score": 0.5, "classes": ("cat", "dog"), "log": [1, 2]}
    place = f"{ConfigDict.__module__}.ConfigDict"
    assert f"meta.cfg ({place})" in caplog.text
    assert "meta.log[1] (" in caplog.text and "HistoryBuffer)" in caplog.text
    assert "getattr); meta.dtype (torch.float32)" in caplog.text
    assert "meta (the key tuple)" in caplog.text


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ({"epoch": 3, "model": torch.nn.Linear(2, 2), "ema": None}, "its 'model' is"),
        ({"ema": torch.nn.Linear(2, 2), "model": None, "optimizer": {"state": {}}}, "its 'ema' is"),
        (torch.nn.Linear(2, 2), "it is"),
    ],
)
def test_a_module_in_the_place_of_weights_is_told_with_the_remedy(save, content, where):
    with pytest.raises(CheckpointError) as error:
        read_foreign(save(content))
    assert f"{where} one of torch.nn.modules.linear.Linear" in str(error.value)
    assert "With the program that made it, save the weights alone" in str(error.value)


def test_a_module_beside_weights_does_not_matter(save):
    assert read_foreign(save(weights(ema=torch.nn.Linear(2, 2))))["state_dict"].keys() == {"weight"}


def test_a_structure_that_contains_itself_is_cut(save, caplog):
    content = weights()
    content["again"] = [content]
    with caplog.at_level(logging.INFO, logger="mmdet_lite"):
        assert read_foreign(save(content))["again"] == []
    assert "again[0] (a reference to what it is part of)" in caplog.text


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_pickles_of_arrays_are_read(tmp_path, protocol):
    arrays = {
        "a": np.arange(6, dtype="f4").reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big": np.arange(3, dtype=">i4"),
        "empty": np.zeros((0, 3), "f2"),
    }
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}, protocol=protocol))
    read = read_foreign(path)
    assert read["__author__"] == "x"
    for name, array in arrays.items():
        assert read["model"][name].tolist() == array.tolist()
        assert read["model"][name].shape == array.shape


def _hostile(folder: str) -> dict[str, object]:
    """Objects whose pickles would make a folder."""
    code = f"__import__('os').mkdir({folder!r})"
    inner = io.BytesIO()
    torch.save({"a": Call(os.mkdir, folder)}, inner)
    return {
        "a function of os": Call(os.mkdir, folder),
        "eval": Call(builtins.eval, code),
        "exec, its result used": Call(getattr, Call(builtins.exec, code), "__class__"),
        "state for a built-in": Call(collections.OrderedDict, state={"a": Call(os.mkdir, folder)}),
        "__setstate__ of an OrderedDict": [
            Call(
                collections.OrderedDict,
                state={"__setstate__": Call(getattr, Call(__import__, "os"), "mkdir")},
            ),
            Call(os.mkdir, folder),
        ],
        "torch's own loader": Call(torch.storage._load_from_bytes, inner.getvalue()),
        "as a tensor's memory": Call(
            torch._utils._rebuild_tensor_v2, Call(os.mkdir, folder), 0, (1,), (1,), False, None
        ),
        "as hooks of a tensor": Call(
            torch._utils._rebuild_parameter, WEIGHT, False, {0: Call(os.mkdir, folder)}
        ),
        "as an array's class": Call(
            np.zeros(1).__reduce__()[0], Call(os.mkdir, folder), (0,), b"b"
        ),
        "an array of objects": np.array([Call(os.mkdir, folder)], dtype=object),
    }


@pytest.mark.parametrize("case", _hostile(""))
@pytest.mark.parametrize("place", ["meta", "weights", "first"])
def test_nothing_is_run(save, tmp_path, case, place):
    folder = tmp_path / "made_by_the_pickle"
    hostile = _hostile(str(folder))[case]
    content = {"first": {"meta": hostile}} if place == "first" else {}
    content |= weights(meta={"deep": [{"er": hostile}]} if place == "meta" else {})
    if place == "weights":
        content["state_dict"]["evil"] = hostile
    path = save(content)
    before = set(sys.modules)
    try:
        read = read_foreign(path)
        assert torch.equal(read["state_dict"]["weight"], WEIGHT)
    except CheckpointError as error:
        assert f"{path} cannot be read" in str(error)
    assert not folder.exists()
    assert set(sys.modules) == before


def test_the_cases_are_hostile(tmp_path):
    made = []
    for case in _hostile(""):
        folder = tmp_path / f"{len(made)}"
        file = io.BytesIO()
        torch.save({"meta": _hostile(str(folder))[case]}, file)
        file.seek(0)
        with suppress(Exception):
            torch.load(file, weights_only=False)
        made += [case] if folder.exists() else []
    assert len(made) >= 9, made


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02(S'%s'\nios\nmkdir\n.",  # INST
        b"\x80\x02(cos\nmkdir\nS'%s'\no.",  # OBJ
        b"\x80\x02cos\nmkdir\nS'%s'\n\x85\x81.",  # NEWOBJ
        b"\x80\x02cos\nmkdir\nS'%s'\n\x85R}b.",  # BUILD on what was called
        b"\x80\x02cmmdet_lite.compat.inert_pickle\nplain\n}S'__defaults__'\nS'%s'\n\x85s\x86b.",
        b"\x80\x02ccollections\nOrderedDict\nN}S'__setstate__'\ncos\nmkdir\ns\x86b.",
        b"\x80\x02ccollections\nOrderedDict\n)RN}S'append'\ncos\nmkdir\ns\x86bS'%s'\na.",
        b"\x80\x02cmy_evil_module\nrun\n)R.",  # its import is the attack
        b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93S'%s'\n\x85R.",  # STACK_GLOBAL
        b"\x80\x02\x82\x01.",  # EXT1
        b"\x80\x02(S'storage'\ncos\nmkdir\nS'0'\nS'cpu'\nK\x01tQ.",  # memory of an unknown kind
        b"\x80\x02S'%s'\nQ.",  # a persistent id that is none
    ],
)
def test_programs_written_by_hand_do_nothing(tmp_path, monkeypatch, program):
    folder = tmp_path / "made"
    (tmp_path / "my_evil_module.py").write_text(f"import os\nos.mkdir({str(folder)!r})\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "evil.pkl"
    path.write_bytes(program.replace(b"%s", str(folder).encode()))
    with suppress(CheckpointError):
        assert read_foreign(path) == {}
    assert not folder.exists() and "my_evil_module" not in sys.modules


def test_depth_and_doubling_are_no_weapons(tmp_path):
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_foreign(path)
    bomb: list = []
    for _ in range(200):
        bomb = [bomb, bomb]
    path.write_bytes(pickle.dumps({"bomb": bomb}, protocol=2))
    assert list(read_foreign(path)) == ["bomb"]


def test_names_cannot_write_to_the_terminal(tmp_path, caplog):
    path = tmp_path / "evil.pkl"
    path.write_bytes(b"\x80\x02}X\x03\x00\x00\x00a\x1b[cos\x1b[2J\nmkdir\ns.")
    with caplog.at_level(logging.INFO, logger="mmdet_lite"):
        assert read_foreign(path) == {}
    assert "\x1b" not in caplog.text and r"os\x1b[2J.mkdir" in caplog.text


def _with_program(path: Path, change) -> Path:
    """A good file with another pickle program."""
    torch.save(weights(), path.with_suffix(".good"))
    with zipfile.ZipFile(path.with_suffix(".good")) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, change(content) if name.endswith("data.pkl") else content)
    return path


def test_a_tensor_outside_of_its_memory_is_refused(tmp_path):
    longer = _with_program(  # of size (2, 3): (9, 3)
        tmp_path / "longer.pth", lambda p: p.replace(b"K\x02K\x03\x86", b"K\x09K\x03\x86")
    )
    with pytest.raises(CheckpointError, match="state_dict.weight reaches outside of its memory"):
        read_foreign(longer)
    claims = _with_program(tmp_path / "claims.pth", lambda p: p.replace(b"K\x06t", b"K\x60t"))
    with pytest.raises(CheckpointError, match="storage 0 is shorter than its tensor"):
        read_foreign(claims)


@pytest.mark.parametrize("size", [0, 3, 100, 600])
def test_a_truncated_file_is_refused(save, size):
    path = save(weights())
    path.write_bytes(path.read_bytes()[: min(size, path.stat().st_size - 9)])
    with pytest.raises(CheckpointError):
        read_foreign(path)


def test_other_files_are_named(tmp_path):
    path = tmp_path / "file.pth"
    path.write_text("<html>404</html>")
    with pytest.raises(CheckpointError, match="neither a file of torch.save nor a pickle"):
        read_foreign(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
        archive.writestr("a/constants.pkl", b"")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_foreign(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickle.dumps({}, protocol=2))
    with pytest.raises(CheckpointError, match="compressed"):
        read_foreign(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/readme.txt", "")
    with pytest.raises(CheckpointError, match="none of torch.save"):
        read_foreign(path)
    path.write_bytes(pickle.dumps([1], protocol=2))
    with pytest.raises(CheckpointError, match="holds a list; a checkpoint is a dict"):
        read_foreign(path)
    with pytest.raises(FileNotFoundError, match="nowhere.pth does not exist"):
        read_foreign(tmp_path / "nowhere.pth")
