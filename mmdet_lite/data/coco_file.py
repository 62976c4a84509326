"""Reading a COCO annotation file: it exists, is JSON, and every record has its fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmdet_lite.data.problems import Problems

_FIELDS = {
    "images": {"id": int, "file_name": str, "height": int, "width": int},
    "categories": {"id": int, "name": str},
    "annotations": {"id": int, "image_id": int, "category_id": int, "bbox": list},
}
_EXPECTED = "A COCO file is a dict with the lists 'images', 'annotations' and 'categories'."

CocoDict = dict[str, list[dict]]


def read_coco(path: Path) -> CocoDict:
    """Read an annotation file and check its format.

    Args:
        path: the annotation file.

    Returns:
        The file's dict; ``images``, ``annotations`` and ``categories`` are lists of dicts that
        have the fields needed, with the right types.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON, or not in COCO's format.
    """
    content = read_json(path)
    check_format(content, path)
    return content


def read_json(path: Path) -> Any:
    """The content of an annotation file, of whatever form.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"annotation file not found: {path} (absolute: {path.absolute()}). Correct ann_file; "
            "a relative path starts at the folder that the command is run in"
        )
    try:
        return json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(
            f"annotation file {path} is not JSON: {error.msg} (line {error.lineno}, column "
            f"{error.colno}). Is it the annotation file, and complete?"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"annotation file {path} is not JSON but binary: {error}") from error


def check_format(content: Any, path: Path) -> None:
    """Refuse what is not in COCO's format.

    Args:
        content: of the annotation file.
        path: the file, for the message.

    Raises:
        ValueError: keys are missing, or records lack fields or have them of another type.
    """
    problems = Problems(f"annotation file {path}")
    if not isinstance(content, dict):
        problems.add("wrong top level", [f"{type(content).__name__}, expected dict"], _EXPECTED)
        problems.raise_if_any("is not in COCO's format")
    missing = [repr(key) for key in _FIELDS if key not in content]
    problems.add("missing keys", missing, f"{_EXPECTED} This one has: {sorted(content)}.")
    for section, fields in _FIELDS.items():
        records = content.get(section, [])
        if not isinstance(records, list):
            found = f"{section!r} is {type(records).__name__}, expected list"
            problems.add("wrong type", [found], _EXPECTED)
            continue
        faults = [f"{section}[{i}]: {f}" for i, r in enumerate(records) if (f := _fault(r, fields))]
        needed = ", ".join(f"{name} ({kind.__name__})" for name, kind in fields.items())
        problems.add(f"malformed {section}", faults, f"Each needs: {needed}.")
    problems.raise_if_any("is not in COCO's format")


def _fault(record: Any, fields: dict[str, type]) -> str | None:
    if not isinstance(record, dict):
        return f"{record!r}, expected a dict"
    for name, kind in fields.items():
        if name not in record:
            return f"{name!r} is missing; there are {sorted(record)}"
        if not isinstance(record[name], kind):
            return f"{name!r} is {record[name]!r}, expected {kind.__name__}"
    box = record.get("bbox")
    if box is not None and (len(box) != 4 or not all(isinstance(v, (int, float)) for v in box)):
        return f"'bbox' is {box!r}, expected 4 numbers [x, y, width, height]"
    return None
