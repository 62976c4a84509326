"""The process that is risked: reads one annotation file after another, and says where one is not
refused or used as it should be."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from fuzz_inputs import HEIGHT, WIDTH, annotation_files, decode_slowly
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as use_seed

from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.structures.masks import tight_boxes

_MEMORY = 2 << 30  # bytes more than after the start
_ROUND = 500  # examples from one seed
_LIMITS = settings(
    max_examples=_ROUND,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def check_file(path: Path, image_dir: Path) -> Counter:
    """Read a file in every way; nothing but a report of what is wrong with it may come of it.

    Returns:
        How often it was refused and used.

    Raises:
        AssertionError, or whatever else comes of it: something is wrong with the reader.
    """
    outcomes = Counter()
    for with_masks in (False, True):
        for bad in ("error", "skip"):
            try:
                dataset = CocoDataset(
                    str(path), str(image_dir), with_masks=with_masks, bad_annotations=bad
                )
            except ValueError as error:
                assert type(error) is ValueError and str(path) in str(error), repr(error)
                str(error).encode()  # can be shown
                outcomes["refused"] += 1
                continue
            _use(dataset)
            outcomes["used"] += 1
    return outcomes


def _use(dataset: CocoDataset) -> None:
    truth = dataset.coco_dict()
    json.dumps(truth, allow_nan=False)
    values = {a["id"]: a.get("segmentation") for a in truth["annotations"]}
    for index in range(len(dataset)):
        try:
            sample = dataset.load(index)
        except ValueError as error:  # it is of another size than the file says
            assert f"image id {dataset.table.image_ids[dataset.rows[index]]}" in str(error)
            continue
        assert np.isfinite(sample.boxes).all() and len(sample.boxes) == len(sample.labels)
        if sample.masks is None:
            continue
        bitmaps = sample.masks.bitmaps()
        tight_boxes(bitmaps)
        for key, bitmap in zip(sample.annotation_ids.tolist(), bitmaps, strict=True):
            assert bitmap.max(initial=0) <= 1
            if isinstance(values[key], dict):
                expected = decode_slowly(values[key]["counts"], sample.size)
                np.testing.assert_array_equal(bitmap, expected)


def write_images(folder: Path) -> Path:
    """The images that the files speak of."""
    folder.mkdir(exist_ok=True)
    for name in ("one.png", "two.png"):
        cv2.imwrite(str(folder / name), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return folder


def run(folder: Path, seed: int, seconds: float, least: int = 1) -> None:
    """Try files until the time is over, but ``least`` at least; the last one is ``input.json`` in
    the folder."""
    images, path, outcomes = write_images(folder / "images"), folder / "input.json", Counter()
    end = time.monotonic() + seconds

    def is_over() -> bool:
        return outcomes["files"] >= least and time.monotonic() > end

    while not is_over():

        @use_seed(seed)
        @_LIMITS
        @given(annotation_files())
        def try_files(data: bytes) -> None:
            if is_over():
                return
            path.write_bytes(data)
            outcomes.update(check_file(path, images))
            outcomes["files"] += 1
            (folder / "outcomes.json").write_text(json.dumps(outcomes))

        try_files()
        seed += 1


def _limit_memory() -> None:
    import resource  # which Windows does not have

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--file", type=Path, help="read this one only")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    _limit_memory()
    if args.file:
        print(dict(check_file(args.file, write_images(args.folder / "images"))))
    else:
        run(args.folder, args.seed, args.seconds)
