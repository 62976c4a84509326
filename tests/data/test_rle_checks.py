"""Run lengths are decoded as pycocotools does, and what it cannot decode is found out."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmdet_lite.data import rle_checks
from mmdet_lite.data.rle_checks import count_faults, rle_fault


def random_counts(number: int, height: int = 30, width: int = 40) -> list[bytes]:
    rng = np.random.default_rng(0)
    bitmaps = [rng.random((height, width)) < rng.random() for _ in range(number)]
    return [coco_mask.encode(np.asfortranarray(b, dtype=np.uint8))["counts"] for b in bitmaps]


@pytest.mark.parametrize("at_once", [1, 700, 1 << 22])
def test_what_pycocotools_encodes_has_no_fault(at_once, monkeypatch):
    monkeypatch.setattr(rle_checks, "_CHARACTERS", at_once)
    assert count_faults(random_counts(20), np.full(20, 1200)) == {}


def test_faulty_strings_do_not_change_what_is_said_of_their_neighbours():
    good = random_counts(4)
    counts = [good[0], b"ooo", good[1], b"", good[2][:-1], b"\xff", good[3], b"1" * 3 + good[0]]
    faults = count_faults(counts, np.full(8, 1200))
    assert sorted(faults) == [1, 3, 4, 5, 7]
    assert "cut off" in faults[1] and "empty" in faults[3] and "cannot have" in faults[5]


def test_a_huge_image_is_decoded_by_its_runs():
    rle = coco_mask.frPyObjects(
        {"size": [50000, 50000], "counts": [5, 2_499_999_995]}, 50000, 50000
    )
    assert count_faults([rle["counts"]], np.array([2_500_000_000])) == {}
    assert "sum to 2500000000, expected 9" in count_faults([rle["counts"]], np.array([9]))[0]


def test_no_strings_have_no_faults():
    assert count_faults([], np.zeros(0, np.int64)) == {}


@pytest.mark.parametrize(
    ("rle", "fault"),
    [
        ({"size": [8, 5], "counts": [40]}, "an RLE of size [8, 5], expected the image's"),
        ({"size": [5, 8], "counts": [10, 29]}, "counts sum to 39, expected 40 pixels"),
        ({"size": [5, 8], "counts": [10, -1, 31]}, "a run of -1 pixels"),
        ({"size": [5, 8], "counts": ""}, "whose counts are ''"),
        ({"size": [5, 8], "counts": [40.0]}, "expected integers or a string"),
    ],
)
def test_faults_are_named(rle, fault):
    assert fault in rle_fault(rle, (5, 8))
