"""Curves of several runs, one over another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmdet_lite.visualization.curves import INK, LINE_COLORS, legend, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_runs(runs: Mapping[str, Sequence[dict]], keys: Sequence[str], out: str | Path) -> None:
    """Draw one panel a key, one line a run, over iterations.

    Args:
        runs: by name; records as :func:`mmdet_lite.visualization.curves.read_log` gives them.
        keys: of the records; a run that lacks one has no line there.
        out: the picture; its folder is made.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.8 + 2.6 * len(keys)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(keys), 1, sharex=True, squeeze=False)[:, 0]
    for axis, key in zip(axes, keys, strict=True):
        for index, (name, records) in enumerate(runs.items()):
            _draw(axis, name, index, [r for r in records if key in r], key)
        axis.set_ylabel(key, color=INK)
        legend(axis)
        tidy(axis)
    axes[-1].set_xlabel("iteration", color=INK)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)


def _draw(axis: Axes, name: str, index: int, records: Sequence[dict], key: str) -> None:
    """A line; dots too where they are validations, of which -1 (no such objects) is none."""
    is_val = any(record["mode"] == "val" for record in records)
    points = [(r["iter"], r[key]) for r in records if not is_val or r[key] >= 0]
    if not points:
        return
    iterations, values = zip(*points, strict=True)
    style = ("-", "--", ":")[index // len(LINE_COLORS) % 3] + ("o" if is_val else "")
    color = LINE_COLORS[index % len(LINE_COLORS)]
    axis.plot(iterations, values, style, color=color, linewidth=1.4, markersize=3, label=name)
