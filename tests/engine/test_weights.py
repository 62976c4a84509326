"""Run with: pytest tests/engine/test_weights.py"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mmdet_lite.engine.checkpoint import CheckpointError, save_checkpoint, write_atomically
from mmdet_lite.engine.ema import ExponentialMovingAverage
from mmdet_lite.engine.weights import load_weights
from mmdet_lite.models.class_rows import ClassRows
from mmdet_lite.safetensors_file import safetensors_bytes


class Head(nn.Module):
    """``fc_cls`` has one row a class and the background's; ``fc_reg`` two rows a class."""

    def __init__(self, num_classes: int, value: float = 0.0):
        super().__init__()
        self.shared = nn.Linear(2, 2, bias=False)
        self.fc_cls = nn.Linear(2, num_classes + 1, bias=False)
        self.fc_reg = nn.Linear(2, 2 * num_classes, bias=False)
        for parameter in self.parameters():
            nn.init.constant_(parameter, value)

    def class_rows(self):
        return {"fc_cls.weight": ClassRows(1, has_background=True), "fc_reg.weight": ClassRows(2)}


def numbered(num_classes: int) -> Head:
    """A head whose rows carry their own number, from 1."""
    head = Head(num_classes)
    with torch.no_grad():
        for layer in (head.fc_cls, head.fc_reg):
            layer.weight[:] = torch.arange(1.0, len(layer.weight) + 1)[:, None]
    return head


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        lambda w: {"state_dict": w, "meta": {}},
        lambda w: {"model": w, "optimizer": {"state": {}}, "ema": None},
        lambda w: {"state_dict": {f"module.{name}": value for name, value in w.items()}},
    ],
)
def test_all_forms_of_weights_are_loaded(wrap):
    head = Head(3)
    load_weights(head, wrap(Head(3, 5.0).state_dict()))
    assert head.fc_reg.weight.unique().tolist() == [5.0]


def test_averaged_weights_are_preferred(tmp_path, caplog):
    caplog.set_level("INFO")
    ema = ExponentialMovingAverage(Head(3, 8.0))
    state = {"model": Head(3, 5.0).state_dict(), "ema": ema.state_dict()}
    save_checkpoint(state, tmp_path / "a.pth")
    head = Head(3)
    load_weights(head, tmp_path / "a.pth")
    assert head.shared.weight.unique().tolist() == [8.0]
    assert "a.pth: taking the averaged (EMA) weights" in caplog.text


def test_another_architecture_is_told_with_names_and_counts():
    weights = {f"layer{i}.weight": torch.zeros(1) for i in range(12)}
    weights["shared.weight"] = torch.zeros(2, 2)
    with pytest.raises(ValueError) as error:
        load_weights(Head(3), weights)
    assert "missing (2): fc_cls.weight, fc_reg.weight\n" in str(error.value)
    assert "not in the model (12): layer0.weight" in str(error.value)
    assert "layer9.weight and 2 more" in str(error.value)
    assert "layer10" not in str(error.value)
    assert "made by another architecture?" in str(error.value)


def test_another_number_of_classes_is_told_with_both_shapes_and_the_way_out():
    with pytest.raises(ValueError) as error:
        load_weights(Head(3), Head(80).state_dict())
    assert "shape (given -> model) (2): fc_cls.weight (81, 2) -> (4, 2), " in str(error.value)
    assert "another number of classes?" in str(error.value)
    assert "load_from" in str(error.value)


def test_fine_tuning_leaves_other_shapes_out_and_lists_them(caplog):
    head = Head(3)
    weights = {**Head(80, 5.0).state_dict(), "old.bias": torch.zeros(1)}
    load_weights(head, weights, strict=False)
    assert head.shared.weight.unique().tolist() == [5.0]
    assert head.fc_cls.weight.unique().tolist() == [0.0]
    assert "1 of 4 tensors fit" in caplog.text
    assert "fc_reg.weight (160, 2) -> (6, 2)" in caplog.text
    assert "not in the model (1): old.bias" in caplog.text


def test_fine_tuning_from_something_that_fits_nowhere_is_an_error():
    with pytest.raises(ValueError, match="no weight fits Head, it is of another architecture"):
        load_weights(Head(3), {"conv.weight": torch.zeros(1)}, strict=False)


@pytest.mark.parametrize("content", [{}, {"meta": {}, "epoch": 3}])
def test_a_dict_without_weights_is_an_error(content):
    with pytest.raises(ValueError, match="holds no weights: expected a dict of tensors"):
        load_weights(Head(3), content)


def test_rows_are_matched_by_class_name(caplog):
    caplog.set_level("INFO")
    given = {"model": numbered(3).state_dict(), "meta": {"classes": ["cat", "dog", "cow"]}}
    head = Head(4, -1.0)
    load_weights(head, given, classes=("cow", "yak", "cat", "emu"))
    # the background is row 4 of the given and row 5 of the model's classifier
    assert head.fc_cls.weight[:, 0].tolist() == [3.0, -1.0, 1.0, -1.0, 4.0]
    assert head.fc_reg.weight[:, 0].tolist() == [5.0, 6.0, -1.0, -1.0, 1.0, 2.0, -1.0, -1.0]
    assert head.shared.weight.unique().tolist() == [0.0]
    assert "2 classes matched by name: cow, cat" in caplog.text
    assert "left as initialised: yak, emu" in caplog.text


def test_class_names_of_mmdetection_are_found():
    given = {
        "state_dict": numbered(2).state_dict(),
        "meta": {"dataset_meta": {"classes": ("cat", "dog")}},
    }
    head = Head(2)
    load_weights(head, given, classes=("dog", "cat"))
    assert head.fc_cls.weight[:, 0].tolist() == [2.0, 1.0, 3.0]


def test_matching_needs_class_names_and_a_shared_one():
    weights = Head(2).state_dict()
    with pytest.raises(ValueError, match=r"does not tell its class names \(meta.classes\)"):
        load_weights(Head(2), {"model": weights}, classes=("cat", "dog"))
    given = {"model": weights, "meta": {"classes": ["cat", "dog"]}}
    with pytest.raises(ValueError, match=r"none of its classes \(cat, dog\) is among .* \(yak\)"):
        load_weights(Head(1), given, classes=("yak",))


@pytest.fixture
def safetensors(tmp_path) -> Path:
    """A .safetensors file of a numbered head of three classes, with its checksum."""
    pytest.importorskip("safetensors")
    content = safetensors_bytes(numbered(3).state_dict(), {"classes": ["cat", "dog", "cow"]})
    write_atomically(tmp_path / "a.safetensors", lambda file: file.write(content))
    return tmp_path / "a.safetensors"


def test_safetensors_are_loaded_and_give_their_class_names(safetensors):
    head = Head(3)
    assert load_weights(head, safetensors) == ["cat", "dog", "cow"]
    assert head.fc_cls.weight[:, 0].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_rows_of_safetensors_are_matched_by_class_name(safetensors):
    head = Head(2, -1.0)
    load_weights(head, str(safetensors), classes=("cow", "emu"))
    assert head.fc_cls.weight[:, 0].tolist() == [3.0, -1.0, 4.0]


def test_a_missing_safetensors_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b.safetensors does not exist .*\.pth or \.safe"):
        load_weights(Head(3), tmp_path / "b.safetensors")


@pytest.mark.parametrize("with_checksum", [True, False])
def test_truncated_safetensors_are_damaged(safetensors, with_checksum):
    safetensors.write_bytes(safetensors.read_bytes()[:-8])
    if not with_checksum:
        safetensors.with_name("a.safetensors.sha256").unlink()
    with pytest.raises(
        CheckpointError, match=r"a.safetensors .*bytes on disk.* damaged|is damaged"
    ):
        load_weights(Head(3), safetensors)


def test_one_flipped_bit_of_safetensors_is_found_by_the_checksum(safetensors):
    content = bytearray(safetensors.read_bytes())
    content[-1] ^= 1
    safetensors.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a.safetensors is damaged: its SHA-256 is"):
        load_weights(Head(3), safetensors)


def test_rows_of_a_dense_head_are_matched_within_each_anchor():
    class Dense(nn.Module):
        def __init__(self, num_classes: int):
            super().__init__()
            self.retina_cls = nn.Linear(1, 2 * num_classes, bias=False)

        def class_rows(self):
            return {"retina_cls.weight": ClassRows(1, groups=2)}

    head = Dense(3)
    nn.init.zeros_(head.retina_cls.weight)
    weights = {"retina_cls.weight": torch.arange(1.0, 5)[:, None]}  # anchors x (cat, dog)
    given = {"model": weights, "meta": {"classes": ["cat", "dog"]}}
    load_weights(head, given, classes=("dog", "emu", "cat"))
    assert head.retina_cls.weight[:, 0].tolist() == [2, 0, 1, 4, 0, 3]


def test_only_the_first_names_that_differ_are_listed(caplog):
    weights = Head(3).state_dict() | {f"old.{i}": torch.zeros(1) for i in range(30)}
    load_weights(Head(3), weights, strict=False)
    assert "not in the model (30): old.0, " in caplog.text and "and 20 more" in caplog.text


@pytest.mark.parametrize("strict", [True, False])
def test_weights_by_the_names_of_another_program_point_to_the_converter(strict):
    weights = {"model.0.conv.weight": torch.zeros(1), "model.24.m.0.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match="take it over with `mmdet-lite convert-checkpoint` first"):
        load_weights(Head(3), weights, strict=strict)
