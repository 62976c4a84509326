"""What to say of a path that leads nowhere."""

from __future__ import annotations

import difflib
from pathlib import Path


def where_missing(path: Path) -> str:
    """Where a file was looked for, and names beside it that are much alike, in brackets.

    Args:
        path: of nothing.
    """
    folder, missing = _first_missing(path)
    place = f"looked for {path.absolute()}; there is no {missing!r} in {folder.absolute()}"
    return f"({place}{near_names(path)})"


def near_names(path: Path) -> str:
    """'; near matches there: NAME, NAME', of the folder that lacks a file or a folder to it.

    Args:
        path: of nothing.

    Returns:
        The words; nothing if no name is much alike.
    """
    folder, missing = _first_missing(path)
    names = difflib.get_close_matches(missing, [p.name for p in folder.iterdir()], n=3)
    return f"; near matches there: {', '.join(names)}" if names else ""


def _first_missing(path: Path) -> tuple[Path, str]:
    """The innermost folder of a path that is there, and what is not there in it."""
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    return folder, path.absolute().relative_to(folder.absolute()).parts[0]
