"""Roles of docstrings, such as :meth:`Trainer.run`, become code: the site's pages are Markdown."""

from __future__ import annotations

import re

from griffe import Extension, Object

_ROLE = re.compile(r":(?:attr|class|func|meth|mod):`~?([^`]+)`")


class Roles(Extension):
    """Changes docstrings as they are read."""

    def on_object(self, *, obj: Object, **kwargs: object) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
