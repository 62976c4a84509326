"""Broken and unusual image files, and what the doctor has to say of each: no more and no less."""

from __future__ import annotations

import io
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmdet_lite.doctor.images import ImageRecord

HEIGHT, WIDTH = 60, 80
_COARSE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
PIXELS = cv2.resize(_COARSE, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
PICTURE = Image.fromarray(PIXELS)

Expected = tuple[tuple[str, str], ...]  # (severity, kind), in the order of the findings

SOUND: Expected = ()
CORRUPT: Expected = (("error", "image_corrupt"),)
DOUBTFUL: Expected = (("warning", "image_corrupt"),)
ODD: Expected = (("warning", "image_unusual"),)
NOTED: Expected = (("note", "image_unusual"),)
WRONG_SIZE: Expected = (("error", "size_mismatch"),)


@dataclass(frozen=True)
class Case:
    """A file, the size that is listed for it, and the expected findings.

    Args:
        name: of the file; folders in it are made.
        content: of the file.
        expected: severities and kinds.
        size: (height, width) as listed.
        says: words of the first message.
    """

    name: str
    content: bytes
    expected: Expected
    size: tuple[int, int] | None = (HEIGHT, WIDTH)
    says: str = ""


def encode(kind: str, image: Image.Image = PICTURE, mode: str | None = None, **options) -> bytes:
    """A picture as a file's content."""
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def write_corpus(folder: Path) -> list[ImageRecord]:
    """Write all files; the id of an image is its place in ``CASES``."""
    records = []
    for number, case in enumerate(CASES):
        path = folder / case.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.content)
        records.append(ImageRecord(number, str(path), case.size))
    return records


def _sound() -> Iterator[Case]:
    jpeg, png = encode("JPEG"), encode("PNG")
    yield Case("sound.jpg", jpeg, SOUND)
    yield Case("sound.png", png, SOUND)
    yield Case("sound.JPEG", jpeg, SOUND)
    yield Case("without_extension", jpeg, SOUND)
    yield Case("not.known.extension", jpeg, SOUND)
    yield Case("size_not_listed.jpg", jpeg, SOUND, size=None)
    yield Case("progressive.jpg", encode("JPEG", progressive=True), SOUND)
    yield Case("best_quality.jpg", encode("JPEG", quality=100, subsampling=0), SOUND)
    yield Case("no_compression.bmp", encode("BMP"), SOUND)
    yield Case("sound.webp", encode("WEBP"), SOUND)
    yield Case("lzw.tif", encode("TIFF", compression="tiff_lzw"), SOUND)
    yield Case("maker_notes_behind.jpg", jpeg + b"maker notes" * 50, SOUND)
    yield Case("zeros_behind.jpg", jpeg + bytes(100), SOUND)
    yield Case("zeros_behind.png", png + bytes(100), SOUND)
    phone = encode("MPO", save_all=True, append_images=[PICTURE.rotate(180)])
    yield Case("two_pictures_of_a_phone.jpg", phone, SOUND)
    yield Case("blume im garten.jpg", jpeg, SOUND)
    yield Case("blüten/größe – 花.jpg", jpeg, SOUND)
    yield Case(unicodedata.normalize("NFD", "zerlegt_é.png"), png, SOUND)
    yield Case("percent%20 'quote' #1.jpg", jpeg, SOUND)
    yield Case("opaque.png", encode("PNG", mode="RGBA"), SOUND)


def _sizes() -> Iterator[Case]:
    jpeg = encode("JPEG")
    yield Case("other_size.jpg", jpeg, WRONG_SIZE, (HEIGHT, WIDTH + 1), "60 high and 80 wide")
    yield Case("other_size.png", encode("PNG"), WRONG_SIZE, (1, 1))
    yield Case("resized.jpg", jpeg, WRONG_SIZE, (2 * HEIGHT, 2 * WIDTH), "at 0.5 times the size")
    yield Case("no_size.jpg", jpeg, WRONG_SIZE, (0, 0))
    yield Case("exchanged.jpg", jpeg, WRONG_SIZE, (WIDTH, HEIGHT), "no EXIF tag does it")


def _exif() -> Iterator[Case]:
    shown = {2: "warning", 3: "warning", 4: "warning", 5: "note", 6: "note", 7: "note", 8: "note"}
    for orientation in range(1, 9):
        content = _oriented("JPEG", orientation)
        size = (HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT)
        expected = ((shown[orientation], "exif_rotated"),) if orientation > 1 else SOUND
        yield Case(f"exif_{orientation}_as_shown.jpg", content, expected, size)
        if orientation >= 5:
            expected = (("error", "exif_rotated"),)
            yield Case(f"exif_{orientation}_as_stored.jpg", content, expected, says="is applied")
    yield Case("exif_6.png", _oriented("PNG", 6), (("error", "exif_rotated"),))
    yield Case("exif_no_such.jpg", _oriented("JPEG", 9), SOUND)
    doubtful = (("warning", "exif_rotated"),)
    square = encode("JPEG", PICTURE.resize((64, 64)), exif=_orientation(6))
    yield Case("exif_6_square.jpg", square, doubtful, (64, 64))
    yield Case(
        "exif_6_size_not_listed.jpg", _oriented("JPEG", 6), (("warning", "exif_rotated"),), None
    )
    yield Case("exif_6_other_size.jpg", _oriented("JPEG", 6), WRONG_SIZE, (7, 9))
    damaged = _oriented("JPEG", 6).replace(b"MM\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xff")
    yield Case("exif_damaged.jpg", damaged, SOUND)


def _corrupt() -> Iterator[Case]:
    jpeg, png = encode("JPEG", quality=95), encode("PNG")
    for share in (0.02, 0.3, 0.6, 0.95):
        for name, content in (("jpg", jpeg), ("png", png)):
            yield Case(f"cut_at_{share}.{name}", content[: int(len(content) * share)], CORRUPT)
    yield Case("end_marker_cut.jpg", jpeg[:-1], CORRUPT, says="truncated")
    yield Case("end_marker_cut.png", png[:-4], CORRUPT)
    yield Case("cut_and_zeros.jpg", jpeg[: len(jpeg) // 2] + bytes(len(jpeg) // 2), CORRUPT)
    yield Case(
        "cut_and_closed.jpg", jpeg[: len(jpeg) // 2] + b"\xff\xd9", CORRUPT, says="premature end"
    )
    middle = _spoilt(png, len(png) // 2)
    yield Case("spoilt_inside.png", middle, CORRUPT)
    progressive = encode("JPEG", quality=95, progressive=True)
    yield Case("cut_progressive.jpg", progressive[: len(progressive) // 2], CORRUPT)
    for kind, name in (("BMP", "bmp"), ("WEBP", "webp"), ("TIFF", "tif"), ("JPEG2000", "jp2")):
        content = encode(kind)
        yield Case(f"cut.{name}", content[: len(content) // 2], CORRUPT)
    yield Case("empty.jpg", b"", CORRUPT, says="0 bytes")
    yield Case("one_byte.jpg", b"\xff", CORRUPT)
    yield Case("zeros.jpg", bytes(1000), CORRUPT, says="all its 1000 bytes are zero")
    yield Case("start_and_end.jpg", b"\xff\xd8\xff\xd9", CORRUPT)
    yield Case("page.jpg", b"\n<!DOCTYPE html><title>404</title>", CORRUPT, says="a web page")
    yield Case("page.png", b"<html>404</html>", CORRUPT, says="a web page")
    yield Case("error.jpg", b'{"error": "quota"}', CORRUPT, says="JSON")
    yield Case("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", CORRUPT, says="SVG")
    yield Case(
        "pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid", CORRUPT, says="LFS"
    )
    yield Case("archive.jpg", b"PK\x03\x04" + bytes(40), CORRUPT, says="ZIP")
    yield Case("phone.heic", bytes(4) + b"ftypheic" + bytes(40), CORRUPT, says="HEIC")
    yield Case("text.jpg", b"hello", CORRUPT, says="not an image")
    float_tiff = encode("TIFF", Image.fromarray(PIXELS[..., 0].astype(np.float32)))
    yield Case("float.tif", float_tiff, CORRUPT)
    longer = jpeg[:-2] + b"\x12\x34" * 3 + jpeg[-2:]
    yield Case("bytes_before_the_end.jpg", longer, DOUBTFUL, says="5 extraneous bytes")


def _huge() -> Iterator[Case]:
    """Headers that promise more than the file can hold, or than anybody can."""
    yield Case("bomb_20000.jpg", _header_of_jpeg(20_000), CORRUPT, (20_000, 20_000), "cannot hold")
    yield Case("bomb_60000.jpg", _header_of_jpeg(60_000), CORRUPT, (60_000, 60_000))
    yield Case("bomb_30000.png", _png(30_000, 30_000, b""), CORRUPT, (30_000, 30_000))
    yield Case("bomb_60000.png", _png(60_000, 60_000, b""), CORRUPT, (60_000, 60_000))
    yield Case("too_wide.png", _png(2_000_000, 10, b""), CORRUPT, (10, 2_000_000))
    yield Case("no_pixels.png", _png(0, 0, b""), CORRUPT, (0, 0))
    large = _png(12_000, 12_000, bytes(12_000 * 1501), bits=1)
    yield Case("large.png", large, ODD, (12_000, 12_000), "not decoded here")
    yield Case("1x1.png", _png(1, 1, b"\0abc"), ODD, (1, 1), "1 high and 1 wide")
    strip = encode("PNG", PICTURE.resize((WIDTH, 7)))
    yield Case("strip.png", strip, ODD, (7, WIDTH), "nothing can be detected")


def _unusual() -> Iterator[Case]:
    yield Case("png_named.jpg", encode("PNG"), NOTED, says="it is a PNG file named .jpg")
    yield Case("jpeg_named.png", encode("JPEG"), NOTED, says="it is a JPEG file named .png")
    yield Case("webp_named.jpg", encode("WEBP"), NOTED, says="WEBP")
    yield Case("cmyk.jpg", encode("JPEG", mode="CMYK"), ODD, says="CMYK")
    yield Case("cmyk.tif", encode("TIFF", mode="CMYK"), ODD, says="CMYK")
    yield Case("grey.jpg", encode("JPEG", mode="L"), NOTED, says="it is grey")
    yield Case("grey.png", encode("PNG", mode="L"), NOTED, says="it is grey")
    yield Case("black_and_white.png", encode("PNG", mode="1"), NOTED, says="it is grey")
    yield Case("palette.png", encode("PNG", mode="P"), NOTED, says="palette")
    deep = PIXELS.astype(np.uint16) * 257
    twelve_bits = PIXELS[..., 0].astype(np.uint16) * 16
    for name, pixels, expected in (
        ("16_bits.png", deep, NOTED),
        ("16_bits.tif", deep, NOTED),
        ("16_bits_grey.png", deep[..., 0], NOTED * 2),
        ("12_bits_in_16.png", twelve_bits, ODD + NOTED),
    ):
        says = "almost black" if expected[0][0] == "warning" else "16 bits a sample"
        content = cv2.imencode(Path(name).suffix, pixels)[1].tobytes()
        yield Case(name, content, expected, says=says)
    see_through = PICTURE.copy()
    see_through.putalpha(Image.fromarray(PIXELS[..., 0]))
    yield Case("transparent.png", encode("PNG", see_through), ODD, says="transparent parts")
    yield Case("transparent.webp", encode("WEBP", see_through), ODD, says="transparent parts")
    palette = encode("PNG", PICTURE.convert("P"), transparency=bytes(256))
    yield Case("transparent_palette.png", palette, NOTED + ODD)
    frames = {"save_all": True, "append_images": [PICTURE.rotate(180)]}
    yield Case("animated.png", encode("PNG", **frames), ODD, says="2 frames")
    yield Case("pages.tif", encode("TIFF", **frames), ODD, says="2 frames or pages")
    black = Image.new("RGB", (WIDTH, HEIGHT))
    yield Case("black.png", encode("PNG", black), ODD, says="all pixels are [0, 0, 0]")
    grey_png = encode("PNG", mode="L")
    yield Case("two_things.jpg", grey_png, NOTED * 2)
    yield Case("three_things.jpg", grey_png, WRONG_SIZE + NOTED * 2, size=(1, 1))


def _since_opencv_5() -> Iterator[Case]:
    """What OpenCV 4 does not decode, or not so."""
    frames = {"save_all": True, "append_images": [PICTURE.rotate(180)]}
    yield Case("exif_6.webp", _oriented("WEBP", 6), (("error", "exif_rotated"),))
    yield Case("animated.webp", encode("WEBP", **frames), ODD, says="2 frames")
    yield Case("animated.gif", encode("GIF", **frames), ODD, says="2 frames")
    yield Case("still.gif", encode("GIF"), SOUND)
    yield Case("sound.avif", encode("AVIF"), SOUND)
    gif = encode("GIF")
    yield Case("cut.gif", gif[: len(gif) // 2], CORRUPT)


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def _oriented(kind: str, orientation: int) -> bytes:
    return encode(kind, exif=_orientation(orientation))


def _spoilt(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :]


def _header_of_jpeg(side: int) -> bytes:
    """A small JPEG whose header says that it is large."""
    content = encode("JPEG")
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", side, side) + content[place + 4 :]


def _png(width: int, height: int, rows: bytes, bits: int = 8) -> bytes:
    """A PNG put together by hand: RGB, or grey of fewer bits."""
    colour = 2 if bits == 8 else 0
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


CASES: tuple[Case, ...] = (
    *_sound(),
    *_sizes(),
    *_exif(),
    *_corrupt(),
    *_huge(),
    *_unusual(),
    *(_since_opencv_5() if cv2.__version__ >= "5" else ()),
)
