"""Run with: pytest tests/engine/test_batch_dump.py"""

from __future__ import annotations

import math
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmdet_lite.engine.batch_dump import load_batch, save_batch
from mmdet_lite.engine.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from mmdet_lite.structures.masks import InstanceMasks
from mmdet_lite.structures.packed_bitmaps import PackedBitmaps
from mmdet_lite.structures.samples import Batch, GroundTruth, ImageMeta

TRIANGLE = np.array([[1.0, 1.0], [7.0, 1.0], [1.0, 5.0]])
BITMAP = np.zeros((6, 8), dtype=np.uint8)
BITMAP[2:4, 3:6] = 1
RLE = {"size": [6, 8], "counts": b"26223"}
INFO = {
    "iteration": 7,
    "rank": 1,
    "seed": 3,
    "precision": "bf16",
    "losses": {"loss_cls": math.nan, "loss_bbox": 0.1},
    "reason": "loss_cls not finite",
    "torch": "2.9",
}


def make_batch(masks=None) -> Batch:
    """Two images, of one and two objects."""
    return Batch(
        images=torch.arange(2 * 3 * 6 * 8, dtype=torch.uint8).reshape(2, 3, 6, 8),
        shapes=torch.tensor([[6, 8], [5, 7]]),
        pad_shapes=torch.tensor([[6, 8], [6, 8]]),
        keys=torch.tensor([2**40, 5]),
        gt=GroundTruth(
            boxes=torch.tensor([[[1.0, 1, 7, 5], [0, 0, 0, 0]], [[3, 2, 6, 4], [0, 0, 2.5, 1]]]),
            labels=torch.tensor([[4, 0], [1, 2]]),
            valid=torch.tensor([[True, False], [True, True]]),
            ignore_boxes=torch.tensor([[[0.0, 0, 3, 3]], [[0, 0, 0, 0]]]),
            ignore_valid=torch.tensor([[True], [False]]),
            masks=masks,
        ),
        metas=[
            ImageMeta(11, "a.jpg", 0, 4, (12, 16), (6, 8), (0.5, 0.5), "horizontal"),
            ImageMeta(12, "b.jpg", 1, 5, (10, 14), (5, 7)),
        ],
    )


def round_trip(tmp_path, batch):
    save_batch(tmp_path / "batch_rank_1.pth", batch, INFO)
    return load_batch(tmp_path / "batch_rank_1.pth")


def tensors(batch):
    fields = {**vars(batch), **vars(batch.gt)}
    return {name: value for name, value in fields.items() if isinstance(value, torch.Tensor)}


def change(path, function):
    """Rewrite a dumped batch with its content changed."""
    content = load_checkpoint(path)
    function(content)
    save_checkpoint(content, path)


def test_tensors_metas_and_info_come_back_exactly(tmp_path):
    masks = torch.arange(2 * 2 * 6 * 8).reshape(2, 2, 6, 8) % 3 == 0
    batch = make_batch(masks=PackedBitmaps.pack(masks))
    loaded, info = round_trip(tmp_path, batch)
    assert torch.equal(loaded.gt.masks.unpack(), masks.to(torch.uint8))
    expected = tensors(batch)
    assert tensors(loaded).keys() == expected.keys() and len(expected) == 9
    for name, value in tensors(loaded).items():
        assert value.dtype == expected[name].dtype, name
        assert torch.equal(value, expected[name]), name
    assert loaded.metas == batch.metas
    assert isinstance(loaded.metas[0].ori_shape, tuple)
    assert math.isnan(info["losses"].pop("loss_cls"))
    circumstances = {"device": "cpu", "threads": torch.get_num_threads()}
    assert info == {**INFO, "losses": {"loss_bbox": 0.1}, **circumstances}


def test_the_circumstances_are_noted(tmp_path):
    save_batch(tmp_path / "a.pth", make_batch(), {k: v for k, v in INFO.items() if k != "torch"})
    assert load_batch(tmp_path / "a.pth")[1]["torch"] == str(torch.__version__)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_images_of_numbers_that_are_not_finite_come_back(tmp_path, dtype):
    images = torch.zeros(2, 3, 6, 8, dtype=dtype)
    images[0, 0, 0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
    loaded, _ = round_trip(tmp_path, replace(make_batch(), images=images))
    assert loaded.images.dtype == dtype
    assert torch.equal(loaded.images.isnan(), images.isnan())
    assert torch.equal(loaded.images.nan_to_num(1), images.nan_to_num(1))


def test_masks_of_the_host_come_back_as_what_they_were(tmp_path):
    masks = [
        InstanceMasks([[TRIANGLE, TRIANGLE[:, ::-1]]], (6, 8)),
        InstanceMasks([BITMAP[:, ::-1], RLE], (6, 8)),
    ]
    loaded, _ = round_trip(tmp_path, make_batch(masks))
    polygons, (bitmap, rle) = loaded.gt.masks[0].shapes[0], loaded.gt.masks[1].shapes
    assert polygons[0].dtype == np.float64 and polygons[0].tolist() == TRIANGLE.tolist()
    assert polygons[1].tolist() == TRIANGLE[:, ::-1].tolist()
    assert bitmap.dtype == np.uint8 and np.array_equal(bitmap, BITMAP[:, ::-1])
    assert rle == RLE
    for before, after in zip(masks, loaded.gt.masks, strict=True):
        assert after.size == (6, 8)
        assert np.array_equal(before.bitmaps(), after.bitmaps())


def test_an_image_without_masks_stays_without(tmp_path):
    masks = [InstanceMasks([], (6, 8)), InstanceMasks([BITMAP], (6, 8))]
    loaded, _ = round_trip(tmp_path, make_batch(masks))
    assert [len(m) for m in loaded.gt.masks] == [0, 1]
    assert round_trip(tmp_path, make_batch())[0].gt.masks is None


def test_a_batch_without_ground_truth_comes_back(tmp_path):
    loaded, _ = round_trip(tmp_path, replace(make_batch(), gt=None))
    assert loaded.gt is None and loaded.keys.tolist() == [2**40, 5]


def test_numpy_numbers_in_metas_are_written_as_plain_ones(tmp_path):
    batch = make_batch()
    batch.metas[0] = replace(
        batch.metas[0], image_id=np.int64(11), scale_factor=(np.float32(0.5), 0.5)
    )
    loaded, _ = round_trip(tmp_path, batch)
    assert loaded.metas == make_batch().metas
    assert type(loaded.metas[0].image_id) is int


def test_info_that_is_not_plain_is_refused_when_writing(tmp_path):
    with pytest.raises(TypeError, match=r"info.config is a pathlib"):
        save_batch(tmp_path / "a.pth", make_batch(), {**INFO, "config": tmp_path})
    assert not list(tmp_path.iterdir())


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("place", ["top", "images", "meta"])
def test_hostile_pickle_is_refused_and_not_executed(tmp_path, place):
    bomb, path = Hostile(tmp_path / "executed"), tmp_path / "batch_rank_0.pth"
    save_batch(path, make_batch(), INFO)
    content = load_checkpoint(path)
    content["batch"]["images"] = bomb if place == "images" else content["batch"]["images"]
    content["batch"]["metas"][0]["file"] = bomb if place == "meta" else "a.jpg"
    path.with_name(path.name + ".sha256").unlink()  # an attacker would write a fitting one
    torch.save(bomb if place == "top" else content, path)
    with pytest.raises(CheckpointError, match=r"was refused: it holds \w+\.mkdir"):
        load_batch(path)
    assert not (tmp_path / "executed").exists()
    torch.load(path, weights_only=False)
    assert (tmp_path / "executed").exists()  # it was a real one


def test_damaged_file_is_refused(tmp_path):
    path = tmp_path / "batch_rank_0.pth"
    save_batch(path, make_batch(), INFO)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="is damaged: its SHA-256"):
        load_batch(path)


def test_checkpoint_of_a_run_is_no_batch(tmp_path):
    save_checkpoint({"model": {}, "iteration": 3}, tmp_path / "iter_3.pth")
    with pytest.raises(CheckpointError) as error:
        load_batch(tmp_path / "iter_3.pth")
    assert "iter_3.pth is no dumped batch: it has no 'format'" in str(error.value)
    assert "(it holds model, iteration)" in str(error.value)
    assert "Give a file batch_rank_<r>.pth" in str(error.value)


def test_everything_that_does_not_fit_is_listed(tmp_path):
    def spoil(content):
        content["batch"]["gt"]["labels"] = torch.zeros(2, 3, dtype=torch.int64)
        content["batch"]["keys"] = torch.zeros(3, dtype=torch.int64)
        content["batch"]["metas"].pop()
        content["info"]["iteration"] = "7"
        del content["info"]["seed"]

    path = tmp_path / "batch_rank_0.pth"
    save_batch(path, make_batch(), INFO)
    change(path, spoil)
    with pytest.raises(CheckpointError) as error:
        load_batch(path)
    assert str(error.value) == (
        f"{path} holds no whole batch: info.iteration is '7', expected int; info.seed is None, "
        "expected int; keys has shape (3,), expected (2); metas has shape (1,), expected (2); "
        "gt.labels has shape (2, 3), expected (2, 2)"
    )


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda content: content.pop("info"), "KeyError('info')"),
        (lambda content: content["batch"].pop("images"), "KeyError('images')"),
        (lambda content: content["batch"]["gt"].pop("valid"), "'valid'"),
        (lambda content: content["batch"]["metas"][1].update(angle=3), "'angle'"),
        (lambda content: content["batch"].update(shapes=None), "NoneType"),
        (lambda content: content["batch"]["gt"].update(masks=[3, 4]), "TypeError"),
    ],
)
def test_missing_parts_are_told(tmp_path, spoil, found):
    path = tmp_path / "batch_rank_0.pth"
    save_batch(path, make_batch(), INFO)
    change(path, spoil)
    with pytest.raises(
        CheckpointError, match="a part of it is missing or of another kind"
    ) as error:
        load_batch(path)
    assert found in str(error.value)
