"""All image files of a data set: each is read once, in parallel, as training reads it."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdet_lite.data.findings import Finding
from mmdet_lite.doctor.image_file import ImageRecord, Inspection, corrupt, make_inspector
from mmdet_lite.doctor.isolation import Lost, run_isolated
from mmdet_lite.doctor.leaks import ImageDigest, find_leaks

__all__ = ["ImageRecord", "ImageReport", "check_images", "find_leaks", "find_unlisted"]

_TIMEOUT_S = 60.0  # for one image
_IMAGE_EXTENSIONS = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"),
    *(".avif", ".jp2", ".ppm", ".pgm"),
}


@dataclass
class ImageReport:
    """What was found in image files.

    Args:
        findings: in the order of the images.
        digests: by path, of the images that can be decoded.
    """

    findings: list[Finding]
    digests: dict[str, ImageDigest]


def check_images(
    records: Sequence[ImageRecord],
    num_workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageReport:
    """Read every image file once, and judge it by what training would make of it.

    The files are read in processes of their own. One that crashes a decoder, or keeps it busy for
    longer than a minute, becomes a finding.

    Args:
        records: the images, as an annotation file lists them.
        num_workers: processes; None: as many as there are cores.
        progress: called with the number of images done and of all.

    Raises:
        ValueError: ``num_workers`` is less than 1.
    """
    num_workers = _count_cores() if num_workers is None else num_workers
    if num_workers < 1:
        raise ValueError(f"check_images: num_workers must be at least 1, got {num_workers}")
    results: list[Inspection | None] = [None] * len(records)
    present = []
    folders: dict[Path, dict[str, str]] = {}
    for index, record in enumerate(records):
        if os.path.isfile(record.path):
            present.append(index)
        else:
            results[index] = Inspection([_missing(record, folders)])
    done = len(records) - len(present)
    given = [records[index] for index in present]
    for place, result in run_isolated(make_inspector, given, num_workers, _TIMEOUT_S):
        if isinstance(result, Lost):
            fault = corrupt(given[place], f"the decoder {result.reason} when it reads the file")
            result = Inspection([fault])
        results[present[place]] = result
        done += 1
        if progress:
            progress(done, len(records))
    return ImageReport(
        findings=[finding for result in results for finding in result.findings],
        digests={
            str(record.path): result.digest
            for record, result in zip(records, results, strict=True)
            if result.digest is not None
        },
    )


def find_unlisted(image_dir: str | Path, file_names: Iterable[str]) -> list[Finding]:
    """Find image files that no annotation file lists.

    Args:
        image_dir: folder of the images; folders in it are looked at too, hidden ones are not.
        file_names: as listed, relative to the folder; those of all splits that share it.

    Returns:
        Notes, by path; empty where the folder is not there.
    """
    listed = {os.path.normpath(name) for name in file_names}
    findings = []
    for folder, folders, files in os.walk(image_dir):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            is_image = Path(name).suffix.lower() in _IMAGE_EXTENSIONS and not name.startswith(".")
            path = os.path.join(folder, name)
            if is_image and os.path.relpath(path, image_dir) not in listed:
                text = "no annotation file lists it: it is not used, also not as background"
                fix = (
                    "Nothing, if they belong to other splits. Else list them under 'images', even "
                )
                fix += "if nothing is on them: no training and no evaluation sees them."
                findings.append(Finding("note", "image_unlisted", path, None, text, fix))
    return findings


def _missing(record: ImageRecord, folders: dict[Path, dict[str, str]]) -> Finding:
    """A file that is not there, with the one that may be meant; folders are listed once."""
    path = Path(record.path)
    if path.parent not in folders:
        folders[path.parent] = _names_in(path.parent)
    names = folders[path.parent]
    text, fix = "there is no such file", "Fetch it, correct image_dir, or take the image out."
    if path.is_dir():
        text = "it is a folder, not a file"
    elif not path.parent.is_dir():
        text, fix = f"there is no folder {path.parent}", "Correct image_dir, or the file name."
    elif near := names.get(_plain(path.name)):
        text += f"; there is {near!r}, which differs in case or in how accents are written"
        fix = "Rename the file, or correct 'file_name'."
    elif near := names.get(_plain(path.stem) + "/"):
        text += f"; there is {near!r}"
        fix = "Correct the extension in 'file_name'."
    return Finding("error", "image_missing", str(record.path), record.id, text, fix)


def _names_in(folder: Path) -> dict[str, str]:
    """Names in a folder by what they are without case; and without extension, with a slash."""
    names = {}
    for name in sorted(os.listdir(folder) if folder.is_dir() else ()):
        names[_plain(name)] = name
        names[_plain(Path(name).stem) + "/"] = name
    return names


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))  # of a container or a job, not of the machine
    return os.cpu_count() or 1
