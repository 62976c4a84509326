"""Image files to RGB arrays; what is cut off is an error, never a grey area."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

_ORIENTATION = 0x0112  # EXIF's tag


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file of any common format.

    Args:
        path: the image file.

    Returns:
        (H, W, 3) uint8 RGB; see :func:`decode_image`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is empty, truncated or not an image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image file not found: {path} (absolute: {path.absolute()})")
    return decode_image(path.read_bytes(), path)


def decode_image(content: bytes, path: str | Path) -> np.ndarray:
    """Decode the content of an image file.

    EXIF orientation is applied. Grey, palette, RGBA, CMYK and 16-bit files become 8-bit RGB;
    an alpha channel is dropped. Of several frames the first is read. A JPEG that is complete but
    damaged inside is decoded as far as libjpeg can, which writes a line on stderr.

    Args:
        content: of the file.
        path: names it in errors.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: the content is empty, truncated or not an image, or has too many pixels.
    """
    if not content:
        raise ValueError(f"image file {path} is empty (0 bytes): fetch it again")
    if lacks_end_marker(content):
        _decode_strictly(content, path)
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:  # above OpenCV's limit of pixels, or out of memory
        raise ValueError(
            f"image file {path} cannot be decoded: OpenCV says: {error.err}. Cut it into tiles, or "
            "leave it out"
        ) from error
    if image is None:
        raise ValueError(
            f"{path} is not an image that OpenCV can decode: {len(content)} bytes, beginning with "
            f"{content[:8]!r}. Check the file, or convert it to JPEG or PNG"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def lacks_end_marker(content: bytes) -> bool:
    """Whether a JPEG or PNG does not end as it should; other formats are left to the decoder.

    Args:
        content: of the file, or its first 8 bytes and its end.
    """
    if content.startswith(b"\xff\xd8"):
        return not content.rstrip(b"\0 \t\r\n").endswith(b"\xff\xd9")
    if content.startswith(b"\x89PNG"):
        return b"IEND" not in content[-64:]
    return False


def _decode_strictly(content: bytes, path: str | Path) -> None:
    """Tell a truncated file from a sound one with bytes behind its end.

    OpenCV fills what is missing of a JPEG with grey and says nothing; Pillow refuses.
    """
    try:
        Image.open(io.BytesIO(content)).load()
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ...
        raise ValueError(
            f"image file {path} is truncated or damaged ({len(content)} bytes: {error}): "
            "fetch it again, or leave it out"
        ) from error


def exif_orientation(image: Image.Image) -> int:
    """How a picture is turned as it is read, 1..8 as in EXIF; 1: not at all.

    Args:
        image: opened by Pillow, which need not have decoded it.
    """
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF data, which no decoder minds
        return 1
    # Orientation of AVIF files stands elsewhere, and OpenCV does not apply it.
    return value if value in range(2, 9) and image.format != "AVIF" else 1
