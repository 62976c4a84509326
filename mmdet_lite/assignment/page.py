"""A scene as one HTML page that loads nothing: a picture to point at, and a table."""

from __future__ import annotations

import base64
import html
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmdet_lite.assignment.rows import Status
from mmdet_lite.assignment.scene import Scene, System, tally
from mmdet_lite.assignment.stage import Stage
from mmdet_lite.models.priors.anchor_generator import unpack_prior_ids
from mmdet_lite.visualization.html_page import fill_template, json_for_script
from mmdet_lite.visualization.palette import class_color
from mmdet_lite.visualization.targets import spread_apart

# Okabe and Ito 2008, without black, and two more: coarser levels of other pyramids.
_LEVEL_COLORS = (
    *("#56b4e9", "#e69f00", "#00c896", "#f0e442", "#cc79a7"),
    *("#ff7f5c", "#a99cff", "#c8c8c8"),
)
_MOST_ROWS = 3000  # of a status and stage; a browser draws them in a moment
_MOST_AT_FIRST = 400  # ignored ones: more of them hide the picture until they are asked for
_LOSSLESS_PIXELS = 256 * 256


def write_page(scene: Scene, path: Path) -> None:
    """Write a scene's page; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(make_page(scene), encoding="utf-8")


def make_page(scene: Scene) -> str:
    """The page of a scene, with all that it needs inside."""
    here = files("mmdet_lite.assignment")
    parts = {
        "title": html.escape("Targets of " + " and ".join(s.name for s in scene.systems)),
        "style": here.joinpath("page.css").read_text(encoding="utf-8"),
        "panel": here.joinpath("panel.js").read_text(encoding="utf-8"),
        "script": here.joinpath("page.js").read_text(encoding="utf-8"),
        "data": json_for_script(_content(scene)),
    }
    return fill_template(here.joinpath("page.html").read_text(encoding="utf-8"), parts)


def _content(scene: Scene) -> dict[str, Any]:
    stages = [st for sy in scene.systems for frame in sy.frames for st in frame.stages]
    strides = sorted({stride for stage in stages for stride in stage.strides})
    is_sparse = max(stage.count(Status.IGNORED) for stage in stages) <= _MOST_AT_FIRST
    return {
        "place": scene.place,
        "image": _data_uri(scene.image),
        "height": scene.image.shape[0],
        "width": scene.image.shape[1],
        "gts": [
            {"name": name, "box": _round(box, 1), "size": _size(box), "color": _hex(i)}
            for i, (name, box) in enumerate(zip(scene.names, scene.boxes, strict=True))
        ],
        "ignored": [_round(box, 1) for box in scene.ignore_boxes],
        "levels": [
            {"stride": stride, "color": _LEVEL_COLORS[i % len(_LEVEL_COLORS)]}
            for i, stride in enumerate(strides)
        ],
        "shown": [Status.POSITIVE, Status.UNSAMPLED] + [Status.IGNORED] * is_sparse,
        "systems": [_system(system, strides) for system in scene.systems],
    }


def _system(system: System, strides: list[int]) -> dict[str, Any]:
    return {
        "name": system.name,
        "frames": [
            {"label": frame.label, "stages": [_stage(stage, strides) for stage in frame.stages]}
            for frame in system.frames
        ],
    }


def _stage(stage: Stage, strides: list[int]) -> dict[str, Any]:
    levels = [strides.index(stride) for stride in stage.strides]
    drawn = _thinned(stage.status)
    note = f"; {len(drawn)} of {len(stage.status)} are drawn" * (len(drawn) < len(stage.status))
    has_best = not np.isnan(stage.best_iou).all()
    of = "predictions" if stage.kind == "points" else stage.kind
    return {
        "name": stage.name,
        "kind": stage.kind,
        "assigner": stage.assigner,
        "tally": tally(stage) + note,
        "levels": levels,
        "positives": stage.positives().tolist(),
        "unsampled": stage.unsampled().tolist() if stage.unsampled().any() else None,
        "inside": None if stage.inside is None else stage.inside.tolist(),
        "best": _round(stage.best_iou, 4) if has_best else None,
        "bestName": f"best IoU of {of}",
        "weights": _round(stage.weights(), 4),
        "rows": _rows(stage, levels, drawn),
    }


def _thinned(status: np.ndarray) -> np.ndarray:
    """Indices of the rows that are drawn, of each status not too many, evenly."""
    kept = []
    for one in Status:
        of_status = np.flatnonzero(status == one)
        places = np.linspace(0, len(of_status) - 1, min(len(of_status), _MOST_ROWS)).astype(int)
        kept.append(of_status[places])
    return np.concatenate(kept)


def _rows(stage: Stage, levels: list[int], drawn: np.ndarray) -> list[dict[str, Any]]:
    centers = stage.centers[drawn]
    shifts = spread_apart(centers)
    places = None if stage.kind == "RoIs" else unpack_prior_ids(stage.ids[drawn])
    return [
        {
            "status": int(stage.status[i]),
            "gt": int(stage.gt[i]),
            "level": levels[stage.level[i]],
            "x": round(float(centers[k, 0]), 1),
            "y": round(float(centers[k, 1]), 1),
            "dx": round(float(shifts[k, 0]), 2),
            "dy": round(float(shifts[k, 1]), 2),
            "box": _round(stage.boxes[i], 1),
            "iou": _number(stage.iou[i]),
            "predicted": _predicted(stage, i),
            "predictedIou": _number(stage.predicted_iou[i]),
            "score": _number(stage.score[i]),
            "weight": _number(stage.weight[i]),
            "place": None if places is None else [int(places[1][k]), int(places[2][k])],
            "itself": bool(stage.is_gt[i]),
        }
        for k, i in enumerate(drawn.tolist())
    ]


def _predicted(stage: Stage, i: int) -> list[float | None] | None:
    is_known = stage.gt[i] >= 0 and np.isfinite(stage.predicted[i]).all()
    return _round(stage.predicted[i], 1) if is_known else None


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _round(values: np.ndarray, digits: int) -> list[float | None]:
    return [round(float(v), digits) if np.isfinite(v) else None for v in values]


def _size(box: np.ndarray) -> str:
    return f"{box[2] - box[0]:.0f} x {box[3] - box[1]:.0f}"


def _hex(index: int) -> str:
    return "#{:02x}{:02x}{:02x}".format(*class_color(index))


def _data_uri(image: np.ndarray) -> str:
    """Small pictures, as those of shapes, as they are; others as JPEG."""
    is_small = image.shape[0] * image.shape[1] <= _LOSSLESS_PIXELS
    kind, settings = ("png", []) if is_small else ("jpeg", [cv2.IMWRITE_JPEG_QUALITY, 88])
    _, encoded = cv2.imencode(f".{kind}", image[..., ::-1], settings)
    return f"data:image/{kind};base64,{base64.b64encode(encoded.tobytes()).decode('ascii')}"
