"""COCO's run-length encoding, drawn where the object is and nowhere else.

Runs go down the columns of the image, from the left one to the right one; the first is of zeros.
"""

from __future__ import annotations

import cv2
import numpy as np


def read_counts(counts: bytes) -> np.ndarray:
    """The lengths of the runs that a compressed RLE's ``counts`` stand for.

    Args:
        counts: groups of five bits, the lowest first, a character each, which says too whether
            more follow. From the fourth run on it is the difference to the last but one before.

    Returns:
        (runs,) int64, pixels.
    """
    codes = np.frombuffer(counts, dtype=np.uint8) - 48
    ends = np.flatnonzero(codes & 32 == 0) + 1
    starts = np.concatenate([[0], ends[:-1]])
    place = 5 * (np.arange(len(codes)) - np.repeat(starts, ends - starts))
    values = np.add.reduceat((codes & 31).astype(np.int64) << place, starts)
    values -= (codes[ends - 1] & 16).astype(np.int64) << (place[ends - 1] + 1)  # the sign
    values[1::2] = values[1::2].cumsum()
    values[2::2] = values[2::2].cumsum()
    return values


def draw_rle(rle: dict, bitmap: np.ndarray) -> None:
    """Set the pixels of a mask to 1; the others are not touched.

    Args:
        rle: compressed COCO RLE.
        bitmap: (H, W) uint8 of the RLE's size.
    """
    if (found := _window(rle)) is not None:
        top, left, window = found
        bitmap[top : top + window.shape[0], left : left + window.shape[1]] |= window


def pack_rle(rle: dict, bits: np.ndarray) -> None:
    """Set the bits of a mask's pixels, as :func:`draw_rle` does with bytes.

    Args:
        rle: compressed COCO RLE.
        bits: (H, ceil(W / 8)) uint8, or larger: eight pixels a byte, as of ``numpy.packbits``.
    """
    if (found := _window(rle, align=8)) is not None:
        top, left, window = found
        packed = np.packbits(window, axis=1)
        bits[top : top + packed.shape[0], left // 8 : left // 8 + packed.shape[1]] |= packed


def _window(rle: dict, align: int = 1) -> tuple[int, int, np.ndarray] | None:
    """Top row, left column and pixels (h, w) uint8 of the part that holds the whole object, from a
    multiple of ``align`` columns on; None if there is no pixel.

    pycocotools decodes the whole image, and what it gives lies column by column. Here only the
    columns of the object are decoded, and only its rows are written: most objects are small, and
    pages of a new bitmap that nothing is written to cost nothing.
    """
    height = rle["size"][0]
    runs = read_counts(rle["counts"])
    runs = runs[: len(runs) // 2 * 2]  # up to the last one of ones
    end = int(runs.sum())
    if not end:
        return None
    left, right = int(runs[0]) // height // align * align, -(-end // height)
    runs = np.append(runs, right * height - end)
    runs[0] -= left * height
    columns = (np.arange(len(runs)) % 2).astype(np.uint8).repeat(runs).reshape(-1, height)
    rows = np.flatnonzero(np.bitwise_or.reduce(columns, axis=0))
    if not len(rows):
        return None
    top, below = int(rows[0]), int(rows[-1]) + 1
    return top, left, cv2.transpose(columns[:, top:below])
