"""Converting data sets between formats."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmdet_lite.data.coco_checks import OF_ANNOTATIONS, check_image_files
from mmdet_lite.data.coco_columns import read_columns
from mmdet_lite.data.coco_table import build_table
from mmdet_lite.data.findings import Finding
from mmdet_lite.data.formats import FORMATS, ReadOptions, Source, read_dataset, write_dataset
from mmdet_lite.data.problems import Problems, describe
from mmdet_lite.doctor.image_file import ImageRecord, inspect_header

_CONFIG = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py"
_MOST_CLASSES = 10  # named in the summary


def convert_dataset(
    source: str | Path,
    out: str | Path,
    format: str = "auto",
    to: str = "coco",
    options: ReadOptions | None = None,
    out_split: str | None = None,
) -> str:
    """Read a data set, check it, and write it in another format.

    Args:
        source: its file or folder.
        out: the file or folder to write.
        format: what the source is, a name of ``FORMATS``; 'auto': found out.
        to: the format to write.
        options: what the reader is told. ``classes`` are then all that there may be.
        out_split: the split to write, where the format has splits; None: that which was read.

    Returns:
        What was found, what could not be kept, and the next command, to be read.

    Raises:
        FileNotFoundError: there is nothing at ``source``, or parts are missing.
        FileExistsError: what would be written is there already.
        ValueError: the data set or an argument is wrong, or no image can be read.
        OSError: files cannot be written.
    """
    source, out, options = Path(source), Path(out), options or ReadOptions()
    if out.exists() and out.samefile(source):
        raise ValueError(f"what would be written, {str(out)!r}, is the source itself")
    if to in FORMATS and FORMATS[to].is_file and out.exists():
        raise FileExistsError(f"{out} is there already: choose another name, or remove it")
    read = read_dataset(source, format, options)
    _check(read, source, options.skip_bad)
    _check_classes(read, source, options.classes)
    if out_split is None and "split" in FORMATS.get(to, FORMATS["coco"]).options:
        out_split = options.split
    doubtful = _check_images(read)
    lost = write_dataset(read, out, to, out_split)
    lines = [f"note: {note}" for note in [*read.notes, *doubtful, *lost]]
    lines += [f"wrote {out} ({to}); look at it:", f"  {_next_command(read, out, to, out_split)}"]
    return "\n".join([_summary(read, source), *lines])


def _check_classes(read: Source, source: Path, classes: Sequence[str] | None) -> None:
    if not classes:
        return
    if "classes" not in FORMATS[read.format].options:
        raise ValueError(f"{source} is read as {read.format}, which has a list of classes itself")
    names = [category["name"] for category in read.content["categories"]]
    if others := [name for name in names if name not in classes]:
        raise ValueError(
            f"{source} has objects of the classes {', '.join(others)}, which --classes does not "
            f"list: {', '.join(classes)}"
        )


def _check(read: Source, source: Path, skip_bad: bool) -> None:
    """What a training would refuse is refused here; annotations may be left out."""
    problems = Problems(source)
    columns = read_columns(read.content, problems)
    if columns is None:
        problems.raise_if_any("is not in COCO's format")
    annotations = read.content["annotations"]
    with_masks = bool(annotations) and all(
        a.get("segmentation") for a in columns.annotations.records
    )
    table = build_table(columns, None, with_masks, False, problems)
    problems.raise_if_any("cannot be used", OF_ANNOTATIONS if skip_bad else ())
    kept = set(table.annotation_ids.tolist())
    read.content["annotations"] = [a for a in annotations if a["id"] in kept]
    if len(kept) < len(annotations):
        left_out = [f for f in problems.found if f.kind in OF_ANNOTATIONS and f.id not in kept]
        read.notes.append(f"left out:\n{describe(left_out)}")


def _check_images(read: Source) -> list[str]:
    """Notes on image files that are missing, or cannot be read, or lie another way than listed.

    Their headers are looked at, and where they end; the pixels of all are for the doctor.
    """
    problems = Problems("images")
    columns = read_columns(read.content, problems)
    check_image_files(read.image_dir, columns.images, problems)
    missing = {finding.id for finding in problems.found}
    images = columns.images
    records = [
        ImageRecord(key, os.path.join(read.image_dir, name), tuple(size))
        for key, name, size in zip(
            images.ids.tolist(), images.file_names, images.sizes.tolist(), strict=True
        )
        if key not in missing and read.image_dir.is_dir()
    ]
    found = [finding for record in records for finding in inspect_header(record)]
    corrupt = {f.id for f in found if (f.severity, f.kind) == ("error", "image_corrupt")}
    if records and len(corrupt) == len(records):
        raise ValueError(f"none of the {len(records)} images can be read:\n{_describe(found)}")
    kinds = dict.fromkeys((f.kind, f.fix) for f in [*problems.found, *found])
    return [
        _describe([f for f in [*problems.found, *found] if (f.kind, f.fix) == one]) for one in kinds
    ]


def _describe(findings: Sequence[Finding]) -> str:
    return describe(findings, "images").removeprefix("- ")


def _summary(read: Source, source: Path) -> str:
    content = read.content
    objects = [a for a in content["annotations"] if not a.get("iscrowd")]
    crowds = len(content["annotations"]) - len(objects)
    empty = len(content["images"]) - len({a["image_id"] for a in objects})
    masked = sum(1 for a in objects if a.get("segmentation"))
    per_class = Counter(a["category_id"] for a in objects)
    classes = [f"{c['name']} {per_class[c['id']]}" for c in content["categories"]]
    more = f", and {len(classes) - _MOST_CLASSES} more" if len(classes) > _MOST_CLASSES else ""
    ignored = f", {crowds} crowds or difficult objects" if crowds else ""
    return (
        f"read {source} as {read.format}\n"
        f"{len(content['images'])} images ({empty} without objects), {len(objects)} objects "
        f"({masked} with masks){ignored}\n"
        f"{len(classes)} classes: {', '.join(classes[:_MOST_CLASSES])}{more}"
    )


def _next_command(read: Source, out: Path, to: str, out_split: str | None) -> str:
    values = {"ann_file": out, "image_dir": read.image_dir if FORMATS[to].is_file else None}
    values |= {"split": out_split} if out_split else {}
    pairs = [f"train_data.dataset.{key}={value}" for key, value in values.items()]
    return shlex.join(["mmdet-lite", "browse-dataset", _CONFIG, "--cfg-options", *pairs])
