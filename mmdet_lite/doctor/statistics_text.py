"""Statistics of a data set as lines to print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmdet_lite.doctor.statistics import ClassStatistics, Distribution, Statistics

CLASSES_SHOWN = 20
QUANTILES = ("least", "5 %", "25 %", "median", "75 %", "95 %", "largest")


def statistics_text(statistics: Statistics) -> str:
    """Remarks, counts, a table of distributions, what anchors miss, and a table of classes."""
    lines = [*statistics.remarks, *_counts(statistics), "", *_distributions(statistics), ""]
    if statistics.unmatched is not None:
        lines += [*_unmatched(statistics), ""]
    lines += _classes(statistics)
    return "\n".join(lines)


def share(value: float | None) -> str:
    """A share as per cent; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"


def number(value: float) -> str:
    """Three digits at least, none behind the point from 100 on."""
    return f"{value:.0f}" if value >= 100 or value == round(value) else f"{value:.3g}"


def _counts(statistics: Statistics) -> list[str]:
    used = sum(1 for one in statistics.classes if one.objects)
    lines = [
        f"{statistics.images} images, {statistics.images_without_objects} of them without objects",
        f"{statistics.objects} objects of {used} of {len(statistics.classes)} classes, "
        f"{statistics.crowds} crowds",
    ]
    if statistics.left_out:
        lines.append(f"{statistics.left_out} annotations are left out: other classes, or unusable")
    return lines


def _distributions(statistics: Statistics) -> list[str]:
    named = [(f"box size in pixels, {one.where}", one.sizes) for one in statistics.sizes]
    named += [
        ("height / width", statistics.aspect_ratios),
        ("objects an image", statistics.objects_per_image),
    ]
    rows = [("", *QUANTILES)]
    rows += [(name, *_quantiles(distribution)) for name, distribution in named]
    lines = align(rows)
    for one in statistics.sizes:
        counts = f"small {one.small}, medium {one.medium}, large {one.large}"
        lines.append(f"{one.where}: {counts} (COCO's limits: 32 and 96)")
    return lines


def _quantiles(distribution: Distribution) -> Sequence[str]:
    return [number(value) for value in distribution.quantiles] or ["-"] * len(QUANTILES)


def _unmatched(statistics: Statistics) -> list[str]:
    found = statistics.unmatched
    return [
        f"boxes that no anchor matches ({found.rule}): {share(found.total)}",
        f"  small {share(found.small)}, medium {share(found.medium)}, large {share(found.large)} "
        "(by their size in training)",
    ]


def _classes(statistics: Statistics) -> list[str]:
    by_count = sorted(statistics.classes, key=lambda one: -one.objects)
    shown = by_count[:CLASSES_SHOWN]
    rows = [("class", "objects", "images", "median size", "no anchor"), *map(_class_row, shown)]
    if statistics.unmatched is None:
        rows = [row[:-1] for row in rows]
    lines = align(rows)
    if rest := by_count[CLASSES_SHOWN:]:
        objects = sum(one.objects for one in rest)
        lines.append(f"... and {len(rest)} classes more, with {objects} objects")
    return lines


def _class_row(one: ClassStatistics) -> tuple[str, ...]:
    size = "-" if one.median_size is None else number(one.median_size)
    return (one.name, str(one.objects), str(one.images), size, share(one.unmatched))


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of a table: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
