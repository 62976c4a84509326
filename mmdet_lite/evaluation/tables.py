"""Evaluation figures as text tables."""

from __future__ import annotations

from collections.abc import Sequence

from mmdet_lite.evaluation.coco_eval import NO_SUCH_OBJECTS

_EXPLANATION = "-1: no such objects in the ground truth"


def metric_tables(values: dict[str, float]) -> str:
    """Lay out a metric's figures: precision, recall, then classes, one column a figure.

    Args:
        values: by key, as in 'bbox_mAP_50', 'segm_AR@100', 'bbox_AP/person'.
    """
    figures: dict[str, dict[str, float]] = {}
    for key, value in values.items():
        metric, figure = key.split("_", maxsplit=1)
        figures.setdefault(metric, {})[figure] = value
    tables = [
        _figure_table({m: _pick(f, "mAP") for m, f in figures.items()}),
        _figure_table({m: _pick(f, "AR") for m, f in figures.items() if m != "proposal"}),
        _figure_table({m: _pick(f, "AR") for m, f in figures.items() if m == "proposal"}),
        _class_table({m: _pick(f, "AP/") for m, f in figures.items()}),
    ]
    if NO_SUCH_OBJECTS in values.values():
        tables.append(_EXPLANATION)
    return "\n\n".join(table for table in tables if table)


def _pick(figures: dict[str, float], start: str) -> dict[str, float]:
    return {figure: value for figure, value in figures.items() if figure.startswith(start)}


def _figure_table(rows: dict[str, dict[str, float]]) -> str:
    """One row a metric."""
    rows = {metric: figures for metric, figures in rows.items() if figures}
    if not rows:
        return ""
    header = list(next(iter(rows.values())))
    body = [[metric, *map(_number, figures.values())] for metric, figures in rows.items()]
    return align([["", *header], *body])


def _class_table(columns: dict[str, dict[str, float]]) -> str:
    """One row a class, one column a metric."""
    columns = {metric: figures for metric, figures in columns.items() if figures}
    if not columns:
        return ""
    header = ["class", *(f"{metric} AP" for metric in columns)]
    body = [
        [figure.removeprefix("AP/"), *(_number(figures[figure]) for figures in columns.values())]
        for figure in next(iter(columns.values()))
    ]
    return align([header, *body])


def _number(value: float) -> str:
    return "-1" if value == NO_SUCH_OBJECTS else f"{value:.3f}"


def align(rows: Sequence[Sequence[str]]) -> str:
    """Pad cells to columns: names to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)
