"""The Python API: what goes in, what comes out, and that batches and threads change nothing.

Run with: pytest tests/apis/test_inference.py
"""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

import mmdet_lite
from mmdet_lite.apis.inference import Predictor, load
from mmdet_lite.apis.publish import publish_model
from mmdet_lite.apis.test import test as evaluate
from mmdet_lite.data.picture import Picture
from mmdet_lite.data.transforms import Resize
from mmdet_lite.engine.checkpoint import load_checkpoint

SIZES = [(64, 64), (40, 90), (64, 64), (90, 40), (33, 64), (64, 61), (40, 90), (64, 64), (20, 20)]


@pytest.fixture(scope="module")
def checkpoint(trained: Path) -> Path:
    return trained / "iter_2.pth"


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Predictor:
    """A model that has hardly learned: its detections are many, and of little score."""
    predictor = load(checkpoint, device="cpu")
    predictor.model.roi_head.bbox_head.score_thr = 0.0
    return predictor


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    """Noise in several sizes."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


def assert_same(a, b, boxes=1e-3, scores=1e-5):
    assert len(a) == len(b) > 0
    assert a.size == b.size
    np.testing.assert_allclose(a.boxes, b.boxes, atol=boxes)
    np.testing.assert_allclose(a.scores, b.scores, atol=scores)
    np.testing.assert_array_equal(a.labels, b.labels)
    assert (a.masks != b.masks).mean() < 1e-3


def test_the_package_gives_load_when_asked():
    """That it imports nothing heavy before is tested in tests/test_cli.py."""
    assert mmdet_lite.load is load and mmdet_lite.Predictor is Predictor
    assert {"load", "Detections", "__version__"} <= set(dir(mmdet_lite))
    with pytest.raises(AttributeError, match="laod"):
        mmdet_lite.laod  # noqa: B018


def test_an_image_gives_detections_in_its_own_pixels(model, images):
    found = model(images[1])
    assert isinstance(found, mmdet_lite.Detections)
    n = len(found)
    assert n > 0 and found.boxes.shape == (n, 4) and found.boxes.dtype == np.float32
    assert found.boxes.min() >= 0 and (found.boxes[:, 2:] <= [90, 40]).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.masks.shape == (n, 40, 90) and found.masks.dtype == bool
    assert found.names == [model.classes[label] for label in found.labels]
    assert model.classes == ("circle", "square", "triangle", "star", "ring", "cross")


def test_detections_are_those_of_the_evaluation(checkpoint, shapes, tiny, tmp_path):
    cfg = tiny({"test_data.batch_size": 1})
    evaluate(cfg, checkpoint, out=tmp_path / "results")
    model = load(checkpoint)
    truth = COCO(shapes / "annotations.json")
    for kind in ("bbox", "segm"):
        expected = truth.loadRes(str(tmp_path / f"results.{kind}.json")).anns.values()
        files = sorted((shapes / "images").iterdir())
        found = [e for i, file in enumerate(files) for e in model(file).to_coco(i + 1)]
        assert len(found) == len(expected) > 0
        for ours, theirs in zip(found, expected, strict=True):
            assert ours["image_id"] == theirs["image_id"]
            assert ours["category_id"] == theirs["category_id"]
            assert ours["score"] == pytest.approx(theirs["score"], abs=1e-6)
            if kind == "bbox":
                np.testing.assert_allclose(ours["bbox"], theirs["bbox"], atol=1e-3)
            else:
                ious = coco_mask.iou([ours["segmentation"]], [theirs["segmentation"]], [0])
                assert ious.item() > 0.99 or not coco_mask.area(theirs["segmentation"])


def test_a_batch_gives_what_its_images_give_alone(model, images):
    alone = [model(image) for image in images]
    for batch in (2, 8):
        for one, other in zip(alone, model(images, batch=batch), strict=True):
            assert_same(one, other)


def test_only_images_of_one_padded_shape_are_put_together(model, images, monkeypatch):
    seen = []
    forward = type(model.model).forward
    monkeypatch.setattr(
        type(model.model),
        "forward",
        lambda self, batch: seen.append(batch) or forward(self, batch),
    )
    model(images, batch=4)
    for batch in seen:
        assert (batch.pad_shapes == torch.tensor(batch.images.shape[-2:])).all()
    assert max(len(batch.metas) for batch in seen) > 1
    assert sum(len(batch.metas) for batch in seen) == len(images)


def test_the_pipeline_of_the_config_is_applied(model, images):
    larger = Predictor(model.model, [Resize((128, 128))], model.classes, model.category_ids)
    found = larger(images[1])
    assert found.size == (40, 90) and found.boxes[:, 2].max() <= 90
    assert not np.array_equal(found.boxes[:5], model(images[1]).boxes[:5])


def test_all_kinds_of_images_give_the_same(model, images, tmp_path):
    image = images[1]
    path = tmp_path / "an image.png"
    cv2.imwrite(str(path), image[..., ::-1])
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    expected = model(image)
    given = {
        "text": str(path),
        "path": path,
        "url": path.as_uri(),
        "pil": PIL.Image.fromarray(image),
        "tensor": tensor,
        "float": tensor / 255,
        "picture": Picture(image, "mine"),
    }
    for one in given.values():
        assert_same(expected, model(one), 0, 0)
    assert_same(expected, model(image[..., ::-1], channels="bgr"), 0, 0)
    assert_same(expected, model(tensor.flip(0), channels="bgr"), 0, 0)
    assert not np.array_equal(model(image, channels="bgr").boxes, expected.boxes)
    grey = image[..., 0]
    assert_same(model(grey), model(np.stack([grey] * 3, axis=2)), 0, 0)


def test_orientation_of_a_photograph_is_applied(model, images, tmp_path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn it right by 90 degrees
    PIL.Image.fromarray(images[1]).save(tmp_path / "turned.png", exif=exif)
    for one in (tmp_path / "turned.png", PIL.Image.open(tmp_path / "turned.png")):
        assert model(one).size == (90, 40)


def test_lists_folders_patterns_and_batches_give_lists(model, shapes, images):
    folder = shapes / "images"
    files = sorted(folder.iterdir())
    expected = [model(file) for file in files]
    for many in (files, folder, str(folder / "*.png"), [folder], iter(files)):
        found = model(many)
        assert [one.file for one in found] == files
        for a, b in zip(found, expected, strict=True):
            assert_same(a, b)
    assert [len(model(many)) for many in ([], np.stack([images[0]] * 3), [images[0]])] == [0, 3, 1]


def test_a_stream_is_in_order_and_reads_only_a_little_ahead(model, images):
    read = []

    def endless():
        while True:
            read.append(len(read))
            yield images[read[-1] % len(images)]

    stream = model.stream(endless(), batch=2)
    sizes = [next(stream).size for _ in range(20)]
    stream.close()
    assert sizes == [SIZES[i % len(SIZES)] for i in range(20)]
    assert len(read) < 20 + 4 * 2 + 2 * 2 + 2  # those that wait for a batch, and those ahead


def test_a_stream_closes_its_thread(model, images):
    before = threading.active_count()
    next(model.stream(images * 3, batch=1))
    assert threading.active_count() == before


def test_threads_get_what_one_gets(model, images):
    expected = [model(image) for image in images]
    found: dict[int, list] = {}

    def detect(number: int) -> None:
        found[number] = model(images * 2, batch=2 + number)

    threads = [threading.Thread(target=detect, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for results in found.values():
        for one, other in zip(expected * 2, results, strict=True):
            assert_same(one, other)


def test_threshold_number_and_precision(model, checkpoint, images):
    everything = model(images[0])
    middle = float(everything.scores[len(everything) // 2])
    kept = load(checkpoint, score_threshold=0.9, device="cpu")
    assert len(kept(images[0])) == (everything.scores >= 0.9).sum()
    assert len(everything.above(middle)) == (everything.scores >= middle).sum()
    best = load(checkpoint, max_detections=2)
    best.model.roi_head.bbox_head.score_thr = 0.0
    assert_same(best(images[0]), everything[:2], 0, 0)
    rough = load(checkpoint, precision="bf16")
    rough.model.roi_head.bbox_head.score_thr = 0.0
    assert rough(images[0]).scores[0] == pytest.approx(everything.scores[0], abs=0.02)
    assert rough(images[0]).scores[0] != everything.scores[0]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_published_model_gives_what_its_checkpoint_gives(checkpoint, tmp_path, shapes, suffix):
    if suffix == ".safetensors":
        pytest.importorskip("safetensors")
    out = tmp_path / f"mine{suffix}"
    publish_model(checkpoint, out)
    assert load_checkpoint(out)["meta"]["category_ids"] == [1, 2, 3, 4, 5, 6]
    file = shapes / "images/000001.png"
    assert_same(load(out)(file), load(checkpoint)(file), 0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"precision": "half"}, "precision must be one of float32, bf16, fp16, got 'half'"),
        ({"score_threshold": 1.5}, "score_threshold must be between 0 and 1, got 1.5"),
        ({"score_threshold": float("nan")}, "between 0 and 1, got nan"),
        ({"max_detections": 0}, "max_detections must be a whole number from 1 on, or None, got 0"),
        ({"device": "cuda:97"}, "device 'cuda:97' cannot be used"),
        ({"device": "gpu"}, "device 'gpu' cannot be used"),
    ],
)
def test_wrong_arguments_are_refused(checkpoint, arguments, message):
    with pytest.raises(ValueError, match=message):
        load(checkpoint, **arguments)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        ("nowhere/a.jpg", FileNotFoundError, "'nowhere/a.jpg' does not exist .* no 'nowhere' in"),
        ("*.jpg", FileNotFoundError, "no file matches '\\*.jpg'"),
        ("empty", ValueError, "no images or videos in the folder 'empty'.*\\.jpg"),
        ("http://a.org/b.jpg", ValueError, "URL must begin with file:///"),
        (["cut.png"], ValueError, "cut.png is truncated"),
        (7, TypeError, "expected a path .* got int '7'"),
        (np.zeros((4, 4, 4), np.uint8), TypeError, r"got ndarray \(4, 4, 4\) of uint8"),
        (np.zeros((4, 4, 3)), TypeError, r"got ndarray \(4, 4, 3\) of float64"),
        (torch.zeros(4, 4, 3), TypeError, r"a tensor must be \(3, H, W\), got Tensor \(4, 4, 3\)"),
        (torch.full((3, 4, 4), -2.0), ValueError, "values from 0 to 1, got -2 to -2"),
    ],
)
def test_wrong_images_are_explained(model, tmp_path, monkeypatch, images, error, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    _, png = cv2.imencode(".png", np.zeros((50, 50, 3), np.uint8))
    (tmp_path / "cut.png").write_bytes(png.tobytes()[:-30])
    with pytest.raises(error, match=message):
        model(images)


def test_wrong_settings_of_a_call_are_refused(model, images):
    with pytest.raises(ValueError, match="channels must be 'rgb' or 'bgr', got 'gbr'"):
        model(images[0], channels="gbr")
    with pytest.raises(ValueError, match="batch must be a whole number from 1 on, got 0"):
        model.stream(images, batch=0)


def test_near_names_are_suggested_for_a_missing_file(model, shapes):
    with pytest.raises(FileNotFoundError, match="near matches there: 000001.png"):
        model(shapes / "images/00001.png")


def test_a_gpu_without_room_is_explained(model, images, monkeypatch):
    def full(batch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.model, "forward", full)
    with pytest.raises(MemoryError, match=r"images \(1, 3, 64, 64\); lower batch, which is 1"):
        model(images[0])
