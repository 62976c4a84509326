"""Image files that are read, but not as it may seem."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

import numpy as np

from mmdet_lite.data.findings import Finding, Severity
from mmdet_lite.doctor.image_header import ImageHeader, is_opaque

_JPEG = {".jpg", ".jpeg", ".jpe", ".jfif", ".jfi", ".mpo"}
_EXTENSIONS = {
    "JPEG": _JPEG,
    "MPO": _JPEG,  # a JPEG with further pictures behind it, as phones write
    "PNG": {".png", ".apng"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
    "WEBP": {".webp"},
    "AVIF": {".avif", ".avifs"},
    "JPEG2000": {".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"},
    "PPM": {".ppm", ".pgm", ".pbm", ".pnm", ".pfm"},
}
_SMALLEST_SIDE = 8  # pixels; the stride of the finest feature map of most detectors
_MANY_PIXELS = 40_000_000  # about half a second of decoding a JPEG
_DARK = 32  # of 255

_Trait = tuple[Severity, str, str]  # severity, message, fix


def find_traits(
    path: str, id: int | str, content: bytes, image: np.ndarray, header: ImageHeader
) -> list[Finding]:
    """Find what is unusual about an image that can be read.

    Args:
        path: of the file.
        id: of the image.
        content: of the file.
        image: (H, W, 3) uint8 RGB, as training reads it.
        header: of the file.
    """
    traits = [*_of_container(path, header), *_of_colours(content, image, header), *_of_size(image)]
    return [Finding(s, "image_unusual", str(path), id, text, fix) for s, text, fix in traits]


def _of_container(path: str, header: ImageHeader) -> Iterator[_Trait]:
    suffix = PurePath(path).suffix.lower()
    known = {extension for extensions in _EXTENSIONS.values() for extension in extensions}
    if suffix in known and suffix not in _EXTENSIONS.get(header.format, known):
        text = f"it is a {header.format} file named {suffix}; it is read by its content"
        yield "note", text, "Nothing for training; rename it for other programs"
    if header.frames > 1 and header.format != "MPO":
        text = f"it has {header.frames} frames or pages; training sees the first alone"
        yield "warning", text, "Save the frame that was annotated as a picture of its own"


def _of_colours(content: bytes, image: np.ndarray, header: ImageHeader) -> Iterator[_Trait]:
    low, high = int(image.min()), int(image.max())
    if header.bits > 8:
        text = f"{header.bits} bits a sample; training sees the upper 8, here {low} to {high}"
        if high < _DARK:
            fix = "Stretch the values to the range of 0 to 65535, or save 8 bits"
            yield "warning", f"{text} of 255, which is almost black", fix
        else:
            yield "note", f"{text} of 255", "Nothing, if 8 bits are enough"
    if header.mode in ("CMYK", "LAB"):
        text = f"its colours are {header.mode}; they become RGB without a colour profile"
        yield "warning", text, "Convert it to RGB with a program that knows colour profiles"
    elif header.mode in ("L", "1", "LA") or header.mode.startswith("I"):
        yield "note", "it is grey; training sees three equal channels", "Nothing for training"
    elif header.mode == "P" and header.format != "GIF":
        text = "its colours are a palette of at most 256; training sees them as RGB"
        yield "note", text, "Nothing for training. Is it a picture, or a mask of class numbers?"
    if header.has_alpha and not is_opaque(content):
        text = "it has transparent parts; training drops the alpha channel and sees what is below"
        yield "warning", text, "Put it on the background that it shall have, and save it as RGB"
    if low == high and (image == image[0, 0]).all() and min(image.shape[:2]) > 1:
        yield "warning", f"all pixels are {image[0, 0].tolist()}", "Look at the picture"


def _of_size(image: np.ndarray) -> Iterator[_Trait]:
    height, width = image.shape[:2]
    if min(height, width) < _SMALLEST_SIDE:
        text = f"it is {height} high and {width} wide: nothing can be detected in it"
        yield "warning", text, "Take it out of the annotation file, or set min_size of CocoDataset"
    if height * width > _MANY_PIXELS:
        text = f"{height * width / 1e6:.0f} million pixels are decoded in every epoch"
        yield "note", text, "If it slows training down, store it smaller, or in tiles"
