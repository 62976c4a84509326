"""Reading configs: finding the file, applying options, checking the sections."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine.config import Config

# The sections of a config. A config may have other variables of its own; an option on the command
# line that names neither a section nor such a variable is a mistake.
SECTIONS = (
    "model",
    "train_data",
    "val_data",
    "test_data",
    "metric",
    "train",
    "optimizer",
    "param_groups",
    "schedule",
    "auto_scale_lr",
    "hooks",
    "load_from",
    "seed",
    "custom_imports",
)


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read a config file with its bases and apply options.

    Args:
        path: a file, or the path of one of the configs that come with the package, with or without
            a leading ``configs/``.
        options: dotted keys to values, as ``--cfg-options`` gives them; numbers index lists.

    Raises:
        FileNotFoundError: there is no such file; the message lists near matches.
        ValueError: the file cannot be read, is in MMDetection's form, or an option's key is wrong.
    """
    file = find_config(path)
    try:
        cfg = Config.fromfile(file)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file}: a file in `_base_` is missing: {error}") from error
    except (SyntaxError, NameError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: cannot be read: {type(error).__name__}: {error}") from error
    _check_form(cfg, file)
    if options:
        _apply_options(cfg, options)
    return cfg


def find_config(path: str | Path) -> Path:
    """Locate a config file; see :func:`load_config`."""
    path = Path(path)
    if path.is_file():
        return path
    shipped = shipped_configs()
    inside = shipped / Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else shipped / path
    if inside.is_file():
        return inside
    known = [str(p.relative_to(shipped)) for p in sorted(shipped.rglob("*.py"))]
    known = [name for name in known if not name.startswith("_base_")]
    names = {Path(name).name: name for name in known}
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    hint = ", ".join(names[name] for name in near) if near else ", ".join(known)
    raise FileNotFoundError(
        f"no config file {str(path)!r} (looked for {path.absolute()}, and among the shipped "
        f"configs in {shipped}). {'Did you mean' if near else 'Shipped'}: {hint}"
    )


def shipped_configs() -> Path:
    """The folder of the configs that come with the package, installed or in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def section(cfg: Config, name: str, accepted: Callable | None = None) -> dict[str, Any]:
    """A section of the config as a plain dict; an optional one that is absent is empty.

    Args:
        cfg: the config.
        name: of the section.
        accepted: if given, the section's keys must be parameters of this.

    Raises:
        ValueError: the section is no dict or has unknown keys; the message names near matches.
    """
    value = cfg.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f"config: {name} must be a dict, got {value!r}")
    if accepted is not None:
        known = list(inspect.signature(accepted).parameters)
        check_keys(name, value, known)
    return dict(value)


def check_keys(name: str, value: dict, known: list[str]) -> None:
    """Raise ValueError with near matches if a dict has keys that are not known."""
    problems = []
    for key in value:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            problems.append(f"{key!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    if problems:
        raise ValueError(
            f"config: {name} has unknown {', '.join(problems)}; known: {', '.join(known)}"
        )


def require(cfg: Config, names: tuple[str, ...]) -> None:
    """Raise ValueError if a section that is needed is missing."""
    missing = [name for name in names if not cfg.get(name)]
    if missing:
        raise ValueError(
            f"config {cfg.filename}: missing section {', '.join(missing)}; the sections are "
            f"{', '.join(SECTIONS)} (see docs/config.md)"
        )


def _check_form(cfg: Config, file: Path) -> None:
    model = cfg.get("model")
    foreign = isinstance(model, dict) and ("train_cfg" in model or "test_cfg" in model)
    if cfg.get("default_scope") == "mmdet" or foreign:
        raise ValueError(
            f"{file} is a config in MMDetection's form (default_scope='mmdet', or "
            "train_cfg/test_cfg in the model), which this version does not read yet. "
            "configs/mask_rcnn and configs/faster_rcnn hold the same models in this package's "
            "form; docs/config.md explains it"
        )


def _apply_options(cfg: Config, options: dict[str, Any]) -> None:
    own = [name for name in cfg if not name.startswith("_")]
    known = sorted({*SECTIONS, *own})
    for key in options:
        top = key.split(".")[0]
        if top not in known:
            near = difflib.get_close_matches(top, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise ValueError(f"--cfg-options {key}: the config has no {top!r}; {hint}")
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, IndexError, AssertionError) as error:
        raise ValueError(f"--cfg-options {options}: {error}") from error
