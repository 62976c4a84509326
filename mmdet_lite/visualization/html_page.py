"""What the pages have in common: each is one file that loads nothing and runs its own scripts only.

Nothing here imports torch.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def script_policy(script: str) -> str:
    """The content security policy under which a page may run this one script, and load nothing."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )


def base_style() -> str:
    """Colours, light and dark, and type of the pages about a data set and an evaluation."""
    return (Path(__file__).parent / "base.css").read_text(encoding="utf-8")


def fill_template(template: str, parts: Mapping[str, str]) -> str:
    """Put parts in the places of their names.

    Args:
        template: text with ``{{NAME}}``; what is put in is not searched again.
        parts: by name.
    """
    head, *rest = template.split("{{")
    pieces = [head]
    for piece in rest:
        name, text = piece.split("}}", 1)
        pieces += [parts[name], text]
    return "".join(pieces)


def json_for_script(content: Any) -> str:
    """JSON inside a script element: nothing in it can end the element or open a comment."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
