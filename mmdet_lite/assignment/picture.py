"""The still picture of a scene: a panel for each stage, weights from left to right."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mmdet_lite.assignment.rows import Status
from mmdet_lite.assignment.scene import Frame, Scene, System, without_positives
from mmdet_lite.assignment.stage import Stage
from mmdet_lite.models.assigners.max_iou_assigner import IGNORE, NEGATIVE
from mmdet_lite.visualization.draw import save_image
from mmdet_lite.visualization.targets import draw_assignment
from mmdet_lite.visualization.text import TextStyle

_LONG_SIDES = (1000, 760, 600, 480)  # of a panel, where so many stand side by side; pixels
_SHORT_SIDE = 400  # at least: smaller pictures would be enlarged by a whole number
_GAP, _WHITE, _INK, _FADED = 12, 255, (30, 30, 30), (110, 110, 110)
_LEGEND = (
    "colour: object   size: level   filled: what it has to score   "
    "empty: not sampled, or to score 0   x: ignored   dot: sampled background"
)


def save_picture(scene: Scene, path: Path) -> None:
    """Write a scene's picture as a PNG file; its folder is made."""
    save_image(path, draw_scene(scene))


def draw_scene(scene: Scene) -> np.ndarray:
    """Draw all stages of all frames: (H, W, 3) uint8 RGB.

    A column is a system with certain weights, a row a stage of its step.
    """
    columns = [(system, frame) for system in scene.systems for frame in system.frames]
    scale = _scale(scene.image, len(columns))
    grid = [_draw_column(scene, system, frame, scale) for system, frame in columns]
    height = max(map(len, grid))
    panels = [_pad(column, height) for column in grid]
    picture = np.hstack([part for panel in panels for part in (panel, _blank(height, _GAP))][:-1])
    return np.vstack([picture, _text(_LEGEND, picture.shape[1], _FADED)])


def _scale(image: np.ndarray, num_columns: int) -> float:
    """Pixels of a panel for a pixel of the image."""
    short, long = sorted(image.shape[:2])
    side = _LONG_SIDES[min(num_columns, len(_LONG_SIDES)) - 1]
    return max(side / long, _SHORT_SIDE / short)


def _draw_column(scene: Scene, system: System, frame: Frame, scale: float) -> np.ndarray:
    parts: list[np.ndarray] = []
    for stage in frame.stages:
        panel = _draw_stage(scene, stage, scale)
        width = panel.shape[1]
        lines = [f"{system.name}, {frame.label}"] * (not parts)
        lines += [f"{stage.name}: {_counts(stage)}"]
        parts += [_text(line, width, _INK) for line in lines] + [panel, _blank(_GAP, width)]
    return np.vstack(parts)


def _counts(stage: Stage) -> str:
    missed = without_positives(stage)
    nothing = f", nothing for {len(missed)} of {stage.num_gts} objects" if missed else ""
    return f"{stage.count(Status.POSITIVE)} positive{nothing}"


def _draw_stage(scene: Scene, stage: Stage, scale: float) -> np.ndarray:
    height, width = (round(side * scale) for side in scene.image.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(scene.image, (width, height), interpolation=way)
    missed = without_positives(stage)
    names = [f"{name}: none" if gt in missed else name for gt, name in enumerate(scene.names)]
    assigned = np.where(stage.status == Status.NEGATIVE, NEGATIVE, stage.gt)
    assigned = np.where(stage.status == Status.IGNORED, IGNORE, assigned)
    return draw_assignment(
        image,
        stage.centers * scale,
        np.array(stage.strides)[stage.level] * scale,
        scene.boxes * scale,
        assigned,
        np.nan_to_num(stage.score).clip(0, 1),
        names,
    )


def _text(text: str, width: int, color: tuple[int, int, int]) -> np.ndarray:
    """A line of text as wide as what it stands over."""
    style = TextStyle(0.55, 1, 6).fit(text, width)
    canvas = _blank(style.size(text)[1] + 2, width)
    style.draw(canvas, text, 0, 1, color)
    return canvas


def _blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), _WHITE, np.uint8)


def _pad(image: np.ndarray, height: int) -> np.ndarray:
    return np.vstack([image, _blank(height - len(image), image.shape[1])])
