"""A page of a run's curves: losses, learning rate, average precision, to read values from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from mmdet_lite.visualization.report.page import fill_page
from mmdet_lite.visualization.report.training import training_series

_SCRIPTS = ("dom.js", "charts.js", "training.js", "curves.js")


def curves_html(title: str, records: Sequence[dict[str, Any]]) -> str:
    """One HTML file that needs nothing else.

    Args:
        title: the run's name; any text.
        records: as :func:`mmdet_lite.visualization.curves.read_log` gives them, of training steps
            and validations.
    """
    last = records[-1]
    content = {
        "title": title,
        "subject": f"epoch {last['epoch']} · iteration {last['iter']:,}",
        "tiles": _tiles(records),
        "training": training_series(records),
    }
    return fill_page("curves.html", _SCRIPTS, content)


def _tiles(records: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """The best of each mAP, the last loss and the time an iteration takes."""
    train = [record for record in records if record["mode"] == "train"]
    val = [record for record in records if record["mode"] == "val"]
    tiles = []
    for key in dict.fromkeys(key for record in val for key in record if key.endswith("_mAP")):
        points = [(r[key], r["iter"]) for r in val if r.get(key, -1) >= 0]
        if points:
            best, at = max(points, key=lambda point: point[0])
            note = f"best, at iteration {at:,}; last {points[-1][0]:.3f}"
            tiles.append({"name": key, "value": f"{best:.3f}", "note": note})
    if train:
        loss, seconds = train[-1].get("loss", math.nan), train[-1].get("time", math.nan)
        tiles.append({"name": "loss", "value": f"{loss:.3f}", "note": "in the last interval"})
        tiles.append({"name": "s/it", "value": f"{seconds:.3f}", "note": "in the last interval"})
    return tiles
