"""What writers of formats share: images copied to where they belong, records by image and id."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mmdet_lite.data.coco_file import CocoDict

_SHOWN = 5


def names_by_id(content: CocoDict) -> dict[int, str]:
    """Names of categories by their id, in the file's order."""
    return {category["id"]: category["name"] for category in content["categories"]}


def by_image(content: CocoDict) -> dict[int, list[dict]]:
    """Annotations by the id of their image, in the file's order."""
    grouped = defaultdict(list)
    for annotation in content["annotations"]:
        grouped[annotation["image_id"]].append(annotation)
    return grouped


def check_new(path: Path) -> None:
    """Refuse to write over a data set.

    Raises:
        FileExistsError: there is something at ``path``.
    """
    if path.exists():
        raise FileExistsError(f"{path} is there already: choose another folder or --out-split")


def joined_polygons(polygons: Sequence[Sequence[float]]) -> list[float]:
    """Several polygons as one: a path without width goes from the first to each and back.

    All go round the same way then, so that their areas add up and do not cancel out.
    """
    first, *others = polygons
    is_clockwise = _signed_area(first) > 0
    others = [p if (_signed_area(p) > 0) == is_clockwise else _reversed(p) for p in others]
    start = list(first[:2])
    path = list(first)
    for polygon in others:
        path += [*start, *polygon, *polygon[:2]]
    return path + start if others else path


def _signed_area(polygon: Sequence[float]) -> float:
    """Above 0 where a polygon goes round clockwise, as it is seen."""
    xs, ys = polygon[0::2], polygon[1::2]
    following = zip([*xs[1:], xs[0]], [*ys[1:], ys[0]], strict=True)
    return sum(x * v - u * y for x, y, (u, v) in zip(xs, ys, following, strict=True)) / 2


def _reversed(polygon: Sequence[float]) -> list[float]:
    return [v for point in zip(polygon[-2::-2], polygon[::-2], strict=True) for v in point]


class ImageCopier:
    """Copies images into a folder, under names that differ.

    Args:
        source: the folder that ``file_name`` values start from.
        target: the folder to copy to.
        images: COCO's records of all images that will be copied.
        flat: without folders in it: ``a/1.jpg`` becomes ``a_1.jpg``.

    Raises:
        ValueError: two would have the same name but for the suffix.
    """

    def __init__(self, source: Path, target: Path, images: Sequence[dict], flat: bool = False):
        self.source, self.target, self.flat = source, target, flat
        owners = defaultdict(list)
        for image in images:
            owners[str(Path(self.name_of(image)).with_suffix(""))].append(image["file_name"])
        if clashes := [", ".join(names) for names in owners.values() if len(names) > 1]:
            shown = "; ".join(clashes[:_SHOWN])
            raise ValueError(
                f"{len(clashes)} names of annotation files would be those of several images, as "
                f"{shown}: rename the images"
            )

    def name_of(self, image: dict) -> str:
        """The name in the new folder, without folders called ``images``, which YOLO goes by."""
        name = Path(image["file_name"])
        if name.is_absolute() or ".." in name.parts:  # an image from elsewhere
            return name.name
        folders = [part for part in name.parts[:-1] if part != "images"]
        return ("_" if self.flat else "/").join([*folders, name.name])

    def copy(self, image: dict) -> str:
        """Copy an image and give its new name.

        Raises:
            FileNotFoundError: there is no such image.
        """
        path = self.source / image["file_name"]
        if not path.is_file():
            raise FileNotFoundError(f"image file not found: {path}; correct --image-dir")
        target = self.target / self.name_of(image)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        return self.name_of(image)
