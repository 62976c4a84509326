"""Configs that were written for MMDetection: which kind a file is, and options in either form."""

from __future__ import annotations

import difflib
import inspect
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config.lazy import LazyAttr, LazyObject

from mmdet_lite.compat.mmdet import is_mmdet_config, translate_config
from mmdet_lite.compat.mmdet.translate import TOP_KEYS, Translation
from mmdet_lite.registry import ALL_REGISTRIES, find_class

logger = logging.getLogger("mmdet_lite")

Options = dict[str, Any]
_NOTES = "_translation"
_VERSION_2 = ("data", "optimizer_config", "lr_config", "runner", "checkpoint_config", "evaluation")


def explain_unreadable(file: Path) -> str | None:
    """Why a config that mmengine could not read is one that this package does not take."""
    text = file.read_text(errors="replace") if file.is_file() else ""
    if re.search(r"^\s*(from|import)\s+mmdet\b", text, re.MULTILINE) or "read_base" in text:
        return (
            f"config {file} is in Python style, it imports what it uses. Turn it into plain dicts "
            'where MMDetection is installed: python -c "from mmengine.config import Config; '
            f"Config.fromfile('{file.name}').dump('plain.py')\", and use plain.py"
        )
    if re.search(r"['\"]mmdet::", text):
        return (
            f"config {file}: a `_base_` that begins with 'mmdet::' lies in an installed "
            "MMDetection. Copy its configs folder beside yours, and name the file by its path"
        )
    return None


def imports_types(cfg: Config) -> bool:
    """Whether a Python-style config names a class by an import, which mmengine leaves undone."""

    def inside(value: Any) -> bool:
        if isinstance(value, (LazyObject, LazyAttr)):
            return True
        if isinstance(value, Mapping):
            return any(map(inside, dict.values(value)))  # without building what is lazy
        return isinstance(value, (list, tuple)) and any(map(inside, value))

    return inside(cfg._cfg_dict)


def check_version(cfg: Mapping[str, Any], file: Path) -> None:
    """Refuse a config of MMDetection 2.x.

    Raises:
        ValueError: it is one.
    """
    found = [key for key in _VERSION_2 if key in cfg]
    if len(found) >= 2 and "train_data" not in cfg and "train_dataloader" not in cfg:
        raise ValueError(
            f"{file} is a config of MMDetection 2.x (it has {', '.join(found)}); those of 3.x are "
            "read. The same model is among the configs of MMDetection 3.x, or among those of this "
            "package in configs/; docs/migrate.md lists which settings have moved where"
        )


def refuse_foreign_sections(cfg: Mapping[str, Any], file: Path, sections: Sequence[str]) -> None:
    """Refuse MMDetection's sections in a config of this package's form, where they have no effect.

    Args:
        cfg: the config.
        file: where from.
        sections: those of this package's form.

    Raises:
        ValueError: there are some.
    """
    found = [name for name in cfg if name in TOP_KEYS and name not in sections]
    if found:
        raise ValueError(
            f"config {file} is in this package's form, in which MMDetection's "
            f"{', '.join(found)} has no effect; the sections are {', '.join(sections)}. "
            "docs/migrate.md has both side by side"
        )


def is_foreign(cfg: Mapping[str, Any]) -> bool:
    """Whether a config is in MMDetection's form."""
    return is_mmdet_config(cfg)


def translate(
    cfg: Config, file: Path, options: Options, set_option: Callable[[Any, str, Any], None]
) -> tuple[Config, Options]:
    """A config in this package's form, and the options that are still to be applied to it.

    Options may be in either form: those whose keys are MMDetection's change its config before it is
    translated, the others what comes out.

    Args:
        cfg: as it was read.
        file: where from.
        options: dotted keys to values.
        set_option: applies one option.

    Raises:
        ValueError: something in the config has no counterpart; all of it is listed.
    """
    _refuse_variables(cfg, options)
    _refuse_slips(cfg, options)
    own_types = _own_types()
    native = {}
    if options:
        with suppress(ValueError):  # the options may make it good
            native = translate_config(cfg.to_dict(), str(file), own_types).config
    ours = {key for key in options if not _is_theirs(key, cfg, native)}
    for key, value in options.items():
        if key not in ours:
            set_option(cfg, key, value)
    translation = translate_config(cfg.to_dict(), str(file), own_types)
    translated = Config(translation.config, cfg_text=cfg.text, filename=cfg.filename)
    object.__setattr__(translated, _NOTES, translation)  # no item of the config
    return translated, {key: value for key, value in options.items() if key in ours}


def _refuse_variables(cfg: Mapping[str, Any], options: Options) -> None:
    for key in options:
        name = key.partition(".")[0]
        if name in cfg and name not in TOP_KEYS:
            raise ValueError(
                f"--cfg-options {key}: {name!r} is a variable of the config file, which made use "
                "of it when it was read, so that changing it now has no effect. Set the keys that "
                "were made from it"
            )


def _refuse_slips(cfg: Mapping[str, Any], options: Options) -> None:
    for key in options:
        name = key.partition(".")[0]
        near = difflib.get_close_matches(name, TOP_KEYS, n=1, cutoff=0.9)
        if near and name not in TOP_KEYS and name not in cfg:
            raise ValueError(
                f"--cfg-options {key}: there is no section {name!r}; did you mean {near[0]!r}?"
            )


def _own_types() -> set[str]:
    """What users' code has registered."""
    return {
        name
        for registry in ALL_REGISTRIES
        for name, cls in registry.module_dict.items()
        if cls.__module__.partition(".")[0] not in ("mmdet_lite", "torch")
    }


def _is_theirs(key: str, cfg: Mapping[str, Any], native: Mapping[str, Any]) -> bool:
    names = key.split(".")
    if _reaches(cfg, names):
        return True
    if _reaches(native, names) or _accepts(native, names):
        return False
    return names[0] in TOP_KEYS


def _reaches(node: Any, names: list[str]) -> bool:
    """Whether there is something under a dotted key."""
    for name in names:
        if isinstance(node, (list, tuple)) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, Mapping) and name in node:
            node = node[name]
        else:
            return False
    return True


def _accepts(native: Mapping[str, Any], names: list[str]) -> bool:
    """Whether the last name is an argument of the class that the others lead to."""
    node: Any = native
    for name in names[:-1]:
        if not _reaches(node, [name]):
            return False
        node = node[int(name)] if isinstance(node, (list, tuple)) else node[name]
    if not isinstance(node, Mapping) or "type" not in node:
        return len(names) == 1
    try:
        return names[-1] in inspect.signature(find_class(node["type"])).parameters
    except KeyError:
        return False


def is_translated(cfg: Config) -> bool:
    """Whether a config was in MMDetection's form when it was read."""
    return _NOTES in vars(cfg)


def translation_notes(cfg: Config) -> list[str]:
    """What of a translated config is done otherwise here, or has no effect; of others nothing."""
    translation: Translation | None = vars(cfg).get(_NOTES)
    if translation is None or not (translation.otherwise or translation.without_effect):
        return []
    lines = [f"{cfg.filename} is in MMDetection's form"]
    if translation.otherwise:
        lines.append("what these settings say is done otherwise here:")
        lines += [f"  {path} = {what}" for path, what in translation.otherwise.items()]
    by_reason: dict[str, list[str]] = {}
    for path, reason in translation.without_effect.items():
        by_reason.setdefault(reason, []).append(path.removesuffix(".type"))
    lines.append("without effect, and nothing is lost by it:")
    lines += [f"  {_shorten(paths)} ({reason})" for reason, paths in by_reason.items()]
    return lines


def _shorten(paths: list[str]) -> str:
    """Paths that end alike as one."""
    by_name: dict[str, list[str]] = {}
    for path in paths:
        by_name.setdefault(path.rpartition(".")[2], []).append(path)
    return ", ".join(
        same[0] if len(same) == 1 else f"{name} in {len(same)} places"
        for name, same in by_name.items()
    )


def tell_translation(cfg: Config) -> None:
    """Log :func:`translation_notes`."""
    for line in translation_notes(cfg):
        logger.info("%s", line)
