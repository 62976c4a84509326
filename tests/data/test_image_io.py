import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmdet_lite.data.image_io import read_image

RGB = (200, 100, 50)


def save(path: Path, mode: str, **options) -> Path:
    Image.new("RGB", (6, 4), RGB).convert(mode).save(path, **options)
    return path


@pytest.mark.parametrize(
    ("name", "mode", "expected", "tolerance"),
    [
        ("rgb.png", "RGB", RGB, 0),
        ("rgba.png", "RGBA", RGB, 0),
        ("grey.png", "L", (124, 124, 124), 0),
        ("palette.png", "P", RGB, 6),
        ("cmyk.jpg", "CMYK", RGB, 6),
        ("rgb.bmp", "RGB", RGB, 0),
    ],
)
def test_files_of_any_mode_become_8_bit_rgb(tmp_path, name, mode, expected, tolerance):
    image = read_image(save(tmp_path / name, mode))
    assert image.shape == (4, 6, 3) and image.dtype == np.uint8
    np.testing.assert_allclose(image[2, 3].astype(int), expected, atol=tolerance)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3), (4, 6, 4)])
def test_16_bit_files_keep_their_upper_byte(tmp_path, shape):
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), np.full(shape, 100 * 256 + 90, dtype=np.uint16))
    image = read_image(path)
    assert image.shape == (4, 6, 3) and image.dtype == np.uint8
    assert (image == 100).all()


def test_exif_orientation_is_applied(tmp_path):
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[:, 40:] = RGB  # on the right of what the camera stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    image = read_image(tmp_path / "turned.jpg")
    assert image.shape == (60, 40, 3)
    np.testing.assert_allclose(image[50, 20].astype(int), RGB, atol=6)
    assert image[10, 20].max() < 6


def test_missing_file_names_both_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="not found: a/b.jpg") as error:
        read_image("a/b.jpg")
    assert str(tmp_path / "a" / "b.jpg") in str(error.value)


def test_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"empty.jpg is empty \(0 bytes\)"):
        read_image(tmp_path / "empty.jpg")


def test_file_that_is_no_image_is_refused(tmp_path):
    (tmp_path / "page.jpg").write_bytes(b"<html>404</html>")
    with pytest.raises(ValueError, match=r"page.jpg is not an image .* beginning with b'<html>40'"):
        read_image(tmp_path / "page.jpg")


def encode(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_file_is_refused(tmp_path, kind, share):
    content = encode(kind)
    path = tmp_path / "half"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match="half is truncated or damaged"):
        read_image(path)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_bytes_behind_the_end_are_no_damage(tmp_path, kind):
    path = tmp_path / "long"
    path.write_bytes(encode(kind) + b"maker notes" * 50)
    assert read_image(path).shape == (50, 50, 3)
