"""Statistics of a split as a piece of the page: numbers, histograms, classes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from mmdet_lite.doctor.statistics import ClassStatistics, Distribution, Statistics
from mmdet_lite.doctor.statistics_text import number, share

_CLASSES_SHOWN = 100
_WIDTH, _HEIGHT, _BELOW, _ABOVE = 320, 96, 18, 16  # of a chart, and of its labels
_METER = 140  # pixels of the most frequent class's bar


def statistics_html(name: str, statistics: Statistics) -> str:
    """A section with everything that is known of a split.

    Args:
        name: of the split.
        statistics: of it.
    """
    charts = [
        _chart(f"Box size, {one.where}", "square root of the area in pixels", one.sizes)
        for one in statistics.sizes
    ]
    charts.append(_chart("Aspect ratio", "height / width of boxes", statistics.aspect_ratios))
    charts.append(_chart("Objects an image", "images by objects", statistics.objects_per_image))
    remarks = "".join(f"<p><b>{escape(one)}</b></p>" for one in statistics.remarks)
    return (
        f'<h2>{escape(name)}</h2><section class="card">{remarks}{_numbers(statistics)}'
        f'<div class="charts">{"".join(charts)}</div></section>'
        f'<section class="card"><h3>Classes</h3>{_classes(statistics)}</section>'
    )


def _numbers(statistics: Statistics) -> str:
    pairs = [
        ("images", f"{statistics.images:,}"),
        ("without objects", f"{statistics.images_without_objects:,}"),
        ("objects", f"{statistics.objects:,}"),
        ("crowds", f"{statistics.crowds:,}"),
        ("classes", f"{len(statistics.classes):,}"),
    ]
    if statistics.left_out:
        pairs.append(("annotations left out", f"{statistics.left_out:,}"))
    numbers = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in pairs)
    text = ""
    if found := statistics.unmatched:
        by_size = [f"{n} {share(getattr(found, n))}" for n in ("small", "medium", "large")]
        text = (
            f"<p><b>{share(found.total)} of the boxes match no anchor</b> ({', '.join(by_size)}). "
            f'<span class="soft">A match: {escape(found.rule)}. Small is below 32 pixels in '
            "training, large from 96 on.</span></p>"
        )
    return f'<dl class="numbers">{numbers}</dl>{text}'


def _chart(title: str, what: str, distribution: Distribution) -> str:
    """A histogram with a bar a bin; what a bar means stands in its tooltip."""
    counts, edges = distribution.counts, distribution.edges
    most, total, step = max(*counts, 1), max(sum(counts), 1), _WIDTH / len(counts)
    bars = "".join(
        f'<rect x="{i * step + 1:.1f}" y="{_ABOVE + _HEIGHT * (1 - count / most):.1f}" rx="2" '
        f'width="{step - 2:.1f}" height="{max(_HEIGHT * count / most, 1 if count else 0):.1f}">'
        f"<title>{_span(edges, i)}: {count:,} ({100 * count / total:.1f} %)</title></rect>"
        for i, count in enumerate(counts)
    )
    bottom = _ABOVE + _HEIGHT
    labels = _labels(edges, step, bottom + 14)
    top = counts.index(max(counts)) if sum(counts) else 0
    label = (
        f'<text x="{top * step + step / 2:.1f}" y="11" text-anchor="middle">{max(counts):,}</text>'
    )
    middle = f", median {number(distribution.quantiles[3])}" if distribution.quantiles else ""
    return (
        f'<div><h3>{escape(title)}</h3><p class="soft">{escape(what)}{middle}</p>'
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {bottom + _BELOW}" role="img" '
        f'aria-label="{escape(title)}{middle}">{bars}'
        f'<line x1="0" y1="{bottom}" x2="{_WIDTH}" y2="{bottom}"/>{labels}{label}</svg></div>'
    )


def _span(edges: Sequence[float], place: int) -> str:
    """What a bin holds; the first and the last also hold what lies outside."""
    if place == len(edges) - 2:
        return f"from {number(edges[place])} on"
    if place == 0 and edges[0] > 0:
        return f"below {number(edges[1])}"
    if edges[0] == 0:  # whole numbers
        last = edges[place + 1] - 1
        is_one = last == edges[place]
        return number(last) if is_one else f"{number(edges[place])} to {number(last)}"
    return f"{number(edges[place])} to {number(edges[place + 1])}"


def _labels(edges: Sequence[float], step: float, y: float) -> str:
    """Numbers below a histogram: at the edges, or of whole numbers the first of each bin."""
    if edges[0] == 0:
        places = [((i + 0.5) * step, edge, "middle") for i, edge in enumerate(edges[:-1])]
    else:
        every = 2 if len(edges) < 16 else 4
        places = [(i * step, edge, "middle") for i, edge in enumerate(edges)][::every]
        places[0] = (0, edges[0], "start")
        if len(edges) % every == 1:
            places[-1] = (_WIDTH, edges[-1], "end")
    return "".join(
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{number(edge)}</text>'
        for x, edge, anchor in places
    )


def _classes(statistics: Statistics) -> str:
    by_count = sorted(statistics.classes, key=lambda one: -one.objects)
    most = max([one.objects for one in by_count] + [1])
    has_anchors = statistics.unmatched is not None
    rows = "".join(_class_row(one, most, has_anchors) for one in by_count[:_CLASSES_SHOWN])
    head = '<th>class</th><th class="bar"></th><th class="right">objects</th>'
    head += '<th class="right">images</th><th class="right">median size</th>'
    head += '<th class="right">no anchor</th>' if has_anchors else ""
    rest = by_count[_CLASSES_SHOWN:]
    more = ""
    if rest:
        objects = sum(one.objects for one in rest)
        more = f'<p class="soft">{len(rest):,} classes more, with {objects:,} objects.</p>'
    return (
        f'<div class="scroll tall" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more}"
    )


def _class_row(one: ClassStatistics, most: int, has_anchors: bool) -> str:
    size = "-" if one.median_size is None else number(one.median_size)
    cells = [f"{one.objects:,}", f"{one.images:,}", size]
    cells += [share(one.unmatched)] if has_anchors else []
    return (
        f'<tr><td>{escape(one.name)}</td><td class="bar"><span class="meter" '
        f'style="width:{_METER * one.objects / most:.0f}px"></span></td>'
        + "".join(f'<td class="right">{cell}</td>' for cell in cells)
        + "</tr>"
    )
