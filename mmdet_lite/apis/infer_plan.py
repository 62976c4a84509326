"""What ``mmdet-lite infer`` reads and where it writes, settled before anything is computed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdet_lite.data.image_sources import IMAGE_SUFFIXES, find_files
from mmdet_lite.data.video import VIDEO_SUFFIXES, is_camera

JSON_NAME = "detections.json"
_WRITTEN_AS_THEY_ARE = (".jpg", ".jpeg", ".png", ".mp4")
_LISTED = 5


@dataclass
class Plan:
    """Inputs, and the file that is written for each.

    Attributes:
        out: the folder that is written to.
        base: the folder that all input files have in common; names in outputs are relative to it.
        images, videos: input file -> output file.
        cameras: number or /dev/videoN -> output file.
        json: the file for all detections, or None.
    """

    out: Path
    base: Path
    images: dict[Path, Path]
    videos: dict[Path, Path]
    cameras: dict[str | int, Path]
    json: Path | None

    def outputs(self) -> list[Path]:
        """All files that are to be written."""
        files = [*self.images.values(), *self.videos.values(), *self.cameras.values()]
        return files if self.json is None else [*files, self.json]

    def name(self, file: Path) -> str:
        """An input file relative to ``base``, with slashes."""
        return Path(os.path.abspath(file)).relative_to(self.base).as_posix()


def make_plan(inputs: Sequence[str], out: Path, with_json: bool, overwrite: bool) -> Plan:
    """Find the inputs and choose different names for the outputs.

    The folders below what all inputs have in common are kept. What is not written in its own format
    gets a second suffix: a.bmp becomes a.bmp.png.

    Args:
        inputs: files, folders, patterns, file:// URLs, numbers of cameras, /dev/videoN.
        out: folder of the outputs.
        with_json: plan a file for all detections.
        overwrite: outputs may exist.

    Raises:
        FileNotFoundError: there is no such file.
        FileExistsError: outputs exist, and may not.
        ValueError: a folder has neither images nor videos, or an output would replace an input.
    """
    cameras = [source for text in inputs if (source := _camera(text)) is not None]
    patterns = [text for text in inputs if _camera(text) is None]
    suffixes = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    found = [file for text in patterns for file in find_files(text, suffixes, "images or videos")]
    by_place = {os.path.abspath(file): file for file in reversed(found)}  # each file once
    files = [file for file in dict.fromkeys(found) if by_place[os.path.abspath(file)] == file]
    base = Path(os.path.commonpath([Path(p).parent for p in by_place]) if by_place else Path.cwd())
    taken: set[Path] = set()
    plan = Plan(out, base, {}, {}, {}, out / JSON_NAME if with_json else None)
    for file in files:
        is_video = file.suffix.lower() in VIDEO_SUFFIXES
        is_kept = file.suffix.lower() in _WRITTEN_AS_THEY_ARE
        suffix = "" if is_kept else ".mp4" if is_video else ".png"
        targets = plan.videos if is_video else plan.images
        targets[file] = _free(out / (plan.name(file) + suffix), taken)
    for camera in dict.fromkeys(cameras):
        number = str(camera).removeprefix("/dev/video")
        plan.cameras[camera] = _free(out / f"camera_{number}.mp4", taken)
    _check_outputs(plan, out, overwrite)
    return plan


def _camera(text: str) -> str | int | None:
    """The camera that an input names, or None: a file may be called 0 too."""
    if is_camera(text):
        return text
    return int(text) if text.isdecimal() and not Path(text).exists() else None


def _free(path: Path, taken: set[Path]) -> Path:
    """A name that no other output has."""
    free, number = path, 2
    while free in taken:
        free, number = path.with_name(f"{path.stem}_{number}{path.suffix}"), number + 1
    taken.add(free)
    return free


def _check_outputs(plan: Plan, out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"--out {str(out)!r} is a file, expected a folder")
    present = [path for path in plan.outputs() if path.exists()]
    sources = {os.path.realpath(file) for file in (*plan.images, *plan.videos)}
    if lost := [path for path in present if os.path.realpath(path) in sources]:
        raise ValueError(
            f"would replace inputs by pictures of them: {_listed(lost)}; give another --out"
        )
    if present and not overwrite:
        count = f"{len(present)} of {len(plan.outputs())}"
        raise FileExistsError(
            f"{count} files to write exist: {_listed(present)}; give another --out, or --overwrite"
        )


def _listed(paths: Iterable[Path]) -> str:
    names = [str(path) for path in paths]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
