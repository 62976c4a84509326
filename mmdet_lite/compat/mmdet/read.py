"""Reading a foreign config to the last key, so that nothing in it is lost silently."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_REQUIRED = object()
Native = dict[str, Any]


@dataclass
class Notes:
    """What a translation has to tell.

    Attributes:
        problems: what cannot be translated, each with its path.
        without_effect: path of a key to why it has no effect here.
        otherwise: path of a key to what is done here instead of what its value says.
        sections: all dicts that were looked at.
        own_types: types that a user's code has registered, which are taken as they stand.
        unknown_types: whether there are any, so that settings meant for them are not read.
        sync_bn: whether batch norms are to be synchronised, which is a setting of the run here.
    """

    problems: list[str] = field(default_factory=list)
    without_effect: dict[str, str] = field(default_factory=dict)
    otherwise: dict[str, str] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    own_types: Container[str] = ()
    sync_bn: bool = False
    unknown_types: bool = False

    def finish(self) -> None:
        """Make a problem of every key that nobody has asked for."""
        meant = ("model.train_cfg", "model.test_cfg")
        for section in self.sections:
            if not (self.unknown_types and section.path.startswith(meant)):
                section.report_unread()
        self.sections.clear()


class Section:
    """A dict of the foreign config, and which of its keys have been read.

    Args:
        content: the dict.
        path: where it stands, 'model.backbone'.
        notes: where problems are written down.
    """

    def __init__(self, content: Mapping[str, Any], path: str, notes: Notes):
        self.content = dict(content)
        self.path = path
        self.notes = notes
        self._known: set[str] = set()
        notes.sections.append(self)

    def __contains__(self, key: str) -> bool:
        return key in self.content

    @property
    def type(self) -> str:
        """The ``type``, without MMDetection's own scope; '' where there is none."""
        self._known.add("type")
        name = self.content.get("type", "")
        name = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
        return name.removeprefix("mmdet.").removeprefix("mmengine.")

    def take(self, key: str, default: Any = None) -> Any:
        """The value of a key, or the default that MMDetection has for it.

        Text in place of a number or a list, which the default shows to be expected, is a problem.
        """
        self._known.add(key)
        value = self.content.get(key, default)
        may_be_text = isinstance(default, bool) or not isinstance(
            default, (int, float, list, tuple)
        )
        if isinstance(value, str) and not may_be_text:
            kind = "a number" if isinstance(default, (int, float)) else "a list"
            self.problem(key, f"is {value!r}, expected {kind}")
            return default
        return value

    def require(self, key: str) -> Any:
        """The value of a key that must be there; None, and a problem, where it is not."""
        if key not in self.content:
            self.problem(key, "is missing")
        return self.take(key)

    def copy(self, *keys: str, **renamed: str) -> Native:
        """Those of the keys that are there, as they stand; ``ours="theirs"`` renames."""
        pairs = {**{key: key for key in keys}, **renamed}
        taken = {ours: self.take(theirs, _REQUIRED) for ours, theirs in pairs.items()}
        return {key: value for key, value in taken.items() if value is not _REQUIRED}

    def numbers(self, *keys: str) -> Native:
        """Those of the keys that are there, which must be numbers."""
        taken = self.copy(*keys)
        for key, value in taken.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                self.problem(key, f"is {value!r}, expected a number")
        return taken

    def section(self, key: str) -> Section | None:
        """A nested dict; None where there is none."""
        value = self.take(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.problem(key, f"is {value!r}, expected a dict")
            return None
        return Section(value, self._join(key), self.notes)

    def section_or_empty(self, key: str) -> Section:
        """A nested dict, an empty one where there is none."""
        return self.section(key) or Section({}, self._join(key), self.notes)

    def sections(self, key: str) -> list[Section]:
        """A list of dicts; a single dict is a list of one."""
        value = self.take(key)
        if value is None:
            return []
        if isinstance(value, Mapping):
            return [Section(value, self._join(key), self.notes)]
        items = value
        if not isinstance(items, Sequence) or not all(isinstance(one, Mapping) for one in items):
            self.problem(key, f"is {value!r}, expected a list of dicts")
            return []
        path = self._join(key)
        return [Section(one, f"{path}.{i}", self.notes) for i, one in enumerate(items)]

    def has_no_effect(self, why: str, *keys: str) -> None:
        """Keys that mean nothing here, whatever their value."""
        for key in keys:
            self._known.add(key)
            if key in self.content:
                self.notes.without_effect[self._join(key)] = why

    def is_otherwise(self, what: str, *usual: Any, keys: Sequence[str]) -> None:
        """Keys that have no effect, and of which people should know unless the value is usual."""
        for key in keys:
            self._known.add(key)
            if key not in self.content:
                continue
            if self.content[key] in usual:
                self.notes.without_effect[self._join(key)] = what
            else:
                self.notes.otherwise[self._join(key)] = f"{self.content[key]!r}: {what}"

    def expect(self, key: str, *values: Any) -> None:
        """A key that may only have one of these values, which are what this package does."""
        self._known.add(key)
        if key in self.content and self.content[key] not in values:
            accepted = " or ".join(map(repr, values))
            self.problem(key, f"is {self.content[key]!r}, and only {accepted} is supported")

    def dispatch(self, kind: str, table: Mapping[str, Callable[[Section], Any]]) -> Any:
        """Translate by ``type``; None, and a problem, where the type is unknown."""
        if self.type in table:
            return table[self.type](self)
        if self.type in self.notes.own_types:
            self._known.update(self.content)
            return dict(self.content)
        near = difflib.get_close_matches(self.type, table, n=1, cutoff=0.6)
        hint = f"the nearest is {near[0]!r}" if near else f"supported: {', '.join(table)}"
        self.notes.unknown_types = True
        if not self.content:
            self.notes.problems.append(f"{self.path}, a {kind}, is missing; {hint}")
        else:
            self.problem("type", f"is {self.type!r}, which is no {kind} that is supported; {hint}")
        self._known.update(self.content)  # one problem is enough
        return None

    def problem(self, key: str, text: str) -> None:
        """Write down that a key cannot be translated."""
        self.notes.problems.append(f"{self._join(key)} {text}")

    def report_unread(self) -> None:
        """Make a problem of every key that was not asked for."""
        for key in self.content:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, n=1, cutoff=0.5)
                known = ", ".join(sorted(self._known - {"type"})) or "none"
                hint = f"did you mean {near[0]!r}?" if near else f"known here: {known}"
                of_type = f" of {self.type}" if self.type else ""
                self.problem(key, f"= {self.content[key]!r} is no known key{of_type}; {hint}")

    def _join(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def __iter__(self) -> Iterator[str]:
        return iter(self.content)
