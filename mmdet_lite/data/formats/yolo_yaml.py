"""YOLO's ``data.yaml``: the names of classes, and where the images of a split are."""

from __future__ import annotations

from pathlib import Path

import yaml

from mmdet_lite.data.formats.source import Defects, find_images
from mmdet_lite.near_files import near_names


def find_yaml(folder: Path) -> Path:
    """The file that describes a YOLO data set.

    Raises:
        FileNotFoundError: there is none, or several and none is called ``data.yaml``.
    """
    if (folder / "data.yaml").is_file():
        return folder / "data.yaml"
    found = [p for p in sorted(folder.glob("*.y*ml")) if "names" in p.read_text(encoding="utf-8")]
    if len(found) != 1:
        listed = ", ".join(str(p) for p in found) or "no .yaml file with 'names'"
        raise FileNotFoundError(f"{folder} has no data.yaml (found: {listed}); give the file")
    return found[0]


def read_settings(path: Path) -> dict:
    """The keys of a ``data.yaml``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is not YAML, or holds no keys.
    """
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        place = f"absolute: {path.absolute()}{near_names(path)}"
        raise FileNotFoundError(f"no such file: {path} ({place})") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(
            f"{path} holds {type(settings).__name__}, expected keys: names, train, val"
        )
    return settings


def read_names(settings: dict, path: Path, defects: Defects) -> list[str]:
    """Names in the order of their labels; defects are noted."""
    names = settings.get("names")
    advice = "It is a list of names, or a dict from 0, 1, ... to names."
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            shown = ", ".join(map(str, list(names)[:10]))
            defects.add(
                "numbers of 'names'", f"{path}: {shown}; expected 0..{len(names) - 1}", advice
            )
            return []
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list) or not names:
        defects.add("no 'names'", f"{path}: names is {names!r}", advice)
        return []
    names = [str(name) for name in names]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        advice = "Every name must be unique."
        defects.add("repeated names", f"{path}: {', '.join(twice)}", advice)
    count = settings.get("nc", len(names))
    if count != len(names):
        defects.add(
            "another number of names",
            f"{path}: nc is {count}, but names has {len(names)}",
            "Correct one of them.",
        )
    return names


def find_root(settings: dict, split: str, path: Path, image_dir: Path | None) -> Path:
    """The folder that the paths of a split start from.

    Args:
        settings: of the ``data.yaml``.
        split: one of its keys.
        path: the file.
        image_dir: the folder if it is known.

    Raises:
        FileNotFoundError: what the split names is neither where ``path`` says, as seen from the
            file or the working directory, nor beside the file.
    """
    if image_dir is not None:
        return image_dir
    given = Path(str(settings.get("path") or ""))
    candidates = dict.fromkeys([path.parent / given, given, path.parent])
    entries = _entries(settings[split])
    for root in candidates:
        if any(_resolve(entry, root) is not None for entry in entries):
            return root
    tried = ", ".join(str(root / entry) for root in candidates for entry in entries)
    raise FileNotFoundError(f"{path}: nothing is where {split!r} says; looked for {tried}")


def _entries(value: object) -> list[str]:
    return [str(entry) for entry in (value if isinstance(value, list) else [value])]


def _resolve(entry: str, root: Path) -> Path | None:
    """What an entry names. Exports write '../train/images' for 'train/images', too."""
    for name in (entry, entry.removeprefix("../")):
        if (root / name).exists():
            return root / name
    return None


def split_images(value: object, root: Path, defects: Defects) -> list[Path]:
    """The images of a split, which is a folder, a list of images, or several; defects are noted."""
    images: list[Path] = []
    for entry in _entries(value):
        path = _resolve(entry, root)
        if path is None:
            advice = "Correct 'path' or the entry, or fetch the data."
            defects.add("missing folders and lists", str(root / entry), advice)
        elif path.is_dir():
            images += find_images(path)
        else:
            images += _listed_images(path, root)
    return images


def _listed_images(path: Path, root: Path) -> list[Path]:
    """Lines that begin with './' are as seen from the list, others from the root."""
    images = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if name := line.strip():
            images.append((path.parent if name.startswith("./") else root) / name)
    return images


def write_settings(path: Path, split: str, classes: list[str]) -> None:
    """Write a ``data.yaml``, or add a split to the one that is there.

    Raises:
        ValueError: it has other classes.
    """
    settings = {"path": ".", "names": dict(enumerate(classes))}
    if path.exists():
        settings = read_settings(path)
        found = read_names(settings, path, defects := Defects(str(path)))
        defects.raise_if_any()
        if found != classes:
            raise ValueError(
                f"{path} has the classes {found}, these are {classes}; they must agree"
            )
    settings[split] = f"images/{split}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
