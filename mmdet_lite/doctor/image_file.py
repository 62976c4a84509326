"""One image file: whether training can read it, and whether it is what it seems to be."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import cv2
from PIL import Image

from mmdet_lite.data.findings import Finding
from mmdet_lite.data.image_io import decode_image, lacks_end_marker
from mmdet_lite.doctor.image_header import ImageHeader, read_header
from mmdet_lite.doctor.image_sizes import check_size
from mmdet_lite.doctor.image_traits import find_traits
from mmdet_lite.doctor.leaks import ImageDigest, digest_image

LARGEST_DECODED = 2**27  # pixels; 400 MB each as RGB
_MOST_OF_OPENCV = 2**30  # pixels
_FETCH = "Fetch the file again, or take the image out of the annotation file."
_CONVERT = "Convert it to JPEG or PNG."

# What is found in place of pictures: how the file begins, what it is, and what to do.
_IMPOSTORS = (
    (b"version https://git-lfs", "a pointer of Git LFS, not the picture", "Run `git lfs pull`."),
    (b"<!doctype html", "a web page, probably the error page of a download", _FETCH),
    (b"<html", "a web page, probably the error page of a download", _FETCH),
    (b"<svg", "an SVG drawing", _CONVERT),
    (b"<?xml", "an XML file", _FETCH),
    (b"{", "a JSON text, probably the error of a download", _FETCH),
    (b"%pdf", "a PDF document", _CONVERT),
    (b"pk\x03\x04", "a ZIP archive", "Unpack it."),
)
_BEGIN, _END = 8, 4096  # bytes of a file that are looked at beside its header
_HEIC = (b"heic", b"heix", b"hevc", b"mif1", b"msf1")

# What libjpeg says of a file when what it shows is not what was saved.
_DAMAGED = ("premature end", "bad Huffman code", "Unsupported marker", "instead of RST")
_HARMLESS = ("libpng warning", "[ WARN", "Unknown field", "iCCP")


@dataclass(frozen=True)
class ImageRecord:
    """An image that an annotation file lists.

    Args:
        id: of the image.
        path: of the file.
        size: (height, width) as listed; None where it is not known.
    """

    id: int | str
    path: str
    size: tuple[int, int] | None


@dataclass
class Inspection:
    """What was found in one file, and its digest if it could be decoded."""

    findings: list[Finding] = field(default_factory=list)
    digest: ImageDigest | None = None


def make_inspector() -> Callable[[ImageRecord], Inspection]:
    """Prepare this process for inspecting files; what decoders write on stderr is caught."""
    cv2.setNumThreads(0)  # the processes are the parallelism
    Image.MAX_IMAGE_PIXELS = None  # LARGEST_DECODED is the guard here
    sys.stderr.flush()
    heard = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the process)
    os.dup2(heard.fileno(), 2)

    def inspect(record: ImageRecord) -> Inspection:
        heard.seek(0)
        heard.truncate()
        inspection = Inspection()
        content = _read(record, inspection)
        if content is not None:
            _inspect_content(record, content, heard, inspection)
        return inspection

    return inspect


def inspect_header(record: ImageRecord) -> list[Finding]:
    """Judge an image file by its header and its end alone; what looks cut off is decoded.

    Args:
        record: of a file that is there.
    """
    inspection = Inspection()
    try:
        with open(record.path, "rb") as file, _any_number_of_pixels():
            header = read_header(file)
            num_bytes = file.seek(0, os.SEEK_END)
            file.seek(0)
            begin = file.read(_BEGIN)
            file.seek(max(num_bytes - _END, 0))
            is_whole = header is not None and not lacks_end_marker(begin + file.read())
    except OSError as error:
        return [_unreadable(record, error)]
    if header and (fault := _too_large(record, header, num_bytes)):
        return [fault]
    if is_whole:
        return check_size(record.path, record.id, record.size, header.shown_size, header)
    content = _read(record, inspection)
    if content is not None:
        try:
            decode_image(content, record.path)
        except ValueError as error:
            inspection.findings.append(_explain(record, content, error))
    return inspection.findings


@contextmanager
def _any_number_of_pixels() -> Iterator[None]:
    """Let Pillow open files that it would take for a forgery: here LARGEST_DECODED is the guard."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def corrupt(record: ImageRecord, message: str, fix: str = _FETCH) -> Finding:
    """A file that training cannot read, or not as it was saved."""
    return Finding("error", "image_corrupt", str(record.path), record.id, message, fix)


def _read(record: ImageRecord, inspection: Inspection) -> bytes | None:
    try:
        return Path(record.path).read_bytes()
    except OSError as error:
        inspection.findings.append(_unreadable(record, error))
        return None


def _unreadable(record: ImageRecord, error: OSError) -> Finding:
    text = f"the file cannot be read: {error.strerror or error}"
    return corrupt(record, text, "Correct its permissions, or fetch it.")


def _inspect_content(
    record: ImageRecord, content: bytes, heard: BinaryIO, inspection: Inspection
) -> None:
    header = read_header(content)
    if header and (fault := _too_large(record, header, len(content))):
        inspection.findings.append(fault)
        return
    try:
        image = decode_image(content, record.path)
    except ValueError as error:
        inspection.findings.append(_explain(record, content, error))
        return
    heard.seek(0)
    said = heard.read().decode("utf-8", "replace")
    inspection.findings += _complaints(record, said)
    inspection.findings += check_size(record.path, record.id, record.size, image.shape[:2], header)
    if header:
        inspection.findings += find_traits(record.path, record.id, content, image, header)
    inspection.digest = digest_image(record.id, content, image)


def _too_large(record: ImageRecord, header: ImageHeader, num_bytes: int) -> Finding | None:
    """Images that are not decoded here: they would take gigabytes, or are a forgery."""
    if header.num_pixels <= LARGEST_DECODED:
        return None
    size = f"{header.size[0]} high and {header.size[1]} wide"
    if not header.fits_in(num_bytes):
        text = f"its header says {size}, which a file of {num_bytes} bytes cannot hold"
        return corrupt(record, text)
    if header.num_pixels > _MOST_OF_OPENCV:
        return corrupt(record, f"{size}: more pixels than OpenCV decodes", "Cut it into tiles.")
    text = (
        f"{size}: {header.num_pixels / 1e6:.0f} million pixels, {3 * header.num_pixels / 1e9:.1f} "
        "GB in each worker process of the training. It was not decoded here"
    )
    return Finding(
        *("warning", "image_unusual", str(record.path), record.id, text),
        "Cut it into tiles, or store it smaller.",
    )


def _explain(record: ImageRecord, content: bytes, error: ValueError) -> Finding:
    """Why it cannot be decoded, better than a decoder would say it."""
    head = content[:64].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for beginning, what, fix in _IMPOSTORS:
        if head.startswith(beginning):
            return corrupt(record, f"it is {what} ({len(content)} bytes)", fix)
    if content[4:8] == b"ftyp" and content[8:12] in _HEIC:
        return corrupt(record, "it is a HEIC picture, which OpenCV does not decode", _CONVERT)
    if content and not content.strip(b"\0"):
        return corrupt(record, f"all its {len(content)} bytes are zero: a copy that went wrong")
    if head.startswith(b"<"):
        return corrupt(record, f"it is a text that begins with {content[:30]!r}")
    text = str(error).replace(f"image file {record.path}", "it").replace(str(record.path), "it")
    return corrupt(record, text.partition(": fetch it again")[0])


def _complaints(record: ImageRecord, said: str) -> list[Finding]:
    """What the decoder wrote on stderr about a picture that it decoded all the same."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    lines = [line for line in lines if not any(word in line for word in _HARMLESS)]
    if not lines:
        return []
    says = f"it is decoded, but the decoder says: {lines[0][:200]}."
    if any(word in line for word in _DAMAGED for line in lines):
        return [corrupt(record, f"{says} A part of the picture is grey or garbled in training")]
    text = f"{says} A part of the picture may be garbled: look at it"
    fix = "Save it anew if it looks right; else fetch it again."
    return [Finding("warning", "image_corrupt", str(record.path), record.id, text, fix)]
