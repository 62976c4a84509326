"""What readers of all formats share: the data set as COCO's dict, its defects, its images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mmdet_lite.data.coco_file import CocoDict
from mmdet_lite.data.image_io import exif_orientation
from mmdet_lite.data.problems import SHOWN

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_NO_AREA = "boxes without area in their image"
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange the edges


@dataclass
class Source:
    """A data set that was read from files of some format.

    Attributes:
        format: the format's name.
        content: images, annotations and categories as COCO has them; of a json file what is in it,
            unchecked.
        image_dir: the folder that the ``file_name`` values start from.
        notes: what was left out or changed, one sentence each.
    """

    format: str
    content: CocoDict
    image_dir: Path
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ReadOptions:
    """What a reader can be told.

    Attributes:
        split: which part of the data set, where the format has parts.
        image_dir: where its images are; None: where the format keeps them.
        classes: names that the data set has at least, in the order of their ids; formats with a
            list of classes of their own do not look at it.
        skip_bad: leave out boxes without area instead of raising an error.
        zero_based: of Pascal VOC: pixels are counted from 0, as some tools write them.
    """

    split: str | None = None
    image_dir: Path | None = None
    classes: Sequence[str] | None = None
    skip_bad: bool = False
    zero_based: bool = False


class DefectsError(ValueError):
    """Files of a data set are malformed.

    Args:
        message: all that is wrong with them.
        defects: each as (kind, example, advice), the arguments of :meth:`Defects.add`.
    """

    def __init__(self, message: str, defects: Sequence[tuple[str, str, str]]):
        super().__init__(message)
        self.defects = list(defects)


class Defects:
    """What is wrong with the files of a data set, by kind, until it is raised as one error.

    Args:
        subject: what is read; the message begins with it.
    """

    def __init__(self, subject: str):
        self.subject = subject
        self._examples: dict[tuple[str, str], list[str]] = {}

    def add(self, what: str, example: str, advice: str) -> None:
        """Note one defect.

        Args:
            what: its kind, as a heading.
            example: file, line and the value found.
            advice: what was expected and what to do.
        """
        self._examples.setdefault((what, advice), []).append(example)

    def raise_if_any(self) -> None:
        """Report all.

        Raises:
            DefectsError: there is one.
        """
        if not self._examples:
            return
        kinds = [_describe(*kind, examples) for kind, examples in self._examples.items()]
        each = [
            (what, example, advice)
            for (what, advice), examples in self._examples.items()
            for example in examples
        ]
        raise DefectsError("\n".join([f"{self.subject} cannot be read:", *kinds]), each)


def _describe(what: str, advice: str, examples: Sequence[str]) -> str:
    lines = [f"- {what} ({len(examples)}):", *(f"    {one}" for one in examples[:SHOWN])]
    if len(examples) > SHOWN:
        lines.append(f"    ... and {len(examples) - SHOWN} more")
    return "\n".join([*lines, f"  {advice}"])


class CocoBuilder:
    """Collects images and objects of a format that knows classes by name.

    Args:
        defects: where boxes that cannot be used are noted.
        skip_bad: count them instead.
    """

    def __init__(self, defects: Defects, skip_bad: bool = False):
        self._defects, self._skip_bad = defects, skip_bad
        self._images: list[dict] = []
        self._objects: list[tuple[str, dict]] = []
        self._num_skipped = 0

    @property
    def notes(self) -> list[str]:
        """What was left out."""
        if not self._num_skipped:
            return []
        return [f"{self._num_skipped} {_NO_AREA} are left out"]

    def add_image(self, file_name: str, size: tuple[int, int]) -> dict:
        """Add an image and give its record.

        Args:
            file_name: as seen from the folder of the images.
            size: (height, width) in pixels.
        """
        height, width = size
        key = len(self._images) + 1
        record = {"id": key, "file_name": file_name, "height": height, "width": width}
        self._images.append(record)
        return record

    def add_object(
        self,
        image: dict,
        name: str,
        box: Sequence[float],
        where: str,
        segmentation: list | dict | None = None,
        is_crowd: bool = False,
        area: float | None = None,
    ) -> None:
        """Add an object, unless its box has no area inside its image.

        Args:
            image: from :meth:`add_image`.
            name: its class.
            box: (x1, y1, x2, y2) in pixels.
            where: file and line, for the message.
            segmentation: COCO's value, if the format has masks.
            is_crowd: it counts neither in training nor in the evaluation.
            area: the mask's, in pixels; None: the box's.
        """
        x1, y1, x2, y2 = box
        if not _has_area(box, image):
            if self._skip_bad and all(map(math.isfinite, box)):
                self._num_skipped += 1
                return
            shown = ", ".join(f"{value:g}" for value in box)
            size = f"an image {image['width']} wide and {image['height']} high"
            advice = "Correct them. Boxes that are only flat or outside can also be left out: "
            advice += "convert --skip-bad, or bad_annotations='skip'."
            self._defects.add(
                _NO_AREA, f"{where}: {name!r} from x1, y1, x2, y2 = {shown} of {size}", advice
            )
            return
        annotation = {
            "image_id": image["id"],
            "bbox": [tidy(value) for value in (x1, y1, x2 - x1, y2 - y1)],
            "area": tidy((x2 - x1) * (y2 - y1) if area is None else area),
            "iscrowd": int(is_crowd),
        }
        if segmentation is not None:
            annotation["segmentation"] = segmentation
        self._objects.append((name, annotation))

    def content(self, classes: Sequence[str] | None = None, more: Iterable[str] = ()) -> CocoDict:
        """All of it.

        Args:
            classes: names that come first, in this order, with or without objects.
            more: further names; these and those of the objects follow by the alphabet.
        """
        listed = list(dict.fromkeys(classes or ()))
        found = {name for name, _ in self._objects} | set(more)
        names = [*listed, *sorted(found - set(listed))]
        ids = {name: number for number, name in enumerate(names, start=1)}
        return {
            "images": self._images,
            "annotations": [
                {"id": number, "category_id": ids[name], **annotation}
                for number, (name, annotation) in enumerate(self._objects, start=1)
            ],
            "categories": [{"id": key, "name": name} for name, key in ids.items()],
        }


def tidy(value: float) -> float | int:
    """A number without the digits that come from rounding; whole ones are integers."""
    rounded = round(float(value), 6)
    return int(rounded) if rounded.is_integer() else rounded


def extent(polygons: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """The box (x1, y1, x2, y2) around polygons [x1, y1, x2, y2, ...]."""
    xs = [x for polygon in polygons for x in polygon[0::2]]
    ys = [y for polygon in polygons for y in polygon[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def polygon_area(polygons: Sequence[Sequence[float]]) -> float:
    """The area of polygons that do not overlap, in pixels."""
    total = 0.0
    for polygon in polygons:
        xs, ys = polygon[0::2], polygon[1::2]
        following = zip([*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
        pairs = zip(xs, ys, following, strict=True)
        total += abs(sum(x * next_y - next_x * y for x, y, (next_x, next_y) in pairs)) / 2
    return total


def read_image_size(path: Path, defects: Defects) -> tuple[int, int] | None:
    """(height, width) of an image file as it is shown, EXIF orientation applied.

    Only the head of the file is read. None, and a defect, where there is no such image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = exif_orientation(image) in _TURNED
    except FileNotFoundError:
        advice = "Fetch them, or say where the images are: convert --image-dir, or image_dir."
        defects.add("missing image files", str(path), advice)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        defects.add("image files that cannot be read", f"{path}: {error}", "Fetch them again.")
    else:
        return (width, height) if turned else (height, width)
    return None


def find_images(folder: Path) -> list[Path]:
    """All image files in a folder and the folders in it, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)


def relative_name(path: Path, folder: Path) -> str:
    """A path as seen from a folder, with forward slashes; absolute if it is elsewhere."""
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.absolute().as_posix()


def choose_split(split: str | None, available: Sequence[str], what: str) -> str:
    """The part of a data set to read.

    Args:
        split: the one asked for; None: the only one.
        available: those that there are.
        what: the data set, for messages.

    Raises:
        ValueError: there is no such part, or several and none was chosen.
    """
    if split is None and len(available) == 1:
        return available[0]
    listed = ", ".join(available) or "none"
    if split is None:
        raise ValueError(f"{what} has several splits; choose one with --split (split=): {listed}")
    if split not in available:
        raise ValueError(f"{what} has no split {split!r}; there are: {listed}")
    return split


def _has_area(box: Sequence[float], image: dict) -> bool:
    x1, y1, x2, y2 = box
    if not all(map(math.isfinite, box)):
        return False
    width = min(x2, image["width"]) - max(x1, 0)
    height = min(y2, image["height"]) - max(y1, 0)
    return width > 0 and height > 0
