"""Where image files are that are not where the annotation file and ``image_dir`` say."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

_LOOKED_FOR = 10  # names
_MOST_FOLDERS = 200  # of a kind


def where_images_lie(image_dir: str | Path, missing: Sequence[str], num_images: int) -> str | None:
    """Look for files around their folder, if half of all images are missing.

    Args:
        image_dir: the folder that the names start from; it need not be there.
        missing: ``file_name`` values of images without a file.
        num_images: of the annotation file.

    Returns:
        Where most of those that were looked for lie, and what to do; None if that is nowhere near.
    """
    if not missing or 2 * len(missing) < num_images:
        return None
    some = missing[:: max(1, len(missing) // _LOOKED_FOR)][:_LOOKED_FOR]
    bare = [os.path.basename(name) for name in some]
    for folder in _folders_around(Path(image_dir)):
        for names in (some, bare):
            found = [i for i, name in enumerate(names) if os.path.isfile(folder / name)]
            if 2 * len(found) < len(names):
                continue
            name = names[found[0]]
            if names is some or name == some[found[0]]:
                return f"{name} lies in {folder}/: set image_dir (--images of the doctor) to that."
            prefix = os.path.dirname(some[found[0]])
            return f"{name} lies in {folder}/: correct 'file_name', which has {prefix}/ before it."
    return None


def _folders_around(folder: Path) -> Iterator[Path]:
    """The folder, those in it and in these, the one above it, and those beside it."""
    yield folder
    inner = _folders_in(folder)
    deeper = chain.from_iterable(map(_folders_in, inner[:_MOST_FOLDERS]))
    beside = _folders_in(folder.parent)
    for group in (inner, deeper, [folder.parent], beside):
        yield from islice(group, _MOST_FOLDERS)


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:  # it is not there, or may not be read
        return []
