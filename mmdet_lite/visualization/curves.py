"""Training curves from the JSON-lines log: losses, learning rate, average precision."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_log = logging.getLogger("mmdet_lite")

_TOTAL = "#222222"
# Okabe and Ito 2008
LINE_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
INK = "#555555"
_MOST_NAMED = 10  # lines in a message

Curve = tuple[list[int], list[float]]  # iterations, values


def plot_curves(log_file: str | Path, out: str | Path) -> None:
    """Draw a run's losses, learning rate and, if it was validated, its mAP over iterations.

    Args:
        log_file: JSON lines as the trainer writes them; see :func:`read_log` for resumed runs.
        out: the picture; its folder is made.

    Raises:
        FileNotFoundError: there is no log.
        ValueError: the log has no training line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = read_log(log_file)
    train = [record for record in records if record["mode"] == "train"]
    val = [record for record in records if record["mode"] == "val"]
    if not train:
        raise ValueError(f"{log_file}: no line of a training step, nothing to draw")
    panels = [(_draw_losses, train, 3), (_draw_lr, train, 1)] + [(_draw_map, val, 2)] * bool(val)
    heights = [height for _, _, height in panels]
    figure = Figure(figsize=(9, 0.8 + 1.5 * sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        len(panels), 1, sharex=True, gridspec_kw={"height_ratios": heights}, squeeze=False
    )[:, 0]
    for axis, (draw, lines, _) in zip(axes, panels, strict=True):
        draw(axis, lines)
        tidy(axis)
    axes[-1].set_xlabel("iteration", color=INK)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=130)


def read_log(log_file: str | Path) -> list[dict]:
    """Read a log; where a resumed run went back, what it did anew replaces what was there.

    A line that was cut off (the run was killed while it was written) is left out with a warning.
    Values that were not finite are NaN.

    Args:
        log_file: JSON lines with 'mode' ('train' or 'val') and 'iter'.

    Returns:
        Records, by iteration; validation after the training step it follows.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return drop_repeated(read_json_lines(log_file, ("mode", "iter")))


def read_json_lines(log_file: str | Path, required: Sequence[str] = ()) -> list[dict]:
    """The objects of a file with one a line; others are left out with a warning.

    Args:
        log_file: JSON lines; null becomes NaN, as which it was written.
        required: keys that every object has.

    Raises:
        FileNotFoundError: there is no such file.
    """
    path = Path(log_file)
    if not path.is_file():
        raise FileNotFoundError(f"{path.resolve()}: no such log; a run writes one to its work_dir")
    records: list[dict] = []
    unreadable = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict) and all(key in record for key in required):
            records.append({k: nan if value is None else value for k, value in record.items()})
        else:
            unreadable.append(number)
    if unreadable:
        numbers = ", ".join(map(str, unreadable[:_MOST_NAMED]))
        numbers += f" and {len(unreadable) - _MOST_NAMED} more" * (len(unreadable) > _MOST_NAMED)
        _log.warning("%s: left out lines that are not log records: %s", path, numbers)
    return records


def drop_repeated(records: Sequence[dict]) -> list[dict]:
    """Records by iteration: one takes the place of those that were not before it in the run."""
    kept: list[dict] = []
    for record in records:
        while kept and _place(kept[-1]) >= _place(record):
            kept.pop()
        kept.append(record)
    return kept


def _place(record: dict) -> tuple[int, bool]:
    return record["iter"], record["mode"] == "val"


def _curve(records: list[dict], key: str) -> Curve:
    found = [(record["iter"], record[key]) for record in records if key in record]
    return [iteration for iteration, _ in found], [value for _, value in found]


def _keys(records: list[dict]) -> list[str]:
    """Every key, in the order of first appearance."""
    return list(dict.fromkeys(key for record in records for key in record))


def _draw_losses(axis: Axes, train: list[dict]) -> None:
    axis.plot(*_curve(train, "loss"), color=_TOTAL, linewidth=2.2, zorder=3, label="total")
    for index, key in enumerate(key for key in _keys(train) if "loss_" in key):
        style = "-" if index < len(LINE_COLORS) else "--"
        color = LINE_COLORS[index % len(LINE_COLORS)]
        label = key.replace("loss_", "")
        axis.plot(*_curve(train, key), style, color=color, linewidth=1.1, label=label)
    axis.set_ylabel("loss", color=INK)
    axis.set_ylim(bottom=0)
    legend(axis)


def _draw_lr(axis: Axes, train: list[dict]) -> None:
    axis.plot(*_curve(train, "lr"), color=LINE_COLORS[0], linewidth=1.6)
    axis.set_ylabel("lr", color=INK)
    axis.set_ylim(bottom=0)
    axis.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))


def _draw_map(axis: Axes, val: list[dict]) -> None:
    """mAP thick, mAP_50 thin."""
    for index, key in enumerate(key for key in _keys(val) if key.endswith("_mAP")):
        color = LINE_COLORS[index % len(LINE_COLORS)]
        _draw_points(axis, val, key, "o-", color, 2.2)
        _draw_points(axis, val, f"{key}_50", "o--", color, 1.1)
    axis.set_ylabel("mAP", color=INK)
    axis.set_ylim(bottom=0)
    legend(axis)


def _draw_points(
    axis: Axes, val: list[dict], key: str, style: str, color: str, width: float
) -> None:
    """A figure with its last value in the legend; -1 (no such objects) is not a point."""
    iterations, values = _curve([record for record in val if record.get(key, -1) >= 0], key)
    if values:
        label = f"{key}  {values[-1]:.3f}"
        axis.plot(
            iterations, values, style, color=color, linewidth=width, markersize=3, label=label
        )


def legend(axis: Axes) -> None:
    """Name the lines beside the curves, so that it never covers them."""
    if axis.lines:
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=9)


def tidy(axis: Axes) -> None:
    """Frame and grid that leave the lines in front."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#BBBBBB")
    axis.grid(color="#EEEEEE")
    axis.set_axisbelow(True)
    axis.tick_params(colors=INK, labelsize=9)
    axis.margins(x=0.01)
