"""The same picture in two splits, also under another name or saved anew.

Letters: N, M images of two splits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

from mmdet_lite.data.findings import Finding

_SIDE = 16  # the look of a picture is a grid of so many cells a side, a bit each
_WORDS = _SIDE * _SIDE // 64
_FEWEST_BITS = _SIDE * _SIDE // 5  # set, and not set: below that a picture is too plain to compare
_ALIKE = 20  # bits of 256 that may differ; pictures that have nothing in common differ in 128
_PAIRS_AT_ONCE = 4_000_000
_FIX = (
    "Take the picture out of one of the splits, or the figures of the evaluation are too good; "
    "split by scene, video or patient, not by picture"
)


@dataclass(frozen=True)
class ImageDigest:
    """What an image is known by.

    Args:
        id: of the image, in its annotation file.
        content: hash of the file.
        pixels: hash of what it is decoded to: the same for a PNG and a BMP of one picture.
        look: 32 bytes that change little if a picture is resized or compressed anew; empty for
            pictures that are too plain to be told apart so.
    """

    id: int | str
    content: str
    pixels: str
    look: bytes


def digest_image(id: int | str, content: bytes, image: np.ndarray) -> ImageDigest:
    """Digest an image file.

    Args:
        id: of the image.
        content: of the file.
        image: (H, W, 3) uint8 that it is decoded to.
    """
    pixels = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    pixels.update(np.ascontiguousarray(image))
    return ImageDigest(id, content_hash(content), pixels.hexdigest(), _look(image))


def content_hash(content: bytes) -> str:
    """Hash of a file's content."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def find_leaks(digests_by_split: dict[str, dict[str, ImageDigest]]) -> list[Finding]:
    """Find images that are in two splits.

    The same content or the same pixels is a warning; pictures that look alike are a note. Each
    finding is about the image of the later split and names one of the earlier.

    Args:
        digests_by_split: splits by name, as 'train' before 'val'; of each the digests by path.
    """
    findings = []
    for (name, digests), (other_name, others) in combinations(digests_by_split.items(), 2):
        findings += _compare(name, digests, other_name, others)
    return findings


def _compare(
    name: str, digests: dict[str, ImageDigest], other_name: str, others: dict[str, ImageDigest]
) -> list[Finding]:
    if others and digests.keys() == others.keys():
        text = f"all {len(others)} images of {other_name} are those of {name}, file by file"
        return [Finding("warning", "split_leak", next(iter(others)), None, text, _FIX)]
    by_content = {digest.content: path for path, digest in reversed(digests.items())}
    by_pixels = {digest.pixels: path for path, digest in reversed(digests.items())}
    alike = dict(_alike(digests, others))
    findings = []
    for path, digest in others.items():
        if path in digests:
            severity, what = "warning", f"is in {name} too"
        elif digest.content in by_content:
            twin = by_content[digest.content]
            severity, what = "warning", f"is a copy of {twin} (id {digests[twin].id}) of {name}"
        elif digest.pixels in by_pixels:
            twin = by_pixels[digest.pixels]
            severity = "warning"
            what = f"has the very pixels of {twin} (id {digests[twin].id}) of {name}"
        elif path in alike:
            twin = alike[path]
            severity = "note"
            what = f"looks like {twin} (id {digests[twin].id}) of {name}: saved anew, or a frame"
            what += " of the same video?"
        else:
            continue
        text = f"image {digest.id} of {other_name} {what}"
        findings.append(Finding(severity, "split_leak", path, digest.id, text, _FIX))
    return findings


def _alike(
    digests: dict[str, ImageDigest], others: dict[str, ImageDigest]
) -> Iterator[tuple[str, str]]:
    """Paths of ``others`` that look like one of ``digests``, with the path of the likest."""
    looks, paths = _stack(digests)  # (N, 4)
    other_looks, other_paths = _stack(others)  # (M, 4)
    if not len(looks):
        return
    step = max(_PAIRS_AT_ONCE // len(looks), 1)
    for start in range(0, len(other_looks), step):
        part = other_looks[start : start + step]
        # Most pairs are told apart by the first of the four words.
        near = _count_bits(part[:, None, 0] ^ looks[None, :, 0]) <= _ALIKE
        rows, columns = np.nonzero(near)
        distances = _count_bits(part[rows] ^ looks[columns]).sum(axis=1)
        for place in np.argsort(-distances, kind="stable").tolist():  # the likest comes last
            if distances[place] <= _ALIKE:
                yield other_paths[start + rows[place]], paths[columns[place]]


def _stack(digests: dict[str, ImageDigest]) -> tuple[np.ndarray, list[str]]:
    """(N, 4) uint64, and the paths of the images that have a look."""
    paths = [path for path, digest in digests.items() if digest.look]
    words = np.frombuffer(b"".join(digests[path].look for path in paths), np.uint64)
    return words.reshape(-1, _WORDS), paths


def _look(image: np.ndarray) -> bytes:
    """Whether each cell of a coarse grid is lighter than the cell to its right."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (_SIDE + 1, _SIDE), interpolation=cv2.INTER_AREA).astype(np.int16)
    bits = cells[:, :-1] > cells[:, 1:]
    if not _FEWEST_BITS <= bits.sum() <= bits.size - _FEWEST_BITS:
        return b""
    return np.packbits(bits).tobytes()


_BITS = np.array([bin(value).count("1") for value in range(256)], np.uint8)


def _count_bits(words: np.ndarray) -> np.ndarray:
    """How many bits of each uint64 are set."""
    if hasattr(np, "bitwise_count"):  # NumPy 2
        return np.bitwise_count(words)
    as_bytes = np.ascontiguousarray(words)[..., None].view(np.uint8)
    return _BITS[as_bytes].sum(axis=-1, dtype=np.uint8)
