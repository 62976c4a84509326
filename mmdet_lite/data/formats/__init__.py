"""Data sets in other formats than COCO's, read as COCO's dict and written from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmdet_lite.data.coco_file import CocoDict
from mmdet_lite.data.formats.csv_boxes import read_csv, write_csv
from mmdet_lite.data.formats.labelme import is_labelme, read_labelme, write_labelme
from mmdet_lite.data.formats.lvis import read_coco_json
from mmdet_lite.data.formats.source import DefectsError, ReadOptions, Source
from mmdet_lite.data.formats.voc import read_voc, write_voc
from mmdet_lite.data.formats.yolo import find_yaml, read_yolo, write_yolo
from mmdet_lite.near_files import near_names

__all__ = [
    "FORMATS",
    "DefectsError",
    "ReadOptions",
    "Source",
    "read_dataset",
    "recognise",
    "write_dataset",
]


def write_coco(
    content: CocoDict, image_dir: Path, out: Path, split: str | None = None
) -> list[str]:
    """Write COCO's json file; images are not copied.

    Args:
        content: COCO's dict; keys that are not COCO's, as LVIS's, stay.
        image_dir: not used, as names of images stay what they are.
        out: the file.
        split: must be None, as the file holds one split.

    Returns:
        What could not be kept: nothing.

    Raises:
        ValueError: ``split`` is given.
    """
    if split is not None:
        raise ValueError(f"a json file has no splits, got split={split!r}; write one for each")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(content))
    return []


Reader = Callable[[Path, ReadOptions], Source]
Writer = Callable[[CocoDict, Path, Path, str | None], list[str]]


@dataclass(frozen=True)
class Format:
    """A format: its functions, and which options it has.

    Attributes:
        read: files to COCO's dict.
        write: COCO's dict to files; None: it cannot be written.
        options: names of :class:`ReadOptions` that mean something beside ``image_dir``.
        is_file: whether what is written is one file.
    """

    read: Reader
    write: Writer | None
    options: tuple[str, ...]
    is_file: bool = False


FORMATS = {
    "coco": Format(read_coco_json, write_coco, (), is_file=True),
    "lvis": Format(read_coco_json, None, (), is_file=True),
    "voc": Format(read_voc, write_voc, ("split", "classes", "skip_bad", "zero_based")),
    "yolo": Format(read_yolo, write_yolo, ("split", "skip_bad")),
    "labelme": Format(read_labelme, write_labelme, ("classes", "skip_bad")),
    "csv": Format(read_csv, write_csv, ("classes", "skip_bad"), is_file=True),
}
_RECOGNISED = """recognised are:
  coco, lvis  a .json file with 'images', 'annotations' and 'categories'
  voc         a folder with Annotations/*.xml, a list in its ImageSets/Main, or a folder of *.xml
  yolo        a data.yaml with 'names', or the folder that it is in
  labelme     a folder of *.json with 'shapes'
  csv         a .csv file of boxes"""


def read_dataset(
    path: str | Path, format: str = "auto", options: ReadOptions | None = None
) -> Source:
    """Read a data set of any known format.

    Args:
        path: its file or folder.
        format: a name of ``FORMATS``; 'auto': found out by :func:`recognise`.
        options: what the reader is told.

    Raises:
        FileNotFoundError: there is nothing there, or parts are missing.
        ValueError: the format is unknown or has no such option, or files are malformed.
    """
    path, options = Path(path), options or ReadOptions()
    if format not in ("auto", *FORMATS):
        raise ValueError(f"format must be one of auto, {', '.join(FORMATS)}, got {format!r}")
    name = recognise(path) if format == "auto" else format
    _check_options(name, options, path)
    source = FORMATS[name].read(path, options)
    if options.classes and "classes" in FORMATS[name].options:
        source.notes += _unused_classes(source, options.classes)
    return source


def write_dataset(
    source: Source, out: str | Path, format: str, split: str | None = None
) -> list[str]:
    """Write a data set that was read.

    Args:
        source: the data set.
        out: the file or folder.
        format: a name of ``FORMATS``.
        split: its name there, where the format has splits.

    Returns:
        What could not be kept, one sentence each.

    Raises:
        ValueError: the format is unknown or cannot be written, or the data set does not fit it.
        OSError: images are missing, or files are there already or cannot be written.
    """
    writable = [name for name, one in FORMATS.items() if one.write is not None]
    if format not in writable:
        raise ValueError(
            f"the format to write must be one of {', '.join(writable)}, got {format!r}"
        )
    return FORMATS[format].write(source.content, source.image_dir, Path(out), split)


def recognise(path: Path) -> str:
    """The format of a file or folder, by what is in it.

    Args:
        path: the file or folder; a json file is 'coco' here, also if it is LVIS's.

    Raises:
        FileNotFoundError: there is nothing there, and no suffix tells what it would be.
        ValueError: it is of no known format.
    """
    found = _of_folder(path) if path.is_dir() else _of_file(path)
    if found is None and not path.exists():
        place = f"absolute: {path.absolute()}{near_names(path)}"
        raise FileNotFoundError(f"nothing is at {path} ({place})")
    if found is None:
        raise ValueError(f"{path} is of no known format; {_RECOGNISED}")
    return found


def _of_file(path: Path) -> str | None:
    if path.suffix == ".txt" and path.parent.parent.name == "ImageSets":
        return "voc"
    if path.suffix == ".xml":
        raise ValueError(f"{path} is the annotation of one image; give its folder: {path.parent}")
    by_suffix = {".json": "coco", ".yaml": "yolo", ".yml": "yolo", ".csv": "csv"}
    return by_suffix.get(path.suffix)


def _of_folder(path: Path) -> str | None:
    if (path / "Annotations").is_dir() or any(path.glob("*/Annotations")):
        return "voc"
    try:
        find_yaml(path)
        return "yolo"
    except FileNotFoundError:
        pass
    if any(path.glob("*.xml")):
        return "voc"
    files = sorted(path.glob("*.json"))
    if files and is_labelme(files[0]):
        return "labelme"
    if files or any(path.glob("*.csv")):
        names = ", ".join(p.name for p in [*files, *path.glob("*.csv")][:5])
        raise ValueError(f"{path} is a folder; give the file in it that has the boxes: {names}")
    return None


def _check_options(name: str, options: ReadOptions, path: Path) -> None:
    """Refuse options that the format does not have, as they would do nothing."""
    given = {"split": options.split, "zero_based": options.zero_based}
    for key, value in given.items():
        if value and key not in FORMATS[name].options:
            hint = "; the split to write is --out-split" if key == "split" else ""
            raise ValueError(
                f"{path} is read as {name}, which has no {key}; got {key}={value!r}{hint}"
            )


def _unused_classes(source: Source, classes: Sequence[str]) -> list[str]:
    """A note on chosen classes without a single object, which may be misspelt."""
    used = {annotation["category_id"] for annotation in source.content["annotations"]}
    categories = source.content["categories"]
    found = {category["name"] for category in categories if category["id"] in used}
    unused = [name for name in classes if name not in found]
    if not unused:
        return []
    others = ", ".join(sorted(found - set(classes)))
    also = f"; others are: {others}" if others else ""
    return [f"no object is of the classes {', '.join(unused)}{also}"]
