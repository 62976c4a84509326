"""LVIS: COCO's form, with what an image was searched for and how frequent categories are."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlparse

from mmdet_lite.data.coco_file import CocoDict, read_json
from mmdet_lite.data.formats.source import ReadOptions, Source
from mmdet_lite.data.problems import Problems


def read_coco_json(path: Path, options: ReadOptions) -> Source:
    """Read a json file in COCO's form, or LVIS's, which its content shows.

    Args:
        path: the annotation file.
        options: ``image_dir``; None: the folder that the file is in.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or LabelMe's. Whether its records are sound is not looked at.
    """
    problems = Problems(path)
    content = read_json(path, problems)
    problems.raise_if_any("is not JSON")
    if isinstance(content, dict) and "shapes" in content and "images" not in content:
        raise ValueError(f"{path} is LabelMe's file of one image; give its folder: {path.parent}")
    kind = "coco"
    if is_lvis(content):
        kind, content = "lvis", complete_lvis(content)
    return Source(kind, content, options.image_dir or path.parent)


def is_lvis(content: object) -> bool:
    """Whether the content of an annotation file is LVIS's."""
    if not isinstance(content, dict):
        return False
    records = [content.get(key) for key in ("images", "categories")]
    first = [one[0] if isinstance(one, list) and one else {} for one in records]
    keys = {key for record in first if isinstance(record, dict) for key in record}
    return bool(keys & {"neg_category_ids", "not_exhaustive_category_ids", "frequency"})


def complete_lvis(content: CocoDict) -> CocoDict:
    """Give each image its ``file_name``: folder and name of its ``coco_url``.

    LVIS takes images of COCO's training set into its validation set, so the folder is part of the
    name: ``train2017/000000391895.jpg``. The content is changed.
    """
    for image in content["images"] if isinstance(content.get("images"), list) else ():
        if isinstance(image, dict) and "file_name" not in image and "coco_url" in image:
            folder, name = Path(urlparse(str(image["coco_url"])).path).parts[-2:]
            image["file_name"] = f"{folder}/{name}"
    return content
