"""Annotation files as bytes: good ones with something changed, and such as never were any."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

HEIGHT, WIDTH = 12, 16
_ANNOTATION = {
    "id": 1,
    "image_id": 1,
    "category_id": 3,
    "bbox": [2, 3, 6, 5],
    "area": 30,
    "iscrowd": 0,
    "segmentation": [[2, 3, 8, 3, 8, 8, 2, 8]],
}
_COUNTS = [27, 5, 7, 5, 7, 5, 136]
_COMPRESSED = coco_mask.frPyObjects({"size": [HEIGHT, WIDTH], "counts": _COUNTS}, HEIGHT, WIDTH)
GOOD = {
    "images": [
        {"id": 1, "file_name": "one.png", "height": HEIGHT, "width": WIDTH},
        {"id": 2, "file_name": "two.png", "height": HEIGHT, "width": WIDTH},
    ],
    "categories": [{"id": 3, "name": "rose"}, {"id": 5, "name": "tulip"}],
    "annotations": [
        _ANNOTATION,
        _ANNOTATION | {"id": 2, "segmentation": {"size": [HEIGHT, WIDTH], "counts": _COUNTS}},
        _ANNOTATION
        | {
            "id": 3,
            "iscrowd": 1,
            "segmentation": {
                "size": [HEIGHT, WIDTH],
                "counts": _COMPRESSED["counts"].decode(),
            },
        },
    ],
}

_numbers = st.one_of(
    st.integers(-3, 30),
    st.sampled_from([2**31, 2**32, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400, -(10**400)]),
    st.floats(),
    st.sampled_from([1e308, -1e308, 1e-320]),
)
_texts = st.one_of(
    st.sampled_from(["", "one.png", "../one.png", "/", "a\0b", "\ud800", "x" * 5000, "rose", "1"]),
    st.text(max_size=20),
)
_deep = st.integers(1, 3).map(lambda n: json.loads("[" * 10**n + "]" * 10**n) if n < 3 else [[]])
_junk = st.recursive(
    st.one_of(st.none(), st.booleans(), _numbers, _texts, _deep),
    lambda inner: st.one_of(
        st.lists(inner, max_size=8),
        st.dictionaries(st.sampled_from(["id", "size", "counts", "bbox", "x"]), inner, max_size=3),
    ),
    max_leaves=8,
)


@st.composite
def annotation_files(draw: st.DrawFn) -> bytes:
    """The content of a file."""
    kind = draw(st.sampled_from(["structure", "structure", "masks", "masks", "text", "bytes"]))
    if kind == "bytes":
        return draw(st.one_of(st.binary(max_size=200), _nested()))
    content = copy.deepcopy(GOOD)
    if kind == "structure":
        for _ in range(draw(st.integers(1, 4))):
            _change_something(draw, content)
    if kind == "masks":
        for annotation in content["annotations"]:
            annotation["segmentation"] = draw(_masks())
    data = json.dumps(content).encode()
    return _spoil(draw, data) if kind == "text" else data


def _nested() -> st.SearchStrategy[bytes]:
    openings = st.sampled_from([b"[", b'{"a":', b'{"images":['])
    return st.builds(lambda text, n: text * n, openings, st.sampled_from([10, 1000, 100_000]))


def _change_something(draw: st.DrawFn, content: Any) -> None:
    """Replace, remove or repeat a value at a random place."""
    here = content
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        goes_on = isinstance(here[key], (dict, list)) and draw(st.integers(0, 4))
        if not goes_on:
            break
        here = here[key]
    change = draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
    if change == "replace":
        here[key] = draw(_junk)
    elif change == "remove":
        del here[key]
    elif isinstance(here, list):
        here.append(copy.deepcopy(here[key]))


def _spoil(draw: st.DrawFn, data: bytes) -> bytes:
    """Change bytes, as a broken disk or transfer does."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        stop = draw(st.integers(start, min(len(data), start + 20)))
        data = data[:start] + draw(st.binary(max_size=10)) + data[stop:]
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data


@st.composite
def _masks(draw: st.DrawFn) -> Any:
    """A segmentation that may be right."""
    kind = draw(st.sampled_from(["text", "text", "spoilt text", "counts", "polygons", "junk"]))
    if kind == "junk":
        return draw(_junk)
    if kind == "polygons":
        return draw(st.lists(st.lists(_numbers, max_size=9), max_size=3))
    size = draw(st.sampled_from([[HEIGHT, WIDTH]] * 8 + [[WIDTH, HEIGHT], [0, 0], [2**31, 2]]))
    if kind == "counts":
        numbers = st.integers(0, HEIGHT * WIDTH) if draw(st.booleans()) else _numbers
        counts: Any = draw(st.lists(numbers, max_size=12))
        if draw(st.booleans()) and all(isinstance(number, int) for number in counts):
            counts.append(HEIGHT * WIDTH - sum(counts))
        return {"size": size, "counts": counts}
    if kind == "spoilt text":
        return {"size": size, "counts": _spoil(draw, _COMPRESSED["counts"]).decode("latin-1")}
    codes = st.integers(48, 111) if draw(st.booleans()) else st.integers(0, 300)
    return {"size": size, "counts": "".join(map(chr, draw(st.lists(codes, max_size=40))))}


def decode_slowly(counts: str | list[int], size: tuple[int, int]) -> np.ndarray:
    """What run lengths mean, number by number, in Python's integers: (H, W) uint8.

    Raises:
        ValueError: they are not those of a bitmap of this size.
    """
    runs = counts if isinstance(counts, list) else _read_slowly(counts)
    if min(runs, default=0) < 0 or sum(runs) != size[0] * size[1]:
        raise ValueError(f"runs {runs} are not those of {size}")
    values = np.arange(len(runs)) % 2
    return np.repeat(values, runs).reshape(size[::-1]).T.astype(np.uint8)


def _read_slowly(text: str) -> list[int]:
    runs: list[int] = []
    value = place = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise ValueError(f"{character!r} is no character of counts")
        value += (code & 31) << place
        place += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << place
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = place = 0
    if place:
        raise ValueError("the last run is cut off")
    return runs
