"""Images from folders, patterns, videos, lists and batches, one after the other."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import PIL.Image

from mmdet_lite.data.picture import ACCEPTED, Picture, describe, to_path
from mmdet_lite.data.video import VIDEO_SUFFIXES, Video
from mmdet_lite.near_files import where_missing

IMAGE_SUFFIXES = (".bmp", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def is_one(images: Any) -> bool:
    """Whether something is a single image, and not a folder, a video or several images."""
    if isinstance(images, (str, Path)):
        path = to_path(images)
        return path.is_file() and path.suffix.lower() not in VIDEO_SUFFIXES
    return isinstance(images, (Picture, PIL.Image.Image)) or getattr(images, "ndim", 4) in (2, 3)


def each_image(images: Any) -> Iterator[Any]:
    """Take folders, videos, lists and batches apart.

    Args:
        images: an image, or several, see the message of the TypeError.

    Returns:
        What :func:`mmdet_lite.data.picture.to_picture` takes, one an image.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there are no images in a folder, or a video cannot be read.
        TypeError: ``images`` is something else.
    """
    if isinstance(images, (str, Path)):
        files = find_files(images, (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES), "images or videos")
        return (item for file in files for item in _items_of(file))
    if is_one(images):
        return iter([images])
    if isinstance(images, Iterable) and not isinstance(images, (bytes, dict)):
        return (item for image in images for item in _flattened(image))
    raise TypeError(f"expected {ACCEPTED}; got {describe(images)}")


def _flattened(image: Any) -> Iterator[Any]:
    return iter([image]) if is_one(image) else each_image(image)


def _items_of(file: Path) -> Iterable[Any]:
    return Video(str(file)) if file.suffix.lower() in VIDEO_SUFFIXES else [file]


def find_files(source: str | Path, suffixes: tuple[str, ...], what: str) -> list[Path]:
    """The files that a path stands for, sorted.

    Args:
        source: a file, whatever its suffix; a folder, with those in it; a pattern with ``*``, ``?``
            or ``**``; or a file:// URL of these.
        suffixes: of the files to look for in folders, in lower case.
        what: these files in a word, for messages.

    Raises:
        FileNotFoundError: there is no such file, or none of the pattern.
        ValueError: there are none in a folder, or the URL is of another kind.
    """
    path = to_path(source)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes)
        files = [file for file in files if file.is_file()]
        if not files:
            raise ValueError(
                f"no {what} in the folder {str(path)!r} and the folders in it; looked for files "
                f"that end in {', '.join(suffixes)}"
            )
        return files
    if path.exists():  # also a pipe or a device
        return [path]
    if glob.has_magic(str(source)):
        files = [Path(file) for file in sorted(glob.glob(str(path), recursive=True))]
        if files := [file for file in files if file.is_file()]:
            return files
        raise FileNotFoundError(f"no file matches {str(source)!r} (from {Path.cwd()})")
    raise FileNotFoundError(f"{str(source)!r} does not exist {where_missing(path)}")
