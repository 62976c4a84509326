"""Whether the values of a config are of the types that a class's signature names."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_PLAIN = (str, bytes, Real, Mapping, list, tuple, type(None))  # what is not an object of a class
_NAMES = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "None",
}


def check_types(cls: Callable, arguments: dict[str, Any], is_built: Callable[[type], bool]) -> None:
    """Compare arguments with the type hints of a class, or function.

    Hints that are not understood, and arguments without one, are not looked at. Where a hint asks
    for an object any object will do: a class of a user's own need not derive from one of ours.

    Args:
        cls: what is to be called.
        arguments: its keyword arguments, nested dicts being built already.
        is_built: whether objects of a class, or of those derived from it, come from dicts with a
            'type', or at any rate are no plain values.

    Raises:
        TypeError: values are of other types; all are named.
    """
    function = cls.__init__ if isinstance(cls, type) else cls
    try:
        hints = get_type_hints(function)
    except Exception:  # names that exist for type checkers only; a hint may be any expression
        return
    parameters = inspect.signature(cls).parameters
    problems = []
    for name, value in arguments.items():
        hint = hints.get(name, Any)
        is_default = name in parameters and value is parameters[name].default
        if not is_default and not _matches(value, hint, is_built):
            expected = _describe(hint)
            problems.append(f"{name} is {value!r}, expected {expected}{_remedy(value, expected)}")
    if problems:
        raise TypeError(f"{cls.__name__}: {'; '.join(problems)}")


def _matches(value: Any, hint: Any, is_built: Callable[[type], bool]) -> bool:
    kind = get_origin(hint) or hint
    if kind in (Union, types.UnionType):
        return any(_matches(value, one, is_built) for one in get_args(hint))
    if kind is Literal:
        return value in get_args(hint)
    if kind in (bool, str, type(None)):
        return isinstance(value, kind)
    if kind in (int, float):
        number = Integral if kind is int else Real
        return isinstance(value, number) and not isinstance(value, bool)
    if kind in (list, tuple, Sequence, Iterable):
        return _is_list_of(value, get_args(hint), is_built)
    if kind in (dict, Mapping):
        return isinstance(value, Mapping)
    if kind is Callable or isinstance(kind, type) and is_built(kind):
        return not isinstance(value, _PLAIN)
    return True


def _is_list_of(value: Any, hints: Sequence[Any], is_built: Callable[[type], bool]) -> bool:
    """Whether it is a list whose items match; how many they are is for the class to say."""
    if not isinstance(value, (list, tuple)):
        return not isinstance(value, _PLAIN)  # an array or a range
    hints = [hint for hint in hints if hint is not ...]
    if len(hints) == 1:
        return all(_matches(item, hints[0], is_built) for item in value)
    return all(_matches(*pair, is_built) for pair in zip(value, hints, strict=False))


def _describe(hint: Any, plural: bool = False) -> str:
    kind, inner = get_origin(hint) or hint, [one for one in get_args(hint) if one is not ...]
    if kind in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_describe(one, plural) for one in inner))
    if kind is Literal:
        return " or ".join(map(repr, inner))
    if kind in _NAMES:
        return _plural(_NAMES[kind]) if plural else _NAMES[kind]
    if kind in (list, tuple, Sequence, Iterable):
        of = f" of {_describe(inner[0], plural=True)}" if inner else ""
        return f"lists{of}" if plural else f"a list{of}"
    if kind in (dict, Mapping):
        return "dicts" if plural else "a dict"
    return "dicts with a 'type'" if plural else "a dict with a 'type'"


def _plural(words: str) -> str:
    return {"a whole number": "whole numbers", "a number": "numbers"}.get(words, words)


def _remedy(value: Any, expected: str) -> str:
    """What to write instead, where that can be said."""
    if isinstance(value, str) and value.lower() in ("true", "false", "none"):
        return f": write {value.capitalize()}, without quotes"
    if isinstance(value, str) and "'type'" in expected:
        return f": write dict(type={value!r}, ...)"
    return ""
