"""COCO's dict as tests compare it: without ids, by the names of images and classes."""

from __future__ import annotations

from pathlib import Path


def objects(content: dict, *keys: str) -> dict[str, list[tuple]]:
    """(class, box, further keys) of each image's objects, by the image's name."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    found = {}
    for image in content["images"]:
        of_image = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        rows = [
            (names[a["category_id"]], a["bbox"], *(a.get(key) for key in keys)) for a in of_image
        ]
        found[Path(image["file_name"]).name] = rows
    return found


def sizes(content: dict) -> dict[str, tuple[int, int]]:
    """(height, width) by the image's name."""
    return {Path(i["file_name"]).name: (i["height"], i["width"]) for i in content["images"]}


def names(content: dict) -> list[str]:
    """The classes, in the order of their labels."""
    return [category["name"] for category in content["categories"]]
