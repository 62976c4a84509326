"""What the sections of a config take of a data set: all of its images, or a part."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmdet_lite.apis.doctor_sources import Source, Use
from mmdet_lite.doctor.coco_objects import records


@dataclass
class Part:
    """Images of a data set that sections of a config take.

    Attributes:
        sections: that take the same images.
        content: of the annotation file, as far as it is of these images.
        remark: which images these are; empty where it goes without saying.
        image_ids: of these images; None: all of the file.
        is_known: False where it could not be found out; the content is the whole file's then.
    """

    sections: tuple[str, ...]
    content: Any
    remark: str = ""
    image_ids: frozenset[int] | None = None
    is_known: bool = True


def read_parts(content: Any, source: Source) -> list[Part]:
    """The parts of a data set that a config takes, those of the same images together.

    Args:
        content: of its annotation file.
        source: the data set.
    """
    if all(use.part is None for use in source.uses):
        return [Part(source.sections, content)]
    parts: dict[Any, Part] = {}
    for use in source.uses:
        part = _read(content, use)
        key = part.image_ids if part.is_known else part.remark
        known = parts.setdefault(key, part)
        known.sections = tuple(dict.fromkeys((*known.sections, use.section)))
    count = len(records(content, "images"))
    for part in parts.values():
        names = " and ".join(part.sections)
        if not part.is_known:
            part.remark = f"{names}: figures of all {count} images, of a part {part.remark}"
            continue
        number = "all" if part.image_ids is None else f"{len(part.image_ids)} of"
        part.remark = (
            f"{names}: figures of {number} {count} images; what is found is of all of them"
        )
    return list(parts.values())


def _read(content: Any, use: Use) -> Part:
    if use.part is None:
        return Part((), content)
    from mmdet_lite.registry import DATASETS, build

    try:
        with _without_warnings():
            chosen = build(use.part, DATASETS, seed=0).coco_dict()
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        return Part((), content, f"that is not known ({reason})", is_known=False)
    # A part of several data sets has the images of all of them.
    ours = {(image.get("id"), image.get("file_name")) for image in records(content, "images")}
    images = [i for i in chosen["images"] if (i["id"], i.get("file_name")) in ours]
    ids = frozenset(image["id"] for image in images)
    annotations = [a for a in chosen["annotations"] if a["image_id"] in ids]
    return Part((), chosen | {"images": images, "annotations": annotations}, image_ids=ids)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """What a data set warns of as it is loaded is found anyway."""
    logger = logging.getLogger("mmdet_lite")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
