"""Modules in place of packages that need not be installed."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest


@pytest.fixture
def inject(monkeypatch):
    """Put a module where an import finds it: ``inject("wandb", init=...)``."""

    def put(name: str, **attributes: object) -> None:
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, loader=None)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)

    return put
