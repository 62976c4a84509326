"""What was found, and what the data consists of, as one HTML page that needs nothing else.

All that comes from files is escaped, and the page's own script is the only one that it allows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from mmdet_lite.data.findings import KINDS, Finding
from mmdet_lite.doctor.explanations import EXPLANATIONS
from mmdet_lite.doctor.page_statistics import statistics_html
from mmdet_lite.doctor.pictures import Box, Group, Picture
from mmdet_lite.doctor.statistics import Statistics
from mmdet_lite.visualization.html_page import base_style, script_policy

SHOWN = 100  # findings of a kind; the count is always given
_SEVERITIES = ("error", "warning", "note")
_MEANING = {
    "error": "cannot be used so",
    "warning": "probably wrong",
    "note": "good to know",
}
_FOLDER = Path(__file__).parent
_MARGIN = 0.35  # of the picture's side, for boxes that reach out of it
_MESSAGES = 3  # below a picture; the table has all
_FIGURE = (320, 240)  # pixels of a picture on the page, at most


def write_page(
    path: str | Path,
    subject: str,
    findings: Sequence[Finding],
    statistics: Sequence[tuple[str, Statistics]],
    pictures: Mapping[Group, Sequence[Picture]],
) -> None:
    """Write the page.

    Args:
        path: of the HTML file; its folder is made.
        subject: what was looked at, as a title: the config's name.
        findings: of each kind the first are shown, and all are counted.
        statistics: names of data sets, and what they consist of.
        pictures: by severity and kind, from :func:`mmdet_lite.doctor.pictures.pick_pictures`.
    """
    style, script = ((_FOLDER / name).read_text("utf-8") for name in ("page.css", "page.js"))
    body = [
        _header(subject, findings),
        "<main>",
        _filter(findings) if findings else "",
        *_groups(findings, pictures),
        '<p id="nothing" class="soft" hidden>Nothing fits the filter.</p>',
        *(statistics_html(name, of_split) for name, of_split in statistics),
        "<footer>Written by <code>mmdet-lite doctor</code>. The page is one file and loads nothing."
        "</footer></main>",
        f"<script>{script}</script>" if findings else "",
    ]
    page = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{script_policy(script)}">'
        f"<title>{escape(subject)}: data set</title><style>{base_style()}{style}</style></head>\n"
        "<body>\n" + "\n".join(part for part in body if part) + "\n</body></html>\n"
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file name may have bytes that are no text.
    path.write_bytes(page.encode("utf-8", "xmlcharrefreplace"))


def _header(subject: str, findings: Sequence[Finding]) -> str:
    counts = _count(findings)
    if not findings:
        verdict = "Nothing was found that is wrong."
    elif counts["error"]:
        verdict = "Some of it cannot be used as it is: look at the errors first."
    elif counts["warning"]:
        verdict = "It can be used, and some of it is probably wrong."
    else:
        verdict = "It can be used. There are notes."
    return f'<header><h1>{escape(subject)}</h1><p class="soft">{verdict}</p></header>'


def _filter(findings: Sequence[Finding]) -> str:
    counts = _count(findings)
    buttons = "".join(
        f'<button type="button" class="{severity}" data-severity="{severity}" aria-pressed="true" '
        f'title="{_MEANING[severity]}">{counts[severity]:,} {_plural(severity, counts[severity])}'
        "</button>"
        for severity in _SEVERITIES
        if counts[severity]
    )
    return (
        '<div class="filter" role="search"><input id="search" type="search" '
        'aria-label="Search the findings" placeholder="Search files, ids, messages  ( / )">'
        f"{buttons}</div>"
    )


def _groups(findings: Sequence[Finding], pictures: Mapping[Group, Sequence[Picture]]) -> list[str]:
    """One for each severity and kind, the worst first, then the most frequent."""
    groups: dict[Group, list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, finding.kind), []).append(finding)
    order = sorted(groups, key=lambda key: (_SEVERITIES.index(key[0]), -len(groups[key])))
    return [_group(*key, groups[key], pictures.get(key, ())) for key in order]


def _group(
    severity: str, kind: str, findings: Sequence[Finding], pictures: Sequence[Picture]
) -> str:
    meaning = KINDS[kind][0].upper() + KINDS[kind][1:]
    by_fix: dict[str, list[Finding]] = {}
    for finding in findings[:SHOWN]:
        by_fix.setdefault(finding.fix, []).append(finding)
    rest = ""
    if len(findings) > SHOWN:
        rest = f'<p class="soft">The first {SHOWN} of {len(findings):,} are shown.</p>'
    figures = "".join(map(_figure, pictures))
    return (
        f'<details class="kind" data-severity="{severity}"{"" if severity == "note" else " open"}>'
        f'<summary><span class="badge {severity}">{len(findings):,} '
        f'{_plural(severity, len(findings))}</span><span class="name">{escape(meaning)}</span>'
        f'<code class="soft">{kind}</code></summary>'
        f'<div class="body"><p>{escape(EXPLANATIONS[kind])}</p>'
        + (f'<div class="pictures">{figures}</div>' if figures else "")
        + "".join(_block(fix, of_fix) for fix, of_fix in by_fix.items())
        + f"{rest}</div></details>"
    )


def _block(fix: str, findings: Sequence[Finding]) -> str:
    rows = "".join(
        f'<tr><td class="file"><code>{_file(str(f.file))}</code></td>'
        f'<td class="id">{"" if f.id is None else escape(str(f.id))}</td>'
        f'<td class="message">{escape(f.message)}</td></tr>'
        for f in findings
    )
    return (
        f'<div class="block"><p class="fix"><b>What to do.</b> {_prose(fix)}</p>'
        '<div class="scroll"><table class="findings">'
        "<thead><tr><th>file</th><th>id</th><th>found</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></div></div>"
    )


def _prose(text: str) -> str:
    """Text with `commands` in it."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _file(path: str) -> str:
    """Folder and name; a long path breaks between them."""
    folder, slash, name = path.rpartition("/")
    return f'<span class="soft">{escape(folder + slash)}</span><wbr>{escape(name)}'


def _figure(picture: Picture) -> str:
    """The image, its boxes over it, and room around it for boxes that reach out."""
    width, height = picture.size
    x, y, right, bottom = _window(picture)
    boxes = "".join(_rect(box, "other") for box in picture.other_boxes)
    boxes += "".join(_rect(box, name) for box in picture.boxes for name in ("back", "mine"))
    shown = min(_FIGURE[0] / (right - x), _FIGURE[1] / (bottom - y))
    lines = list(picture.messages[:_MESSAGES])
    if len(picture.messages) > _MESSAGES:
        lines.append(f"and {len(picture.messages) - _MESSAGES} more of this kind")
    messages = "".join(f'<span class="soft">{escape(line)}</span>' for line in lines)
    return (
        f'<figure><svg viewBox="{x:.0f} {y:.0f} {right - x:.0f} {bottom - y:.0f}" role="img" '
        f'width="{(right - x) * shown:.0f}" height="{(bottom - y) * shown:.0f}" '
        f'aria-label="{escape(picture.title)}"><image href="{picture.uri}" width="{width}" '
        f'height="{height}"/>{boxes}</svg>'
        f"<figcaption><code>{escape(picture.title)}</code>{messages}</figcaption></figure>"
    )


def _window(picture: Picture) -> tuple[float, float, float, float]:
    width, height = picture.size
    x, y = _MARGIN * width, _MARGIN * height
    lefts, tops = [0.0], [0.0]
    rights, bottoms = [float(width)], [float(height)]
    for left, top, box_width, box_height in picture.boxes:
        lefts.append(max(left, -x))
        tops.append(max(top, -y))
        rights.append(min(left + box_width, width + x))
        bottoms.append(min(top + box_height, height + y))
    return min(lefts), min(tops), max(rights), max(bottoms)


def _rect(box: Box, name: str) -> str:
    x, y, width, height = (f"{value:.1f}" for value in box)
    return f'<rect class="{name}" x="{x}" y="{y}" width="{width}" height="{height}"/>'


def _count(findings: Sequence[Finding]) -> dict[str, int]:
    counts = dict.fromkeys(_SEVERITIES, 0)
    for finding in findings:
        counts[finding.severity] += 1
    return counts


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
