"""The .safetensors format: what is written is read, other programs' files, damage.

Run with: pytest tests/test_safetensors_file.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from mmdet_lite.safetensors_file import read_safetensors, safetensors_bytes


@pytest.fixture
def safetensors_torch():
    return pytest.importorskip("safetensors.torch")


def write(path: Path, weights: dict, meta: dict | None = None) -> Path:
    pytest.importorskip("safetensors")
    path.write_bytes(safetensors_bytes(weights, meta or {}))
    return path


def test_what_was_written_is_read(tmp_path):
    weights = {
        "conv.weight": torch.arange(6.0).reshape(1, 2, 3),
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "num_batches_tracked": torch.tensor(7),
        "nothing": torch.zeros(0, 4),
    }
    meta = {"classes": ["café", 'a "cat"'], "config": "a = 1\nb = 2\n"}
    content = read_safetensors(write(tmp_path / "a.safetensors", weights, meta))
    assert content["meta"] == meta
    assert content["state_dict"].keys() == weights.keys()
    for name, value in weights.items():
        torch.testing.assert_close(content["state_dict"][name], value, rtol=0, atol=0)


def test_shared_memory_and_strides_are_written_in_full(tmp_path):
    shared = torch.arange(12.0).reshape(3, 4)
    weights = {"a": shared, "b": shared, "row": shared[1], "transposed": shared.t()}
    given = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    path = write(tmp_path / "a.safetensors", {**weights, "channels_last": given})
    read = read_safetensors(path)["state_dict"]
    assert read["row"].tolist() == [4.0, 5.0, 6.0, 7.0]
    assert read["transposed"].tolist() == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]
    assert torch.equal(read["a"], shared) and torch.equal(read["b"], shared)
    assert torch.equal(read["channels_last"], given)


def test_a_file_of_another_program_has_no_meta(tmp_path, safetensors_torch):
    path = tmp_path / "timm.safetensors"
    safetensors_torch.save_file({"fc.weight": torch.ones(2)}, path, metadata={"format": "pt"})
    content = read_safetensors(path)
    assert content["state_dict"]["fc.weight"].tolist() == [1.0, 1.0]
    assert content["meta"] == {}


def test_other_programs_can_read_ours(tmp_path, safetensors_torch):
    path = write(tmp_path / "a.safetensors", {"fc.weight": torch.ones(2)}, {"classes": ["cat"]})
    assert safetensors_torch.load_file(path)["fc.weight"].tolist() == [1.0, 1.0]
    with sys.modules["safetensors"].safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt", "mmdet_lite.meta": '{"classes": ["cat"]}'}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:4],
        lambda content: content[:40],
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content.replace(b'"F32"', b'"F99"'),
        lambda content: content.replace(b'{\\"classes', b'[\\"classes'),
        lambda content: b"PK\x03\x04 a file of torch.save under a wrong name",
    ],
)
def test_a_damaged_file_is_named_with_its_size_and_the_way_out(tmp_path, damage):
    path = write(tmp_path / "a.safetensors", {"w": torch.ones(9)}, {"classes": ["cat"]})
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="cannot be read as safetensors") as error:
        read_safetensors(path)
    assert f"{path} cannot be" in str(error.value)
    assert f"({len(damaged)} bytes on disk)" in str(error.value)
    assert "copy the file again or make it anew" in str(error.value)


@pytest.mark.parametrize(
    "use", [lambda: read_safetensors(Path("x.safetensors")), lambda: safetensors_bytes({}, {})]
)
def test_without_the_package_the_extra_is_named(monkeypatch, use):
    for name in ("safetensors", "safetensors.torch"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"not installed: .* mmdet_lite\[safetensors\]"):
        use()
