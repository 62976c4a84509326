"""YOLO's text files: one an image, one object a line, in shares of the image's size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from mmdet_lite.data.coco_file import CocoDict
from mmdet_lite.data.formats.files import (
    ImageCopier,
    by_image,
    check_new,
    joined_polygons,
)
from mmdet_lite.data.formats.source import (
    CocoBuilder,
    Defects,
    ReadOptions,
    Source,
    choose_split,
    extent,
    polygon_area,
    read_image_size,
    relative_name,
    tidy,
)
from mmdet_lite.data.formats.yolo_yaml import (
    find_root,
    find_yaml,
    read_names,
    read_settings,
    split_images,
    write_settings,
)

_SPLITS = ("train", "val", "test")
_TOLERANCE = 0.01  # by which labels may lie outside: what is rounded, or cut by hand
NUMBERING_FIX = (
    "Look whether the boxes have the right names (`mmdet-lite browse-dataset`). If not, subtract 1 "
    "from every label."
)
_LINE = "A line is 'label x_center y_center width height', or 'label x1 y1 x2 y2 x3 y3 ...'."


def read_yolo(path: Path, options: ReadOptions) -> Source:
    """Read a data set in YOLO's form: a ``data.yaml``, images and labels.

    The labels of ``images/train/a.jpg`` are in ``labels/train/a.txt``: the last folder ``images``
    of the path becomes ``labels``. Without such a folder they are beside the image. An image
    without a file of labels has no objects. Sizes are the image files'.

    Args:
        path: the ``data.yaml``, or the folder that it is in. ``names`` is a list or a dict;
            ``train``, ``val`` and ``test`` are folders of images, lists of images (``.txt``), or
            several of them, as seen from ``path``, which starts at the file's folder.
        options: ``image_dir`` replaces the file's ``path``.

    Raises:
        FileNotFoundError: there is no ``data.yaml``, or nothing of what it names.
        ValueError: files are malformed; all defects are listed.
    """
    path = find_yaml(path) if path.is_dir() else path
    settings = read_settings(path)
    defects = Defects(f"YOLO data set {path}")
    names = read_names(settings, path, defects)
    defects.raise_if_any()
    split = choose_split(options.split, [s for s in _SPLITS if settings.get(s)], str(path))
    root = find_root(settings, split, path, options.image_dir)
    builder = CocoBuilder(defects, options.skip_bad)
    labels = _Labels(names, builder, defects)
    num_without_file, label_file = 0, None
    images = split_images(settings[split], root, defects)
    for image_file in images:
        size = read_image_size(image_file, defects)
        if size is None:
            continue
        image = builder.add_image(relative_name(image_file, root), size)
        label_file = label_path(image_file)
        if label_file.is_file():
            labels.read(label_file, image)
        else:
            num_without_file += 1
    if images and num_without_file == len(images):
        advice = "Put them where they are expected, or correct the paths of the images."
        example = f"{len(images)} images, none with labels; those of the last one: {label_file}"
        defects.add("no file of labels at all", example, advice)
    labels.note_numbering()
    defects.raise_if_any()
    notes = builder.notes
    if num_without_file:
        notes.append(
            f"{num_without_file} of {len(images)} images have no file of labels: no objects"
        )
    content = builder.content(names)
    if doubt := numbering_doubt(content):
        notes.append(f"{doubt} {NUMBERING_FIX}")
    return Source("yolo", content, root, notes)


def numbering_doubt(content: CocoDict) -> str | None:
    """What speaks for labels that were counted from 1, though all of them have a name.

    Args:
        content: COCO's dict of a YOLO data set, with a category for each label.

    Returns:
        That no object has label 0; None if one has, or if there is but one class or no object.
    """
    labels = [annotation["category_id"] - 1 for annotation in content["annotations"]]
    names = [category["name"] for category in content["categories"]]
    if not labels or min(labels) == 0 or len(names) < 2:
        return None
    return (
        f"no object has label 0, {names[0]!r}; labels go from {min(labels)} to {max(labels)}: were "
        "they counted from 1?"
    )


def write_yolo(
    content: CocoDict, image_dir: Path, out: Path, split: str | None = None
) -> list[str]:
    """Write ``data.yaml``, ``images/<split>`` and ``labels/<split>``.

    Masks are written if every object has polygons; those of one object become one polygon. Else
    boxes are, as a data set of both is read wrongly by others. Crowds, ids and masks as run lengths
    are not kept.

    Args:
        content: COCO's dict.
        image_dir: where its ``file_name`` values start from; the images are copied.
        out: the folder; it may have other splits already, of the same classes.
        split: 'train', 'val' or 'test'; None: 'train'.

    Returns:
        What could not be kept.

    Raises:
        FileExistsError: the split is there already.
        ValueError: the split is none of YOLO's, or the folder has other classes.
    """
    split = split or "train"
    if split not in _SPLITS:
        raise ValueError(
            f"YOLO's splits are {', '.join(_SPLITS)}, got {split!r}; choose one with --out-split"
        )
    check_new(out / "images" / split)
    copier = ImageCopier(image_dir, out / "images" / split, content["images"])
    classes = [category["name"] for category in content["categories"]]
    labels = {category["id"]: k for k, category in enumerate(content["categories"])}
    write_settings(out / "data.yaml", split, classes)
    objects = [a for a in content["annotations"] if not a.get("iscrowd")]
    with_masks = bool(objects) and all(isinstance(a.get("segmentation"), list) for a in objects)
    grouped = by_image(content | {"annotations": objects})
    for image in content["images"]:
        label_file = out / "labels" / split / Path(copier.copy(image)).with_suffix(".txt")
        label_file.parent.mkdir(parents=True, exist_ok=True)
        lines = [_line(a, image, labels, with_masks) for a in grouped.get(image["id"], ())]
        label_file.write_text("".join(f"{line}\n" for line in lines))
    notes = []
    if crowds := len(content["annotations"]) - len(objects):
        notes.append(f"{crowds} crowds are not written: YOLO has none")
    masked = sum(1 for a in objects if a.get("segmentation"))
    if masked and not with_masks:
        notes.append(
            f"{masked} masks are not written, only boxes: YOLO needs polygons for all objects"
        )
    return notes


def label_path(image: Path) -> Path:
    """Where the labels of an image are."""
    parts = list(image.with_suffix(".txt").parts)
    folders = parts[:-1]
    if "images" in folders:
        parts[len(folders) - 1 - folders[::-1].index("images")] = "labels"
    return Path(*parts)


class _Labels:
    """Reads files of labels into a builder."""

    def __init__(self, names: Sequence[str], builder: CocoBuilder, defects: Defects):
        self._names, self._builder, self._defects = names, builder, defects
        self._smallest: float = math.inf
        self._unknown: list[tuple[str, int]] = []

    def read(self, file: Path, image: dict) -> None:
        for number, line in enumerate(_lines(file, self._defects), start=1):
            if words := line.split():
                self._read_line(words, f"{file}:{number}", image)

    def note_numbering(self) -> None:
        """Labels that have no name; if none is 0, they may have been counted from 1."""
        last = len(self._names) - 1
        advice = f"'names' has {last + 1} names, labels 0..{last}."
        if self._unknown and self._smallest >= 1 and max(k for _, k in self._unknown) == last + 1:
            advice = (
                f"'names' has 0..{last}, and all labels are in 1..{last + 1}: they were probably "
                "counted from 1. Subtract 1 from every label."
            )
        for where, label in self._unknown:
            self._defects.add(
                "labels out of range", f"{where}: label {label} but names has 0..{last}", advice
            )

    def _read_line(self, words: list[str], where: str, image: dict) -> None:
        shown = f"{where}: {' '.join(words[:6])}{' ...' if len(words) > 6 else ''}"
        try:
            label, *values = map(float, words)
        except ValueError:
            self._defects.add("lines with other things than numbers", shown, _LINE)
            return
        if fault := _count_fault(len(words)):
            self._defects.add("lines with a wrong count of numbers", f"{shown}: {fault}", _LINE)
            return
        if not label.is_integer() or label < 0:
            advice = "The first number is the label: 0, 1, 2, ..."
            self._defects.add("labels that are no whole number", shown, advice)
            return
        if not all(-_TOLERANCE <= value <= 1 + _TOLERANCE for value in values):
            advice = "They are shares of the image's width and height, 0..1. Are these pixels?"
            self._defects.add("coordinates outside 0..1", shown, advice)
            return
        self._smallest = min(self._smallest, label)
        if label >= len(self._names):
            self._unknown.append((where, int(label)))
            return
        self._add(self._names[int(label)], values, where, image)

    def _add(self, name: str, values: list[float], where: str, image: dict) -> None:
        width, height = image["width"], image["height"]
        if len(values) == 4:
            x, y, w, h = values
            box = [(x - w / 2) * width, (y - h / 2) * height]
            box += [(x + w / 2) * width, (y + h / 2) * height]
            self._builder.add_object(image, name, box, where)
            return
        scale = [width, height] * (len(values) // 2)
        polygon = [tidy(v * s) for v, s in zip(values, scale, strict=True)]
        area = polygon_area([polygon])
        self._builder.add_object(
            image, name, extent([polygon]), where, segmentation=[polygon], area=area
        )


def _count_fault(count: int) -> str | None:
    if count == 5 or (count >= 7 and count % 2):
        return None
    if count == 6:
        return "6 numbers; is the last one a score? Labels have none"
    if count == 4:
        return "4 numbers; is the label missing?"
    if count < 5:
        return f"{count} numbers, expected 5 for a box"
    return f"{count} numbers; a polygon has a label and pairs"


def _lines(file: Path, defects: Defects) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        defects.add("files of labels that are no text", f"{file}: {error}", "Write them anew.")
        return []


def _line(annotation: dict, image: dict, labels: dict[int, int], with_masks: bool) -> str:
    width, height = image["width"], image["height"]
    if with_masks:
        polygon = joined_polygons(annotation["segmentation"])
        values = [
            v / s for v, s in zip(polygon, [width, height] * (len(polygon) // 2), strict=True)
        ]
    else:
        x, y, w, h = annotation["bbox"]
        values = [(x + w / 2) / width, (y + h / 2) / height, w / width, h / height]
    return " ".join([str(labels[annotation["category_id"]]), *(f"{v:.10g}" for v in values)])
