"""What an image file says of itself, before anything is decoded."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

from mmdet_lite.data.image_io import exif_orientation

_BITS_PER_SAMPLE = 258  # a tag of TIFF
_PNG_BITS = 24  # where a PNG has its bit depth
_FEWEST_BITS = 1 / 64  # of a pixel: a JPEG's block of 8 x 8 takes one bit at least
_LARGEST_RATIO = 1032  # of zlib: a PNG cannot be larger than so many times its content


@dataclass(frozen=True)
class ImageHeader:
    """The header of an image file, as Pillow reads it.

    Args:
        format: 'JPEG', 'PNG', 'MPO', ...
        mode: Pillow's: 'RGB', 'L' (grey), 'P' (palette), 'CMYK', ...
        size: (height, width) as stored, before the EXIF orientation.
        bits: of a sample: 8 or 16, as a rule.
        frames: more than 1 in an animation or a file of several pages.
        orientation: EXIF's, 1..8; 1 is upright.
        has_alpha: there is an alpha channel, or a colour that is transparent.
    """

    format: str
    mode: str
    size: tuple[int, int]
    bits: int
    frames: int
    orientation: int
    has_alpha: bool

    @property
    def num_pixels(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def shown_size(self) -> tuple[int, int]:
        """(height, width) as it is read: after the EXIF orientation."""
        is_turned = self.orientation >= 5 and self.format != "TIFF"  # whose size Pillow turns
        return self.size[::-1] if is_turned else self.size

    def fits_in(self, num_bytes: int) -> bool:
        """Whether so many pixels can be stored in a file of so many bytes."""
        if self.format in ("JPEG", "MPO"):
            return self.num_pixels * _FEWEST_BITS <= 8 * num_bytes
        if self.format == "PNG":
            return (
                self.num_pixels * (1 if self.mode == "1" else 8) <= 8 * _LARGEST_RATIO * num_bytes
            )
        return True


def read_header(content: bytes | BinaryIO) -> ImageHeader | None:
    """Read the header of an image file; None if Pillow does not know the format.

    Args:
        content: of the file, or the open file, of which no more is read than is needed.
    """
    file = io.BytesIO(content) if isinstance(content, bytes) else content
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged EXIF data, and of sizes
        try:
            image = Image.open(file)
            return ImageHeader(
                format=image.format,
                mode=image.mode,
                size=(image.height, image.width),
                frames=getattr(image, "n_frames", 1),
                orientation=exif_orientation(image),
                has_alpha=image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info,
                bits=_bits(image, file),  # the last, as it moves in the file
            )
        except Exception:  # Pillow raises OSError, SyntaxError, struct.error, ...
            return None


def is_opaque(content: bytes) -> bool:
    """Whether no pixel of an image with alpha is transparent at all."""
    alpha = Image.open(io.BytesIO(content)).convert("RGBA").getchannel("A")
    return alpha.getextrema()[0] == 255


def _bits(image: Image.Image, file: BinaryIO) -> int:
    if image.format == "PNG":
        file.seek(_PNG_BITS)
        return file.read(1)[0]
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
    return 16 if image.mode.startswith("I") else 8
