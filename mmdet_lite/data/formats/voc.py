"""Pascal VOC: one XML file an image, and lists of images.

Its pixels are counted from 1 and a box includes its last pixel, so (xmin, xmax) is the span from
xmin - 1 to xmax (http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html).
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmdet_lite.data.coco_file import CocoDict
from mmdet_lite.data.formats.files import ImageCopier, by_image, check_new, names_by_id
from mmdet_lite.data.formats.source import (
    IMAGE_SUFFIXES,
    CocoBuilder,
    Defects,
    ReadOptions,
    Source,
    choose_split,
    read_image_size,
    tidy,
)

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_LISTS = Path("ImageSets") / "Main"
_SHAPE = "An annotation has <object> elements with <name> and <bndbox> of xmin, ymin, xmax, ymax."


@dataclass
class _Layout:
    """Where the parts of a data set are."""

    annotations: Path
    images: Path
    ids: list[str]


def read_voc(path: Path, options: ReadOptions) -> Source:
    """Read a data set in Pascal VOC's form.

    Objects that are marked difficult become crowds (``iscrowd: 1``): neither training nor an
    evaluation counts them. If all names are VOC's, its 20 classes are the classes; else those of
    all annotation files, of other splits too, by the alphabet.

    Args:
        path: a folder with ``Annotations`` (``VOC2007``); a list ``ImageSets/Main/train.txt`` in
            it; or a folder of XML files beside their images.
        options: ``split`` is the name of a list; without lists all annotations are read.

    Raises:
        FileNotFoundError: there is nothing at ``path``.
        ValueError: files are malformed; all defects are listed.
    """
    defects = Defects(f"VOC data set {path}")
    layout = _find_layout(path, options, defects)
    builder = CocoBuilder(defects, options.skip_bad)
    names: set[str] = set()
    starts_at_0 = 0
    present = _image_names(layout.images)
    for name in layout.ids:
        file = layout.annotations / f"{name}.xml"
        root = _parse(file, defects)
        if root is None:
            continue
        image = _add_image(root, file, layout.images, present, builder, defects)
        for number, element in enumerate(root.iter("object")):
            found = _read_object(element, number, file, defects)
            if found is None or image is None:
                continue
            corners, label, difficult, where = found
            starts_at_0 += min(corners[:2]) == 0 and not options.zero_based
            first = 0 if options.zero_based else 1
            box = [corners[0] - first, corners[1] - first, *corners[2:]]
            names.add(label)
            builder.add_object(image, label, box, where, is_crowd=difficult)
    defects.raise_if_any()
    names |= _names_elsewhere(layout)
    classes = options.classes or (VOC_CLASSES if names <= set(VOC_CLASSES) else None)
    notes = builder.notes
    if starts_at_0:
        notes.append(
            f"{starts_at_0} boxes begin at pixel 0, but VOC counts pixels from 1: if these files "
            "count from 0, boxes are a pixel too large; convert with --zero-based"
        )
    return Source("voc", builder.content(classes, names), layout.images, notes)


def write_voc(content: CocoDict, image_dir: Path, out: Path, split: str | None = None) -> list[str]:
    """Write ``Annotations``, ``JPEGImages`` and a list in ``ImageSets/Main``.

    Crowds become difficult objects. Masks, ids and the classes without objects are not kept.

    Args:
        content: COCO's dict.
        image_dir: where its ``file_name`` values start from; the images are copied.
        out: the folder; it may have other splits already.
        split: the list's name; None: ``train``.

    Returns:
        What could not be kept.

    Raises:
        FileExistsError: the split is there already.
        ValueError: two images would have the same name.
    """
    split = split or "train"
    check_new(out / _LISTS / f"{split}.txt")
    copier = ImageCopier(image_dir, out / "JPEGImages", content["images"], flat=True)
    names, objects = names_by_id(content), by_image(content)
    for folder in ("Annotations", _LISTS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for image in content["images"]:
        file_name = copier.copy(image)
        tree = _annotation(image, file_name, objects.get(image["id"], ()), names)
        ET.indent(tree)
        xml = ET.tostring(tree, encoding="utf-8") + b"\n"
        (out / "Annotations" / f"{Path(file_name).stem}.xml").write_bytes(xml)
    ids = [Path(copier.name_of(image)).stem for image in content["images"]]
    (out / _LISTS / f"{split}.txt").write_text("".join(f"{key}\n" for key in ids))
    masked = sum(1 for a in content["annotations"] if a.get("segmentation"))
    return [f"{masked} masks are not written: VOC's annotations have boxes"] if masked else []


def _find_layout(path: Path, options: ReadOptions, defects: Defects) -> _Layout:
    if path.is_file():  # a list of ImageSets/Main
        if options.split not in (None, path.stem):
            raise ValueError(f"{path} is the list of one split; split={options.split!r} is another")
        root = path.parent.parent.parent
        layout = _Layout(root / "Annotations", root / "JPEGImages", _read_list(path, defects))
    elif (path / "Annotations").is_dir():
        layout = _Layout(path / "Annotations", path / "JPEGImages", [])
        lists = sorted(p.stem for p in (path / _LISTS).glob("*.txt") if not _is_of_class(p))
        if lists or options.split:
            split = choose_split(options.split, lists, f"VOC data set {path}")
            layout.ids = _read_list(path / _LISTS / f"{split}.txt", defects)
        else:
            layout.ids = _xml_names(layout.annotations)
    elif parts := sorted(str(p.parent) for p in path.glob("*/Annotations")):
        raise ValueError(f"{path} holds several VOC data sets; give one of: {', '.join(parts)}")
    else:
        if options.split:
            raise ValueError(f"{path} is a folder of XML files, which has no splits")
        layout = _Layout(path, path, _xml_names(path))
    layout.images = options.image_dir or layout.images
    return layout


def _xml_names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.xml"))


def _is_of_class(path: Path) -> bool:
    """Whether a list is about one class: its lines end in -1, 0 or 1."""
    with path.open(encoding="utf-8") as file:
        return bool(re.fullmatch(r"\S+\s+(-1|0|1)\s*", file.readline()))


def _read_list(path: Path, defects: Defects) -> list[str]:
    ids = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if len(words) > 1:
            advice = "This is a list of one class, perhaps; take that of the whole split."
            defects.add("lines with more than a name", f"{path}:{number}: {line!r}", advice)
        ids += words[:1]
    return ids


def _parse(file: Path, defects: Defects) -> ET.Element | None:
    try:
        return ET.fromstring(file.read_bytes())
    except FileNotFoundError:
        advice = "Every name in the list needs an annotation file; fetch them, or correct the list."
        defects.add("missing annotation files", str(file), advice)
    except ET.ParseError as error:
        defects.add(
            "files that are not XML", f"{file}: {error}", "Write them anew, or complete them."
        )
    return None


def _image_names(folder: Path) -> dict[str, str]:
    """Names of image files by what stands before the suffix."""
    if not folder.is_dir():
        return {}
    names = sorted(path.name for path in folder.iterdir())
    return {Path(name).stem: name for name in names if name.lower().endswith(IMAGE_SUFFIXES)}


def _add_image(
    root: ET.Element,
    file: Path,
    folder: Path,
    present: dict[str, str],
    builder: CocoBuilder,
    defects: Defects,
) -> dict | None:
    """Image files are often renamed, and ``<filename>`` with them not: it counts if it exists."""
    said = (root.findtext("filename") or "").strip()
    said_exists = present.get(Path(said).stem) == said
    file_name = said if said_exists else present.get(file.stem, said or f"{file.stem}.jpg")
    try:
        size = tuple(int(float(root.findtext(f"size/{key}") or 0)) for key in ("height", "width"))
    except (ValueError, OverflowError):
        size = (0, 0)
    if min(size) < 1 and (size := read_image_size(folder / file_name, defects)) is None:
        return None
    return builder.add_image(file_name, size)


def _read_object(
    element: ET.Element, number: int, file: Path, defects: Defects
) -> tuple[list[float], str, bool, str] | None:
    """Corners as in the file, name, whether it is difficult, and where it stands."""
    name = (element.findtext("name") or "").strip()
    texts = [element.findtext(f"bndbox/{key}") for key in _CORNERS]
    flag = (element.findtext("difficult") or "0").strip()
    try:
        corners = [float(text or "") for text in texts]
    except ValueError:
        corners = None
    if name and corners is not None and flag in ("0", "1"):
        where = f"{file}, object {number + 1}"
        return corners, name, flag == "1", where
    shown = ", ".join(f"{key} {text!r}" for key, text in zip(_CORNERS, texts, strict=True))
    example = f"{file}:{_line_of_object(file, number)}: name {name!r}, {shown}, difficult {flag!r}"
    defects.add("objects without a name or numbers", example, _SHAPE)
    return None


def _line_of_object(file: Path, number: int) -> int:
    """The line of the object; the parser does not tell."""
    text = file.read_bytes()
    starts = [match.start() for match in re.finditer(rb"<object[\s>]", text)]
    return text[: starts[number]].count(b"\n") + 1 if number < len(starts) else 1


def _names_elsewhere(layout: _Layout) -> set[str]:
    """Names of classes in annotation files of other splits, so that splits agree on the classes."""
    unread = set(_xml_names(layout.annotations)) - set(layout.ids)
    ignored = Defects("another split")  # it is read when its turn comes
    roots = (_parse(layout.annotations / f"{key}.xml", ignored) for key in unread)
    elements = (one for root in roots if root is not None for one in root.iter("object"))
    return {(element.findtext("name") or "").strip() for element in elements} - {""}


def _annotation(
    image: dict, file_name: str, objects: Iterable[dict], names: dict[int, str]
) -> ET.Element:
    root = ET.Element("annotation")
    ET.SubElement(root, "filename").text = file_name
    size = ET.SubElement(root, "size")
    for key, value in (("width", image["width"]), ("height", image["height"]), ("depth", 3)):
        ET.SubElement(size, key).text = str(value)
    for annotation in objects:
        x, y, width, height = annotation["bbox"]
        element = ET.SubElement(root, "object")
        ET.SubElement(element, "name").text = names[annotation["category_id"]]
        ET.SubElement(element, "difficult").text = str(int(annotation.get("iscrowd", 0)))
        box = ET.SubElement(element, "bndbox")
        for key, value in zip(_CORNERS, (x + 1, y + 1, x + width, y + height), strict=True):
            ET.SubElement(box, key).text = str(tidy(value))
    return root
