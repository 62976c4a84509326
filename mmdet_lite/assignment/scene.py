"""All that is shown of one image: its ground truth, and what one or two models learn from it.

Letters: G ground truths, L levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmdet_lite.assignment.rows import Status
from mmdet_lite.assignment.stage import Stage


@dataclass
class Frame:
    """The assignment by a model with certain weights.

    Attributes:
        label: what the weights are: 'untrained', or a checkpoint's name.
        stages: in the order of the step.
    """

    label: str
    stages: list[Stage]


@dataclass
class System:
    """A configured model, with its weights at one or more points of its training.

    Attributes:
        name: of the config.
        frames: at least one; all have the same stages.
    """

    name: str
    frames: list[Frame]


@dataclass
class Scene:
    """One training image and its assignments.

    Attributes:
        image: (H, W, 3) uint8 RGB, as the model sees it, with the padding in which priors are.
        boxes: (G, 4) xyxy in its pixels.
        labels: (G,) int64.
        ignore_boxes: (I, 4).
        classes: K names.
        place: what the image is, and in which step of the training it is seen.
        systems: one, or two to compare.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    ignore_boxes: np.ndarray
    classes: Sequence[str]
    place: str
    systems: list[System]

    @property
    def names(self) -> list[str]:
        """Number and class of each ground truth."""
        return [f"{i} {self.classes[label]}" for i, label in enumerate(self.labels.tolist())]


def describe_scene(scene: Scene) -> str:
    """A scene in words: a table for each stage, as text."""
    parts = [scene.place]
    if not len(scene.boxes):
        parts.append(
            "The image has no objects: every prior is background, and nothing learns a box."
        )
    for system in scene.systems:
        for frame in system.frames:
            for stage in frame.stages:
                title = f"{system.name}, {frame.label}: {stage.name}, {stage.assigner}"
                parts.append("\n".join([title, *_table(scene, stage)]))
    return "\n\n".join(parts + comparison(scene))


def tally(stage: Stage) -> str:
    """What became of a stage's priors or RoIs, in a line."""
    words = {
        Status.POSITIVE: "positive",
        Status.UNSAMPLED: "matched, not sampled",
        Status.NEGATIVE: "sampled background",
        Status.IGNORED: "ignored",
    }
    counts = {text: stage.count(status) for status, text in words.items()}
    parts = [f"{count} {text}" for text, count in counts.items() if count or text == "positive"]
    return f"{', '.join(parts)}, {stage.background} other {stage.kind}"


def without_positives(stage: Stage) -> list[int]:
    """Ground truths that nothing learns."""
    return np.flatnonzero(stage.positives().sum(axis=1) == 0).tolist()


def comparison(scene: Scene) -> list[str]:
    """Which ground truths one of two systems leaves out and the other does not, by their dense
    heads with the last weights; nothing where there is a single system."""
    if len(scene.systems) == 1 or not len(scene.boxes):
        return []
    missed = [set(without_positives(system.frames[-1].stages[0])) for system in scene.systems]
    lines = []
    for i, system in enumerate(scene.systems):
        only = sorted(missed[i] - missed[1 - i])
        if only:
            names = ", ".join(scene.names[gt] for gt in only)
            lines.append(f"Without a positive in {system.name} only: {names}")
    both = sorted(missed[0] & missed[1])
    if both:
        lines.append(f"Without a positive in both: {', '.join(scene.names[gt] for gt in both)}")
    return ["\n".join(lines or ["Every object has positives in both."])]


def _table(scene: Scene, stage: Stage) -> list[str]:
    """Lines: a ground truth each, and the tally."""
    positives, unsampled = stage.positives(), stage.unsampled()
    header = ["object", "size", *(f"/{stride}" for stride in stage.strides), "positives"]
    header += ["left out"] * bool(unsampled.any()) + ["best IoU", "weight"]
    rows = [header]
    for gt, name in enumerate(scene.names):
        x1, y1, x2, y2 = scene.boxes[gt]
        row = [name, f"{x2 - x1:.0f}x{y2 - y1:.0f}", *map(str, positives[gt])]
        row += [str(positives[gt].sum()) if positives[gt].any() else "none"]
        row += [str(unsampled[gt])] * bool(unsampled.any())
        row += [number(stage.best_iou[gt]), number(stage.weights()[gt])]
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows[: 1 + len(scene.boxes) if len(scene.boxes) else 0]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return [*lines, f"  {tally(stage)}"]


def number(value: float) -> str:
    """Two or three digits, or a dash where there is none."""
    return "-" if np.isnan(value) else f"{value:.3g}" if value < 1 else f"{value:.4g}"
