"""Whether run lengths can be decoded: what pycocotools is given unchecked may end the process.

Letters: n encodings, c characters of all of them, r runs of all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mmdet_lite.data.problems import show

_CHARACTERS = 1 << 22  # of how many at once
_LONGEST = 7  # characters of a run: 35 bits, and pycocotools keeps 32
_LARGEST = 2**32  # pixels


def rle_fault(rle: dict, size: Sequence[int]) -> str | None:
    """What is wrong with an RLE of an image of (height, width) ``size``, but for the characters.

    A string of ``counts`` is looked at by :func:`count_faults`.
    """
    if rle.get("size") != list(size):
        return f"an RLE of size {show(rle.get('size'))}, expected the image's [height, width] " + (
            f"[{size[0]}, {size[1]}]"
        )
    counts, num_pixels = rle.get("counts"), size[0] * size[1]
    if isinstance(counts, str) and counts:
        return None
    if not isinstance(counts, list) or set(map(type, counts)) != {int}:
        return f"an RLE whose counts are {show(counts)}, expected integers or a string"
    if min(counts) < 0:
        return f"an RLE with a run of {show(min(counts))} pixels"
    return _sum_fault(sum(counts), num_pixels)


def count_faults(counts: Sequence[bytes], num_pixels: np.ndarray) -> dict[int, str]:
    """What is wrong with the ``counts`` of compressed RLEs.

    Args:
        counts: n of them.
        num_pixels: (n,) height times width of each one's image.

    Returns:
        Those that cannot be decoded to so many pixels: index to what is wrong.
    """
    faults = {}
    for start, stop in _chunks(counts):
        found = _count_faults(counts[start:stop], num_pixels[start:stop])
        faults |= {start + row: fault for row, fault in found.items()}
    return faults


def _chunks(counts: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    start = characters = 0
    for row, text in enumerate(counts):
        characters += len(text)
        if characters > _CHARACTERS and row > start:
            yield start, row
            start, characters = row, len(text)
    if start < len(counts):
        yield start, len(counts)


def _count_faults(counts: Sequence[bytes], num_pixels: np.ndarray) -> dict[int, str]:
    faults = {row: "an RLE whose counts are empty" for row, text in enumerate(counts) if not text}
    rows = np.array([row for row, text in enumerate(counts) if text], np.int64)
    if not len(rows):
        return faults
    lengths = np.array([len(counts[row]) for row in rows])
    codes = np.frombuffer(b"".join(counts), np.uint8).astype(np.int64) - 48  # (c,)
    starts = np.concatenate([[0], lengths.cumsum()[:-1]])
    outside = np.logical_or.reduceat((codes < 0) | (codes > 63), starts)
    is_last = codes & 32 == 0  # of a run
    cut = ~is_last[starts + lengths - 1]
    is_last[starts + lengths - 1] = True  # what is cut must not flow into the next one
    values, run_starts, too_long = _runs(codes, is_last, starts)
    is_wrong = (values < 0) | (values >= _LARGEST) | too_long
    impossible = np.logical_or.reduceat(is_wrong, run_starts)
    totals = np.add.reduceat(values, run_starts)
    for i, row in enumerate(rows.tolist()):
        if outside[i]:
            faults[row] = "an RLE with characters that its counts cannot have"
        elif cut[i]:
            faults[row] = "an RLE whose counts are cut off"
        elif impossible[i]:
            faults[row] = "an RLE with a run of negative or impossible length"
        elif fault := _sum_fault(int(totals[i]), int(num_pixels[row])):
            faults[row] = fault
    return faults


def _runs(
    codes: np.ndarray, is_last: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lengths of all runs.

    Args:
        codes: (c,) int64, six bits each.
        is_last: (c,) bool, the last character of a run.
        starts: (n,) the first character of each encoding.

    Returns:
        (r,) int64 lengths; (n,) the first run of each encoding; (r,) bool, too many characters.
    """
    ends = np.flatnonzero(is_last)
    begins = np.concatenate([[0], ends[:-1] + 1])
    widths = ends - begins + 1
    too_long = widths > _LONGEST
    place = np.minimum(np.arange(len(codes)) - np.repeat(begins, widths), _LONGEST)
    values = np.add.reduceat((codes & 31) << 5 * place, begins)
    values -= (codes[ends] & 16) << 5 * np.minimum(widths - 1, _LONGEST) + 1  # the sign
    values[too_long] = 0
    run_starts = np.searchsorted(begins, starts)
    encoding = np.repeat(np.arange(len(starts)), np.diff(np.append(run_starts, len(ends))))
    number = np.arange(len(ends)) - run_starts[encoding]
    # From the fourth run on, the difference to the last but one: sums over every other run.
    chain = 3 * encoding + np.where(number == 0, 0, 2 - number % 2)
    order = np.argsort(chain, kind="stable")
    sums = values[order].cumsum()
    first = np.flatnonzero(np.diff(chain[order], prepend=-1))
    before = np.where(first > 0, sums[first - 1], 0)
    sums -= np.repeat(before, np.diff(np.append(first, len(sums))))
    values[order] = sums
    return values, run_starts, too_long


def _sum_fault(total: Any, num_pixels: int) -> str | None:
    if total != num_pixels:
        return f"an RLE whose counts sum to {show(total)}, expected {num_pixels} pixels"
    return None if num_pixels < _LARGEST else f"an RLE of {num_pixels} pixels, which are too many"
