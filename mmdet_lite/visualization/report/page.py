"""The page: markup, style and scripts of this folder, and the figures as JSON.

The scripts write all text as text, never as markup, and the page allows no other scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from mmdet_lite.visualization.html_page import (
    base_style,
    fill_template,
    json_for_script,
    script_policy,
)

_FOLDER = Path(__file__).parent
_SCRIPTS = (
    *("dom.js", "state.js", "charts.js", "tables.js", "scores.js", "figures.js", "training.js"),
    *("pictures.js", "main.js"),
)


def page_html(content: dict[str, Any]) -> str:
    """One HTML file that needs nothing else.

    Args:
        content: what the scripts draw, in types that JSON has; names may be any text.
    """
    return fill_page("page.html", _SCRIPTS, content)


def fill_page(template: str, scripts: Sequence[str], content: dict[str, Any]) -> str:
    """A page of this folder's files.

    Args:
        template: file name of the markup.
        scripts: those of the scripts, in their order.
        content: what they draw, with 'title'.
    """
    script = "\n".join(_read(name) for name in scripts)
    parts = {
        "POLICY": script_policy(script),
        "TITLE": escape(str(content["title"])),
        "STYLE": base_style() + _read("page.css"),
        "DATA": json_for_script(content),
        "SCRIPT": script,
    }
    page = fill_template(_read(template), parts)
    return page.encode("utf-8", "replace").decode()  # a file name may have bytes that are no text


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
