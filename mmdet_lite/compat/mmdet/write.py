"""A native config as a file that people read: shipped bases, and what differs from them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

from mmdet_lite.compat.mmdet.read import Native

_WIDTH = 100
# What each kind of shipped base decides.
BASE_SECTIONS = {
    "models": ("model",),
    "datasets": ("train_data", "val_data", "test_data", "metric"),
    "schedules": ("train", "optimizer", "schedule", "auto_scale_lr"),
}


def difference(base: Any, target: Any) -> Any:
    """What, written over ``base``, gives ``target``; an empty dict where they are equal.

    It is written as mmengine merges it: dicts key by key, unless they have ``_delete_``, all else
    as a whole.
    """
    if not isinstance(base, Mapping) or not isinstance(target, Mapping):
        return target
    if any(key not in target for key in base) or base.get("type") != target.get("type"):
        return {"_delete_": True, **target}
    changed = {}
    for key, value in target.items():
        if key not in base:
            changed[key] = value
        elif not same(base[key], value):
            changed[key] = difference(base[key], value)
    return changed


def same(one: Any, other: Any) -> bool:
    """Equal, whatever is a list and what a tuple."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def choose_bases(
    native: Native, shipped: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], Native]:
    """The shipped bases that leave the least to write, and what is left.

    Args:
        native: the whole config.
        shipped: 'models/NAME.py' and the like to their sections.

    Returns:
        Names of the bases, and the sections that differ from them.
    """
    chosen: list[str] = []
    left = dict(native)
    for kind, sections in BASE_SECTIONS.items():
        own = {name: native[name] for name in sections if name in native}
        best, rest = None, own
        for name, base in shipped.items():
            given = {key: value for key, value in base.items() if key in sections}
            if not name.startswith(f"{kind}/") or not given.keys() <= own.keys():
                continue
            changed = difference(given, own)
            if _length(changed) < 0.75 * _length(rest) or (
                best and _length(changed) < _length(rest)
            ):
                best, rest = name, changed
        if best is not None:
            chosen.append(best)
            for section in sections:
                left.pop(section, None)
            left |= rest
    return chosen, left


def _length(sections: Native) -> int:
    return len(write_sections(sections))


def write_sections(sections: Native) -> str:
    """Sections as Python, one assignment each."""
    return "".join(f"{name} = {_text(value, 0)}\n" for name, value in sections.items())


def _text(value: Any, indent: int) -> str:
    """An expression, on one line if it fits."""
    line = _line(value)
    is_short = indent + len(line) <= _WIDTH - 20  # beside what stands before it
    if is_short or not value or not (isinstance(value, (list, tuple)) or _has_names(value)):
        return line
    inner, pad = indent + 4, " " * (indent + 4)
    if isinstance(value, Mapping):
        items = [f"{pad}{key}={_text(item, inner)},\n" for key, item in _ordered(value)]
        return "dict(\n" + "".join(items) + " " * indent + ")"
    items = [f"{pad}{_text(item, inner)},\n" for item in value]
    start, end = ("[", "]") if isinstance(value, list) else ("(", ")")
    return f"{start}\n" + "".join(items) + " " * indent + end


def _line(value: Any) -> str:
    if _has_names(value):
        return f"dict({', '.join(f'{key}={_line(item)}' for key, item in _ordered(value))})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_line(key)}: {_line(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_line, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_line, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if isinstance(value, str) and value.isprintable() and not set(value) & set('"\\'):
        return f'"{value}"'
    return repr(value)


def _has_names(value: Any) -> bool:
    """A dict that can be written as ``dict(key=...)``."""
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in value
    )


def _ordered(value: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """``_delete_`` and ``type`` first."""
    first = [key for key in ("_delete_", "type") if key in value]
    return [(key, value[key]) for key in (*first, *(key for key in value if key not in first))]
