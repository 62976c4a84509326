"""Boxes in a CSV file, one a line: with a header, or as RetinaNet's ``path,x1,y1,x2,y2,class``."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from mmdet_lite.data.coco_file import CocoDict
from mmdet_lite.data.formats.files import by_image, names_by_id
from mmdet_lite.data.formats.source import (
    CocoBuilder,
    Defects,
    ReadOptions,
    Source,
    read_image_size,
    tidy,
)
from mmdet_lite.near_files import near_names

# What people call the columns; the first name is ours.
_COLUMNS = {
    "image": ("image", "filename", "file_name", "file", "path", "img", "image_path"),
    "x1": ("x1", "xmin", "x_min"),
    "y1": ("y1", "ymin", "y_min"),
    "x2": ("x2", "xmax", "x_max"),
    "y2": ("y2", "ymax", "y_max"),
    "label": ("label", "class", "class_name", "category", "name"),
    "width": ("width", "image_width"),
    "height": ("height", "image_height"),
}
_BOX = ("x1", "y1", "x2", "y2")
_NEEDED = ("image", *_BOX, "label")


def read_csv(path: Path, options: ReadOptions) -> Source:
    """Read boxes from a CSV file.

    A line with an image alone, and nothing in the other columns, is an image without objects.

    Args:
        path: the file. A header names the columns image, x1, y1, x2, y2, label and, if it likes,
            width and height of the image; or there is no header and the first six columns are
            these. Pixels are counted from 0.
        options: ``image_dir`` is where the names of images start from; None: the file's folder.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: lines are malformed; all defects are listed.
    """
    if not path.is_file():
        place = f"absolute: {path.absolute()}{near_names(path)}"
        raise FileNotFoundError(f"no such file: {path} ({place})")
    defects = Defects(f"CSV file {path}")
    builder = CocoBuilder(defects, options.skip_bad)
    root = options.image_dir or path.parent
    images: dict[str, dict | None] = {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        columns: dict[str, int] | None = None
        for row in rows:
            if not any(row):
                continue
            where = f"{path}:{rows.line_num}"
            if columns is None:
                columns, is_header = _columns(row, where, defects)
                if is_header:
                    continue
            record = {key: row[i].strip() for key, i in columns.items() if i < len(row)}
            _add(record, where, root, images, builder, defects)
    defects.raise_if_any()
    return Source("csv", builder.content(options.classes), root, builder.notes)


def write_csv(content: CocoDict, image_dir: Path, out: Path, split: str | None = None) -> list[str]:
    """Write a CSV file with a header; images are not copied.

    Masks, crowds, ids and classes without objects are not kept.

    Args:
        content: COCO's dict.
        image_dir: not used, as names of images stay what they are.
        out: the file.
        split: must be None, as a CSV file has no splits.

    Returns:
        What could not be kept.

    Raises:
        ValueError: ``split`` is given.
    """
    if split is not None:
        raise ValueError(f"a CSV file has no splits, got split={split!r}; write one file for each")
    names, objects = names_by_id(content), by_image(content)
    notes: dict[str, int] = {"crowds": 0, "masks": 0}
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*_NEEDED, "width", "height"])
        for image in content["images"]:
            size = [image["width"], image["height"]]
            kept = [a for a in objects.get(image["id"], ()) if not a.get("iscrowd")]
            notes["crowds"] += len(objects.get(image["id"], ())) - len(kept)
            notes["masks"] += sum(1 for a in kept if a.get("segmentation"))
            for annotation in kept:
                x, y, w, h = annotation["bbox"]
                box = [tidy(value) for value in (x, y, x + w, y + h)]
                label = names[annotation["category_id"]]
                writer.writerow([image["file_name"], *box, label, *size])
            if not kept:
                writer.writerow([image["file_name"], "", "", "", "", "", *size])
    return [f"{n} {what} are not written: a CSV file has none" for what, n in notes.items() if n]


def _columns(row: Sequence[str], where: str, defects: Defects) -> tuple[dict[str, int], bool]:
    """Where each column is, and whether the row is a header."""
    if len(row) >= len(_NEEDED) and all(not cell.strip() or _is_number(cell) for cell in row[1:5]):
        return {key: i for i, key in enumerate(_NEEDED)}, False
    cells = [cell.strip().lower() for cell in row]
    columns = {
        key: cells.index(name)
        for key, names in _COLUMNS.items()
        for name in reversed(names)
        if name in cells
    }
    if missing := [key for key in _NEEDED if key not in columns]:
        known = "; ".join(" or ".join(_COLUMNS[key]) for key in missing)
        advice = f"A header names image, x1, y1, x2, y2, label. Looked for: {known}."
        defects.add("columns that are missing", f"{where}: {', '.join(row)}", advice)
        defects.raise_if_any()
    return columns, True


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _add(
    record: dict[str, str],
    where: str,
    root: Path,
    images: dict[str, dict | None],
    builder: CocoBuilder,
    defects: Defects,
) -> None:
    name = record.get("image", "")
    if not name:
        defects.add("lines without an image", f"{where}: {record}", "Every line names its image.")
        return
    if name not in images:
        size = _size(record) or read_image_size(root / name, defects)
        images[name] = builder.add_image(name, size) if size else None
    cells = [record.get(key, "") for key in _BOX]
    label = record.get("label", "")
    if not any([*cells, label]) or images[name] is None:
        return
    if not label or not all(map(_is_number, cells)):
        example = f"{where}: {','.join([name, *cells, label])}"
        advice = "A line has four numbers and a label; or neither, for an image without objects."
        defects.add("lines without a whole box", example, advice)
        return
    builder.add_object(images[name], label, [float(cell) for cell in cells], where)


def _size(record: dict[str, str]) -> tuple[int, int] | None:
    cells = [record.get(key, "") for key in ("height", "width")]
    size = tuple(int(float(cell)) for cell in cells if _is_number(cell))
    return size if len(size) == 2 and min(size) > 0 else None
