"""Mask probabilities put back where their boxes are, as bitmaps or straight as COCO's RLE.

Only the window around a box is computed, at no time a whole image for more than one mask. Every
arithmetic operation is numpy's and rounds by itself, so a pixel depends neither on the number of
threads nor on what else is pasted. Letters: n masks, m their side, H, W image size, h, w window
size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

PasteRule = Literal["sample", "resize"]


class _Span(NamedTuple):
    """A window along one axis: its first pixel, and each pixel's place in the padded mask."""

    start: int
    places: np.ndarray  # float32, 0 for the padding's first row, m + 1 for its last


class _Window(NamedTuple):
    """The part of an image that a mask can reach."""

    pixels: np.ndarray  # (w, h) bool: columns first, as COCO's RLE goes
    left: int
    top: int


def paste_masks(
    masks: Tensor,
    boxes: Tensor,
    size: tuple[int, int],
    threshold: float = 0.5,
    rule: PasteRule = "sample",
) -> Tensor:
    """Put mask probabilities back where their boxes are.

    The result takes n * H * W bytes; :func:`paste_and_encode` does without.

    Args:
        masks: (n, m, m) probabilities.
        boxes: (n, 4) xyxy, pixels of the image to paste into.
        size: (H, W) of that image.
        threshold: a pixel belongs to the mask from this probability on.
        rule: 'sample' interpolates at the centre of every pixel (MMDetection); 'resize' stretches
            the mask to whole pixels (torchvision).

    Returns:
        (n, H, W) bool, on the CPU.
    """
    out = np.zeros((len(masks), *size), dtype=bool)
    windows = _windows(masks, boxes, size, threshold, rule)
    for canvas, (pixels, left, top) in zip(out, windows, strict=True):
        width, height = pixels.shape
        canvas[top : top + height, left : left + width] = pixels.T
    return torch.from_numpy(out)


def paste_and_encode(
    masks: Tensor,
    boxes: Tensor,
    size: tuple[int, int],
    threshold: float = 0.5,
    rule: PasteRule = "sample",
) -> list[bytes]:
    """What pycocotools encodes of the pasted masks, without making them.

    Args:
        masks, boxes, size, threshold, rule: see :func:`paste_masks`.

    Returns:
        n compressed COCO RLE strings.
    """
    rles = [
        {"size": size, "counts": _run_lengths(window, size)}
        for window in _windows(masks, boxes, size, threshold, rule)
    ]
    return [rle["counts"] for rle in coco_mask.frPyObjects(rles, *size)] if rles else []


def _windows(
    masks: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float, rule: PasteRule
) -> Iterator[_Window]:
    side = masks.shape[-1]
    padded = np.zeros((side + 2, side + 2), dtype=np.float32)
    for mask, box in zip(masks.cpu(), boxes.float().cpu().numpy(), strict=True):
        # Converted one by one: torch would call more threads for all of them.
        padded[1:-1, 1:-1] = mask.float().numpy()
        yield _paste(padded, box, size, threshold, rule)


def _paste(
    padded: np.ndarray, box: np.ndarray, size: tuple[int, int], threshold: float, rule: PasteRule
) -> _Window:
    find_span = _sampled_span if rule == "sample" else _resized_span
    side = len(padded) - 2
    left, columns = find_span(box[0], box[2], size[1], side)
    top, rows = find_span(box[1], box[3], size[0], side)
    stretched = _interpolate(padded, rows)  # (h, m + 2)
    values = _interpolate(np.ascontiguousarray(stretched.T), columns)  # (w, h)
    return _Window(values >= threshold, left, top)


def _sampled_span(low: np.float32, high: np.float32, limit: int, side: int) -> _Span:
    start, stop = max(math.floor(low) - 1, 0), min(math.ceil(high) + 1, limit)
    centers = np.arange(start, stop, dtype=np.float32) + np.float32(0.5)
    if high == low:  # all of it is the middle of the mask, as in MMDetection
        return _Span(start, np.full(len(centers), (side + 1) / 2, dtype=np.float32))
    places = (centers - low) / (high - low) * np.float32(side) + np.float32(0.5)
    return _Span(start, np.clip(places, 0, side + 1))


def _resized_span(low: np.float32, high: np.float32, limit: int, side: int) -> _Span:
    grow = np.float32((side + 2) / side)  # as the padding belongs to the mask here
    center, half = (low + high) / np.float32(2), (high - low) / np.float32(2) * grow
    first, last = int(center - half), int(center + half)
    length = max(last - first + 1, 1)
    start, stop = max(first, 0), min(first + length, limit)
    centers = np.arange(start - first, stop - first, dtype=np.float32) + np.float32(0.5)
    places = centers * np.float32((side + 2) / length) - np.float32(0.5)
    return _Span(start, np.clip(places, 0, side + 1))


def _interpolate(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Rows of (k, c) values at fractional places in 0..k-1, each from its two neighbours."""
    below = np.minimum(places.astype(np.intp), len(values) - 2)
    share = (places - below).astype(np.float32)
    out = (values[1:] - values[:-1]).take(below, axis=0)
    out *= share[:, None]
    out += values.take(below, axis=0)
    return out


def _run_lengths(window: _Window, size: tuple[int, int]) -> np.ndarray:
    """Lengths of the image's runs of zeros and ones in turn, (runs,) uint32, by columns."""
    height, width = size
    w, h = window.pixels.shape
    # A zero below each column ends its run, unless the window, and with it the run, goes on at the
    # top of the next column. A zero before and one after all of them stand for the image.
    column = h + (h < height)
    line = np.zeros(w * column + 2, dtype=bool)
    line[1:-1].reshape(w, column)[:, :h] = window.pixels
    x, y = np.divmod(np.flatnonzero(line[1:] != line[:-1]), column)
    ends = np.empty(len(x) + 1, dtype=np.uint32)
    ends[:-1] = (window.left + x) * height + window.top + y
    ends[-1] = height * width
    lengths = ends.copy()
    lengths[1:] -= ends[:-1]
    return lengths if lengths[-1] else lengths[:-1]
