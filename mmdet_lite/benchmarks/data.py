"""The training pipeline, ours and torchvision's, in turns on one core: from files to batches."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from mmdet_lite.benchmarks.rows import Row, Run, count_row, rate_row, take_turns, time_row
from mmdet_lite.benchmarks.torchvision_data import TorchvisionData
from mmdet_lite.data.coco_dataset import CocoDataset
from mmdet_lite.data.collate import Collate
from mmdet_lite.data.geometry import flip, resize_within
from mmdet_lite.data.loader import DetectionLoader
from mmdet_lite.data.sample import Sample
from mmdet_lite.data.samplers import EvalBatchSampler
from mmdet_lite.data.transforms import RandomFlip, Resize
from mmdet_lite.structures.masks import InstanceMasks

PEER = "torchvision"
PEER_UINT8 = "torchvision, uint8"

_EPOCHS = 3  # in the first of which buffers get their size
_PROCESSES = Path("/proc")


@dataclass(frozen=True)
class DataSource:
    """What is read, and how large it becomes.

    Attributes:
        ann_file: a COCO annotation file with masks.
        image_dir: folder of its images.
        scale: (long, short) edges that images must fit in.
        batch_size: images a batch.
        num_images: so many at most, from the start of the file; those without objects do not count.
    """

    ann_file: str
    image_dir: str
    scale: tuple[int, int] = (1333, 800)
    batch_size: int = 2
    num_images: int = 80


@dataclass(frozen=True)
class _Contenders:
    ours: CocoDataset
    peer: TorchvisionData
    peer_uint8: TorchvisionData


def benchmark_data(source: DataSource, rounds: int = 5, warmup: int = 1) -> list[Row]:
    """Time the pipeline as a whole, through a worker and stage by stage; watch a worker's memory.

    Args:
        source: what is read.
        rounds, warmup: turns of each, a pass over all images each, and before these.

    Returns:
        Rows of images a second, in this process and through one worker; of times a stage and image;
        of the memory by which a worker grows.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: the annotation file cannot be used, or no image has objects.
        AssertionError: the two pipelines do not give the same numbers of objects.
    """
    with _one_core():
        contenders = _build(source)
        _check_objects(contenders)
        settings = {**asdict(source), "num_images": len(contenders.ours), "rounds": rounds}
        rows = _pipeline_rows(contenders, source, rounds, warmup, settings)
        rows += _stage_rows(contenders, source, rounds, warmup, settings)
        return rows + _worker_rows(contenders, source, rounds, settings)


@contextmanager
def _one_core() -> Iterator[None]:
    threads, cv2_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv2_threads)


def _build(source: DataSource) -> _Contenders:
    pipeline = [Resize(source.scale), RandomFlip(0.5)]
    files = (source.ann_file, source.image_dir)
    options = {"with_masks": True, "filter_empty_gt": True, "bad_annotations": "skip"}
    ours = CocoDataset(*files, pipeline, **options)
    if not len(ours):
        raise ValueError(f"{source.ann_file}: no image has objects, there is nothing to measure")
    ours.rows = ours.rows[: source.num_images]
    ids = ours.table.image_ids[ours.rows].tolist()
    peer = [TorchvisionData(*files, ids, source.scale, as_float) for as_float in (True, False)]
    return _Contenders(ours, *peer)


def _check_objects(contenders: _Contenders) -> None:
    for index in range(min(len(contenders.ours), 8)):
        ours, (image, target) = contenders.ours[index], contenders.peer[index]
        counts = len(ours.masks), len(target["masks"])
        assert counts[0] == counts[1], f"image id {ours.image_id}: {counts} objects"
        sizes = np.array([ours.size, image.shape[-2:]])
        assert np.abs(sizes[0] - sizes[1]).max() <= 1, f"image id {ours.image_id}: sizes {sizes}"


def _pipeline_rows(
    contenders: _Contenders, source: DataSource, rounds: int, warmup: int, settings: dict
) -> list[Row]:
    """Images a second of one core that does nothing else."""
    runs = {
        "ours": partial(_make_batches, contenders.ours, source.batch_size),
        PEER: _each(contenders.peer.__getitem__, range(len(contenders.peer))),
        PEER_UINT8: _each(contenders.peer_uint8.__getitem__, range(len(contenders.peer))),
    }
    seconds = take_turns(runs, rounds, warmup)
    case, count = "files to batches, one core", len(contenders.ours)
    return [
        rate_row(case, seconds["ours"], seconds[name], name, count, "images/s", settings)
        for name in (PEER, PEER_UINT8)
    ]


def _make_batches(dataset: CocoDataset, batch_size: int) -> None:
    collate = Collate(masks="bitmaps")
    for batch in EvalBatchSampler(len(dataset), batch_size):
        collate([dataset[ref] for ref in batch])


def _stage_rows(
    contenders: _Contenders, source: DataSource, rounds: int, warmup: int, settings: dict
) -> list[Row]:
    """Milliseconds an image of each stage, all images of it one after the other."""
    ours, peer = _our_stages(contenders.ours, source), _their_stages(contenders.peer_uint8, source)
    rows, count = [], len(contenders.ours)
    for stage in ours:
        seconds = take_turns({"ours": ours[stage], "peer": peer[stage]}, rounds, warmup)
        times = ([value / count for value in seconds[name]] for name in ("ours", "peer"))
        rows.append(time_row(f"one image: {stage}", *times, PEER_UINT8, settings, unit="ms"))
    return rows


def _our_stages(dataset: CocoDataset, source: DataSource) -> dict[str, Run]:
    """By name; every second image is mirrored."""
    loaded = [dataset.load(index) for index in range(len(dataset))]
    plain = [replace(sample, masks=None) for sample in loaded]
    masks, flips = [sample.masks for sample in loaded], [bool(i % 2) for i in range(len(loaded))]

    def move(sample: Sample, is_flipped: bool) -> Sample:
        resized = resize_within(sample, source.scale, keep_ratio=True)
        return flip(resized, "horizontal") if is_flipped else resized

    moved = [move(*pair) for pair in zip(plain, flips, strict=True)]

    def rasterise(masks: InstanceMasks, target: Sample, is_flipped: bool) -> np.ndarray:
        resized = masks.resize(target.size)
        return (resized.flip("horizontal") if is_flipped else resized).bitmaps()

    return {
        "read and decode": _each(dataset.load, range(len(dataset))),
        "resize, flip": _each(move, plain, flips),
        "masks": _each(rasterise, masks, moved, flips),
        "pad to a batch": _each(Collate(), _chunks(moved, source.batch_size)),
    }


def _their_stages(dataset: TorchvisionData, source: DataSource) -> dict[str, Run]:
    """The same; its detectors pad, which is no part of its pipeline."""
    indices = range(len(dataset))
    loaded = [dataset.read(index) for index in indices]
    moved = [dataset.image_transform(image) for image in loaded]
    return {
        "read and decode": _each(dataset.read, indices),
        "resize, flip": _each(dataset.image_transform, loaded),
        "masks": _each(dataset.target, indices, loaded),
        "pad to a batch": _each(dataset.pad, _chunks(moved, source.batch_size)),
    }


def _each(function: Callable[..., Any], *columns: Sequence) -> Run:
    """Call a function with every row of arguments; what it gives is dropped."""

    def run() -> None:
        for row in zip(*columns, strict=True):
            function(*row)

    return run


def _chunks(items: list, size: int) -> list[list]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _worker_rows(
    contenders: _Contenders, source: DataSource, rounds: int, settings: dict
) -> list[Row]:
    """Images a second through one worker, its memory, and how much that grows."""
    dataset, peer = contenders.ours, contenders.peer_uint8
    sampler = EvalBatchSampler(len(dataset), source.batch_size)
    options = {"num_workers": 1, "persistent_workers": True, "collate_fn": list}
    loaders = {
        "ours": DetectionLoader(dataset, sampler, Collate(masks="bitmaps"), num_workers=1),
        "peer": DataLoader(peer, source.batch_size, **options),
    }
    rows = []
    if _PROCESSES.exists():
        ours, theirs = (_memory_by_epoch(loader) for loader in loaders.values())
        case = f"one worker: memory of its own after {_EPOCHS} epochs"
        rows.append(count_row(case, ours[-1], theirs[-1], PEER_UINT8, "MB", settings))
        case = f"one worker: growth over epochs 2 to {_EPOCHS}"
        growth = ours[-1] - ours[0], theirs[-1] - theirs[0]
        rows.append(count_row(case, *growth, PEER_UINT8, "MB", settings))
    runs = {name: partial(deque, loader, 0) for name, loader in loaders.items()}
    seconds = take_turns(runs, rounds)
    case, times = "files to batches, one worker", (seconds["ours"], seconds["peer"])
    return [rate_row(case, *times, PEER_UINT8, len(dataset), "images/s", settings), *rows]


def _memory_by_epoch(loader: DataLoader) -> list[float]:
    """What only its worker has in memory after each of some epochs, MB.

    Pages that it shares with this process do not count: if it writes to one, be it the reference
    count of an annotation, it gets a copy, which does.
    """
    others, memory = set(multiprocessing.active_children()), []
    for _ in range(_EPOCHS):
        deque(loader, maxlen=0)
        (worker,) = set(multiprocessing.active_children()) - others
        lines = (_PROCESSES / str(worker.pid) / "smaps_rollup").read_text().splitlines()
        kilobytes = [int(line.split()[1]) for line in lines if line.startswith("Private_")]
        memory.append(sum(kilobytes) * 1024 / 1e6)
    return memory
