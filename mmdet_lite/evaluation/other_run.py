"""What another run found, for a comparison: from its report, or from its detections."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from mmdet_lite.evaluation.coco_results import CocoResults

REPORT_FILE = "report.json"
_FORMAT = "mmdet_lite report"
_HINT = (
    "--compare takes the folder of another report, its report.json, or detections in COCO's "
    "results format: a file, or the PREFIX that `test --out PREFIX` was given"
)


@dataclass
class OtherRun:
    """Another run.

    Attributes:
        name: to show.
        report: its report's content, or None.
        results: if there is no report, its detections by kind, 'bbox' and 'segm'.
    """

    name: str
    report: dict[str, Any] | None
    results: dict[str, CocoResults]


def find_files(path: str | Path) -> dict[str, Path]:
    """The files of another run by what is in them: 'report', 'bbox', 'segm'.

    Args:
        path: as ``--compare`` takes it.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is neither a report nor detections.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / REPORT_FILE).is_file():
            raise FileNotFoundError(f"{path}: this folder has no {REPORT_FILE}; {_HINT}")
        return {"report": path / REPORT_FILE}
    prefix = str(path)
    for kind in ("bbox", "segm"):
        prefix = prefix.removesuffix(f".{kind}.json")
    found = {kind: Path(f"{prefix}.{kind}.json") for kind in ("bbox", "segm")}
    found = {kind: file for kind, file in found.items() if file.is_file()}
    if found:
        return found
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {_HINT}")
    content = _load(path)
    if isinstance(content, dict) and content.get("format") == _FORMAT:
        return {"report": path}
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        raise ValueError(f"{path}: neither a report nor detections; {_HINT}")
    return {"bbox" if "bbox" in content[0] else "segm": path}


def read_other(
    files: Mapping[str, Path], sizes: Mapping[int, tuple[int, int]], category_ids: Sequence[int]
) -> OtherRun:
    """Read what :func:`find_files` has found.

    Args:
        files: by what is in them.
        sizes: (height, width) of each image of the data set, by its id.
        category_ids: the data set's category id of each label.

    Raises:
        ValueError: a file is not what it should be, or is about other images or classes.
    """
    if "report" in files:
        return OtherRun("", _load(files["report"]), {})
    results = {kind: _read_results(file, sizes, category_ids) for kind, file in files.items()}
    file = next(iter(files.values())).absolute()
    return OtherRun(f"{file.parent.name}/{file.name.split('.')[0]}", None, results)


def write_report_json(path: Path, content: dict[str, Any]) -> None:
    """Write a report's figures so that :func:`read_other` can read them; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": _FORMAT, **content}
    path.write_text(json.dumps(content, separators=(",", ":")), encoding="utf-8")


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a JSON file ({error}); {_HINT}") from error


def _read_results(
    path: Path, sizes: Mapping[int, tuple[int, int]], category_ids: Sequence[int]
) -> CocoResults:
    entries = _load(path)
    label_of = {category: label for label, category in enumerate(category_ids)}
    try:
        image_ids = [entry["image_id"] for entry in entries]
        categories = [entry["category_id"] for entry in entries]
        scores = np.array([entry["score"] for entry in entries], dtype=np.float32)
        rles = [_rle_bytes(entry) for entry in entries if "segmentation" in entry]
        boxes = [entry.get("bbox") or _mask_box(entry) for entry in entries]
        boxes_xywh = np.array(boxes, dtype=float).reshape(len(entries), 4)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: not detections in COCO's results format, which have image_id, category_id, "
            f"score and bbox or segmentation ({type(error).__name__}: {error})"
        ) from error
    for name, values, known in (
        ("image_id", image_ids, sizes),
        ("category_id", categories, label_of),
    ):
        unknown = sorted({value for value in values if value not in known}, key=str)
        if unknown:
            raise ValueError(
                f"{path}: {name} {', '.join(map(str, unknown[:10]))} "
                f"({len(unknown)} in all) is not in the data set that is evaluated; compare "
                "runs on the same test_data"
            )
    return CocoResults(
        seen=np.array(sorted(sizes), dtype=np.int64),
        image_ids=np.array(image_ids, dtype=np.int64),
        labels=np.array([label_of[category] for category in categories], dtype=np.int64),
        scores=scores,
        boxes_xywh=boxes_xywh,
        sizes=np.array([sizes[image] for image in image_ids], dtype=np.int64).reshape(-1, 2),
        rles=rles if len(rles) == len(entries) else [],
    ).sort_by_image()


def _rle_bytes(entry: dict) -> bytes:
    counts = entry["segmentation"]["counts"]
    return counts.encode() if isinstance(counts, str) else counts


def _mask_box(entry: dict) -> list[float]:
    rle = {"size": entry["segmentation"]["size"], "counts": _rle_bytes(entry)}
    return coco_mask.toBbox(rle).tolist()
