import numpy as np
import pytest
from image_corpus import encode
from PIL import Image

from mmdet_lite.doctor.images import ImageRecord, check_images
from mmdet_lite.doctor.leaks import _count_bits, find_leaks

RNG = np.random.default_rng(1)


def photo(seed: int) -> Image.Image:
    """A picture with shapes of all sizes, as photos have."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (320, 240))
    for size, weight in (((5, 4), 0.5), ((20, 15), 0.3), ((80, 60), 0.2)):
        noise = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        layer = Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC)
        picture = Image.blend(picture, layer, weight)
    return picture


def leaks(folder, splits: dict[str, dict[str, bytes]]) -> list[tuple[str, object, str]]:
    """(severity, id, message) of the leaks between files; ids are the names."""
    digests = {}
    for split, files in splits.items():
        records = []
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            records.append(ImageRecord(name, str(path), None))
        digests[split] = check_images(records, 1).digests
    findings = find_leaks(digests)
    assert all(f.kind == "split_leak" for f in findings)
    return [(f.severity, f.id, f.message) for f in findings]


PNG, OTHER = encode("PNG", photo(0)), encode("PNG", photo(1))
CLOSE = {
    "compressed.jpg": encode("JPEG", photo(0), quality=50),
    "smaller.png": encode("PNG", photo(0).resize((160, 120), Image.Resampling.BOX)),
    "brighter.png": encode("PNG", photo(0).point(lambda value: min(255, value * 1.1))),
}


def test_different_pictures_are_no_leak(tmp_path):
    splits = {"train": {"a/1.png": PNG}, "val": {"b/1.png": OTHER}}
    assert leaks(tmp_path, splits) == []


def test_same_file_in_two_splits(tmp_path):
    splits = {"train": {"1.png": PNG, "2.png": OTHER}, "val": {"1.png": PNG}}
    assert leaks(tmp_path, splits) == [("warning", "1.png", "image 1.png of val is in train too")]


def test_copy_under_another_name(tmp_path):
    splits = {"train": {"1.png": OTHER, "2.png": PNG}, "val": {"new/name.png": PNG}}
    ((severity, id, message),) = leaks(tmp_path, splits)
    assert (severity, id) == ("warning", "new/name.png")
    assert f"is a copy of {tmp_path / '2.png'} (id 2.png) of train" in message


def test_same_pixels_in_another_format(tmp_path):
    splits = {"train": {"1.png": PNG}, "test": {"1.bmp": encode("BMP", photo(0))}}
    ((severity, id, message),) = leaks(tmp_path, splits)
    assert (severity, id) == ("warning", "1.bmp") and "the very pixels of" in message


@pytest.mark.parametrize("name", CLOSE)
def test_picture_saved_anew_looks_alike(tmp_path, name):
    splits = {"train": {"1.png": OTHER, "2.png": PNG}, "val": {name: CLOSE[name]}}
    ((severity, id, message),) = leaks(tmp_path, splits)
    assert (severity, id) == ("note", name) and f"looks like {tmp_path / '2.png'}" in message


def test_plain_pictures_are_not_taken_for_each_other(tmp_path):
    pages = [Image.new("RGB", (100, 80), "white") for _ in range(2)]
    for number, page in enumerate(pages):
        page.paste("black", (10, 10 + 30 * number, 40, 20 + 30 * number))
    splits = {
        "train": {"1.png": encode("PNG", pages[0])},
        "val": {"2.png": encode("PNG", pages[1])},
    }
    assert leaks(tmp_path, splits) == []


def test_same_set_twice_is_said_once(tmp_path):
    files = {"1.png": PNG, "2.png": OTHER}
    ((severity, id, message),) = leaks(tmp_path, {"train": files, "val": files})
    assert (severity, id) == ("warning", None)
    assert message == "all 2 images of val are those of train, file by file"


def test_every_pair_of_splits_is_compared(tmp_path):
    splits = {"train": {"1.png": OTHER}, "val": {"2.png": PNG}, "test": {"3.png": PNG}}
    assert [id for _, id, _ in leaks(tmp_path, splits)] == ["3.png"]


def test_bits_are_counted_alike_with_and_without_numpy_2(monkeypatch):
    words = RNG.integers(0, 2**64, (5, 7), dtype=np.uint64)
    expected = [[bin(word).count("1") for word in row] for row in words.tolist()]
    assert _count_bits(words).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert _count_bits(words).tolist() == expected
