"""What to say of a path that leads nowhere."""

from __future__ import annotations

import difflib
from pathlib import Path


def where_missing(path: Path) -> str:
    """Where a file was looked for, and names beside it that are much alike, in brackets.

    Args:
        path: of nothing.
    """
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    missing = path.absolute().relative_to(folder.absolute()).parts[0]
    names = difflib.get_close_matches(missing, [p.name for p in folder.iterdir()], n=3)
    hint = f"; near matches there: {', '.join(names)}" if names else ""
    return f"(looked for {path.absolute()}; there is no {missing!r} in {folder.absolute()}{hint})"
