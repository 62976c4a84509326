"""The page: markup, style and scripts of this folder, and the figures as JSON.

The scripts write all text as text, never as markup, and the page allows no other scripts.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
_SCRIPTS = ("dom.js", "charts.js", "tables.js", "scores.js", "figures.js", "pictures.js", "main.js")


def page_html(content: dict[str, Any]) -> str:
    """One HTML file that needs nothing else.

    Args:
        content: what the scripts draw, in types that JSON has; names may be any text.
    """
    script = "\n".join(_read(name) for name in _SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    policy += f"script-src 'sha256-{digest}'"
    parts = {
        "POLICY": policy,
        "TITLE": escape(str(content["title"])),
        "STYLE": _read("page.css"),
        "DATA": _escape_json(content),
        "SCRIPT": script,
    }
    head, *rest = _read("page.html").split("{{")
    pieces = [head]
    for piece in rest:  # what is put in is not searched again
        name, text = piece.split("}}", 1)
        pieces += [parts[name], text]
    page = "".join(pieces)
    return page.encode("utf-8", "replace").decode()  # a file name may have bytes that are no text


def _escape_json(content: dict[str, Any]) -> str:
    """JSON inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
