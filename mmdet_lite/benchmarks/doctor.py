"""How long annotation files take to be checked, and the memory that this takes.

Every turn is a process of its own, as a user starts it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from mmdet_lite.benchmarks.rows import Row

_LAUNCHER = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.call(sys.argv[2:])
seconds = time.perf_counter() - started
used = resource.getrusage(resource.RUSAGE_CHILDREN)
unit = 1 if sys.platform == "darwin" else 1024
figures = [code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6]
open(sys.argv[1], "w").write(json.dumps(figures))
"""
_HEIGHT, _WIDTH = 480, 640
_CLASSES = 80
_SHAPES = 2000  # different outlines; a file of COCO's size repeats them
_POINTS = (8, 40)  # of an outline: 24 on the average, as in COCO's train2017


def benchmark_doctor(
    files: Sequence[Path], num_images: int, num_annotations: int, rounds: int
) -> list[Row]:
    """Time `mmdet-lite doctor` on annotation files, and on one that is made up.

    Args:
        files: annotation files; their images are not read.
        num_images, num_annotations: of the file that is made up.
        rounds: turns of each.

    Raises:
        ChildProcessError: a check failed; holds what it printed.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made_up.json"
        write_annotations(path, num_images, num_annotations)
        name = f"{num_images} images, {num_annotations} annotations, made up"
        cases = [*((file.name, file) for file in files), (name, path)]
        return [row for case in cases for row in _measure(*case, rounds, folder)]


def write_annotations(path: Path, num_images: int, num_annotations: int, seed: int = 0) -> None:
    """Write a sound COCO file with polygons of about COCO's number of points.

    Args:
        path: the file.
        num_images, num_annotations: how many; the latter are spread over the images at random.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    shapes = [_random_shape(rng) for _ in range(_SHAPES)]
    columns = [rng.integers(top, size=num_annotations) for top in (num_images, _CLASSES, _SHAPES)]
    annotations = ", ".join(
        f'{{"id": {i + 1}, "image_id": {image + 1}, "category_id": {label + 1}, {shapes[shape]}}}'
        for i, (image, label, shape) in enumerate(zip(*(c.tolist() for c in columns), strict=True))
    )
    size = f'"height": {_HEIGHT}, "width": {_WIDTH}'
    images = ", ".join(
        f'{{"id": {i + 1}, "file_name": "{i + 1:012d}.jpg", {size}}}' for i in range(num_images)
    )
    categories = json.dumps([{"id": i + 1, "name": f"class {i + 1}"} for i in range(_CLASSES)])
    with path.open("w") as file:
        file.write(f'{{"images": [{images}], "categories": {categories}, "annotations": [')
        file.write(annotations)
        file.write("]}")


def _random_shape(rng: np.random.Generator) -> str:
    """A star-shaped outline with its box and area, as the inside of a JSON dict."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(*_POINTS)))
    radii = rng.uniform(20, 100) * rng.uniform(0.8, 1, len(angles))
    center = rng.uniform(100, [_WIDTH - 100, _HEIGHT - 100])
    points = center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = points.round(2)
    start, end = points.min(axis=0), points.max(axis=0)
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    content = {
        "bbox": [*start.tolist(), *(end - start).round(2).tolist()],
        "area": round(float(area), 2),
        "iscrowd": 0,
        "segmentation": [points.reshape(-1).tolist()],
    }
    return json.dumps(content)[1:-1]


def _measure(name: str, path: Path, rounds: int, folder: str) -> list[Row]:
    runs = [_run(path, Path(folder)) for _ in range(rounds)]
    figures = map(median, zip(*runs, strict=True))
    settings = {"bytes": path.stat().st_size, "rounds": rounds}
    cases = (("time", "s"), ("time of the processor", "s"), ("peak memory", "MB"))
    return [
        Row(f"{name}: {case}", figure, None, "", None, unit, settings=settings)
        for (case, unit), figure in zip(cases, figures, strict=True)
    ]


def _run(path: Path, folder: Path) -> tuple[float, float, float]:
    """Seconds, processor seconds and peak MB of a process that checks a file.

    It is started by a small one: the peak that the system tells of a process is at least that of
    the one that it was forked from.
    """
    command = [sys.executable, "-m", "mmdet_lite", "doctor", "--ann", str(path)]
    said, figures = folder / "output.txt", folder / "figures.json"
    with said.open("w") as file:
        launch = [sys.executable, "-c", _LAUNCHER, str(figures), *command]
        subprocess.run(launch, stdout=file, stderr=subprocess.STDOUT, check=True)
    code, *measured = json.loads(figures.read_text())
    if code not in (0, 1, 2) or "Traceback" in said.read_text():
        text = f"{' '.join(command)} failed: it printed\n{said.read_text().strip()}"
        raise ChildProcessError(text)
    return tuple(measured)
