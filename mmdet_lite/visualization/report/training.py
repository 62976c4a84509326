"""The course of a training for the page's curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_MOST_POINTS = 200  # of a curve


def training_series(records: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Losses, learning rate and average precision over iterations.

    Args:
        records: as :func:`mmdet_lite.visualization.curves.read_log` gives them.

    Returns:
        Under 'loss', 'lr' and 'mAP' curves with 'name', 'x' (iterations) and 'y', thinned to some
        hundred points; -1 (no such objects) is not a point.
    """
    train = [record for record in records if record["mode"] == "train"]
    val = [record for record in records if record["mode"] == "val"]
    losses = ["loss"] + [key for key in _keys(train) if "loss_" in key]
    maps = [key for key in _keys(val) if key.endswith(("_mAP", "_mAP_50"))]
    series = {
        "loss": [_series(train, key) for key in losses],
        "lr": [_series(train, "lr")],
        "mAP": [_series([r for r in val if r.get(key, -1) >= 0], key) for key in maps],
    }
    return {name: [one for one in curves if one["x"]] for name, curves in series.items()}


def _keys(records: Sequence[dict[str, Any]]) -> list[str]:
    """Every key, in the order of first appearance."""
    return list(dict.fromkeys(key for record in records for key in record))


def _series(records: Sequence[dict[str, Any]], key: str) -> dict[str, Any]:
    points = [(record["iter"], record[key]) for record in records if key in record]
    places = np.unique(np.linspace(0, len(points) - 1, min(_MOST_POINTS, len(points))).astype(int))
    picked = [points[place] for place in places]
    y = [float(f"{value:.5g}") if np.isfinite(value) else None for _, value in picked]
    return {"name": key, "x": [iteration for iteration, _ in picked], "y": y}
