"""Reading configs: finding the file, applying options, checking the sections."""

from __future__ import annotations

import difflib
import inspect
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config import config as mmengine_reader
from mmengine.logging import print_log
from mmengine.utils import import_modules_from_strings

from mmdet_lite.apis.foreign_config import (
    check_version,
    explain_unreadable,
    imports_types,
    is_foreign,
    refuse_foreign_sections,
    translate,
)

logger = logging.getLogger("mmdet_lite")

# The sections of a config. A config may have other variables, which its own file makes use of.
SECTIONS = (
    "model",
    "train_data",
    "val_data",
    "test_data",
    "metric",
    "tta",
    "train",
    "optimizer",
    "param_groups",
    "schedule",
    "auto_scale_lr",
    "hooks",
    "writers",
    "distributed",
    "load_from",
    "resume",
    "seed",
    "work_dir",
    "custom_imports",
)


def load_config(path: str | Path, options: dict[str, Any] | None = None) -> Config:
    """Read a config file with its bases and apply options.

    A config of MMDetection 3.x is translated; options may then be in its form or in ours.

    Args:
        path: a file, or the path of one of the configs that come with the package, with or without
            a leading ``configs/``.
        options: dotted keys to values, as ``--cfg-options`` gives them; numbers index lists, and
            a value replaces what was there, also where that is a dict.

    Raises:
        FileNotFoundError: there is no such file; the message lists near matches.
        ValueError: the file cannot be read, an option's key is wrong, or a config in MMDetection's
            form has settings without a counterpart here.
        ImportError: a module of ``custom_imports`` cannot be imported.
    """
    file = find_config(path)
    return prepare_config(_read(file), file, options)


def prepare_config(cfg: Config, file: Path, options: dict[str, Any] | None) -> Config:
    """A config in this package's form, with options applied and users' modules imported.

    Args:
        cfg: as it was read, in either form.
        file: where it is from, for messages.
        options: see :func:`load_config`.
    """
    options = dict(options or {})
    check_version(cfg, file)
    if is_foreign(cfg):
        _import_modules(cfg, file)  # which may register types that the config names
        cfg, options = translate(cfg, file, options, _set_option)
    else:
        refuse_foreign_sections(cfg, file, SECTIONS)
    _warn_of_near_sections(cfg, file)
    if options:
        _apply_options(cfg, options)
    _import_modules(cfg, file)
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
    known = [p.relative_to(shipped) for p in sorted(shipped.rglob("*.py"))]
    names = {p.name: str(p) for p in known if p.parts[0] != "_base_"}
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    counts = Counter(Path(name).parent.name for name in names.values())
    shelves = ", ".join(f"{folder}/ ({count})" for folder, count in counts.items())
    hint = f"Did you mean: {', '.join(map(names.get, near))}" if near else f"There are {shelves}"
    raise FileNotFoundError(
        f"no config file {str(path)!r} (looked for {path.absolute()}, and among the shipped "
        f"configs in {shipped}). {hint}"
    )


def shipped_configs() -> Path:
    """The folder of the configs that come with the package, installed or in a checkout."""
    package = Path(__file__).parents[1]
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def section(
    cfg: Config, name: str, accepted: Callable | Sequence[str] | None = None
) -> dict[str, Any]:
    """A section of the config as a plain dict; an optional one that is absent is empty.

    Args:
        cfg: the config.
        name: of the section.
        accepted: if given, the section's keys must be among these names, or parameters of this.

    Raises:
        ValueError: the section is no dict or has unknown keys; the message names near matches.
    """
    value = cfg.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f"config: {name} must be a dict, got {value!r}")
    if accepted is not None:
        known = inspect.signature(accepted).parameters if callable(accepted) else accepted
        check_keys(name, value, list(known))
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


def read_timeout(cfg: Config) -> float:
    """Seconds until a run of several processes that does not go on is ended.

    Raises:
        ValueError: it is no number above 0.
    """
    timeout = section(cfg, "distributed", ("timeout",)).get("timeout", 1800)
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
        raise ValueError(
            f"config: distributed.timeout must be a number of seconds above 0, got {timeout!r}"
        )
    return timeout


def read_work_dir(cfg: Config) -> str | None:
    """Where the config wants the run's files; None: it does not say.

    Raises:
        ValueError: it is no path.
    """
    work_dir = cfg.get("work_dir")
    if work_dir is not None and not isinstance(work_dir, str):
        raise ValueError(f"config: work_dir must be the path of a folder, got {work_dir!r}")
    return work_dir


def read_seed(cfg: Config) -> int:
    """The seed of everything random; 0 where the config has none.

    Raises:
        ValueError: it is no whole number, or negative.
    """
    seed = cfg.get("seed", 0)
    if type(seed) is not int or seed < 0:
        raise ValueError(f"config: seed must be a whole number, 0 or larger, got {seed!r}")
    return seed


def _read(file: Path) -> Config:
    try:
        with _silent_reader():
            cfg = Config.fromfile(file, import_custom_modules=False)
    except Exception as error:  # a config is a program, which may raise anything
        if explanation := explain_unreadable(file):
            raise ValueError(explanation) from error
        raise _explained(error, file) from error
    if imports_types(cfg):
        raise ValueError(
            explain_unreadable(file)
            or f"config {file} imports classes or modules; a config of this package names them: "
            "type='ResNet', and custom_imports for modules of your own"
        )
    return cfg


@contextmanager
def _silent_reader() -> Iterator[None]:
    """mmengine tells on the standard output which environment variables a config uses.

    Its logger imports torch, which would take longer than the reading.
    """
    mmengine_reader.print_log = lambda *given, **named: None
    try:
        yield
    finally:
        mmengine_reader.print_log = print_log


def _explained(error: Exception, file: Path) -> Exception:
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(f"{file}: a file in `_base_` is missing: {error}")
    if isinstance(error, SyntaxError):
        return ValueError(
            f"config {file} cannot be read: {error.msg} in line {error.lineno}, of it or of a file "
            "in its `_base_`"
        )
    frames = traceback.extract_tb(error.__traceback__)
    places = [f" in {f.filename}, line {f.lineno}" for f in frames if f.name == "<module>"]
    where = places[0] if places else ""
    return ValueError(f"config {file} cannot be read: {type(error).__name__}{where}: {error}")


def _import_modules(cfg: Config, file: Path) -> None:
    """Import users' own code, so that what it registers can be built."""
    settings = section(cfg, "custom_imports", import_modules_from_strings)
    try:
        import_modules_from_strings(**{"imports": [], **settings})
    except ImportError as error:
        missing = str(error.__context__ or error)
        remedy = (
            "Install the package, or let PYTHONPATH name the folder that it lies in"
            if "'mmdet" not in missing or "'mmdet_lite" in missing
            else "The module was written for MMDetection: register its classes with this package's "
            "registries, `from mmdet_lite.registry import MODELS`; docs/migrate.md says how"
        )
        raise ImportError(
            f"config {file}: custom_imports: {error} ({missing}). {remedy}"
        ) from error


def _warn_of_near_sections(cfg: Config, file: Path) -> None:
    for name in cfg:
        near = difflib.get_close_matches(name, SECTIONS, n=1, cutoff=0.8)
        # Of about the same length: 'trian', but not 'train_dataset'.
        if near and name not in SECTIONS and abs(len(name) - len(near[0])) <= 1:
            logger.warning(
                "%s: %r is no section of a config and has no effect by itself; is %r meant?",
                *(file, name, near[0]),
            )


def _apply_options(cfg: Config, options: dict[str, Any]) -> None:
    for key, value in options.items():
        _check_section(cfg, key)
        _set_option(cfg, key, value)


def _check_section(cfg: Config, key: str) -> None:
    top = key.split(".")[0]
    if top in SECTIONS:
        return
    if top in cfg:
        raise ValueError(
            f"--cfg-options {key}: {top!r} is a variable of the config file, which made use of it "
            "when it was read, so that changing it now has no effect. Set the keys that were made "
            "from it; tools/print_config.py shows them"
        )
    near = difflib.get_close_matches(top, SECTIONS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SECTIONS)}"
    raise ValueError(f"--cfg-options {key}: a config has no section {top!r}; {hint}")


def _set_option(cfg: Config, key: str, value: Any) -> None:
    """Set one item of the config; dicts on the way to it are made where there are none."""
    names: list[Any] = key.split(".")
    node: Any = cfg
    for place, name in enumerate(names):
        where = f"--cfg-options {key}: {'.'.join(names[:place])}"
        if isinstance(node, list):
            if not name.isdigit() or int(name) >= len(node):
                raise ValueError(f"{where} is a list of {len(node)} and has no item {name!r}")
            name = int(name)
        elif not isinstance(node, (dict, Config)):
            raise ValueError(f"{where} is {node!r}, in which there is no {name!r} to set")
        elif name not in node:
            node[name] = {}
        if place == len(names) - 1:
            node[name] = value
        node = node[name]
