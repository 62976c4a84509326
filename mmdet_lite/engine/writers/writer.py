"""What a run asks of whoever shows it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class Writer:
    """Base class: override what you need, register it in ``WRITERS``, name it in the config.

    Only the main process opens its writers and writes. What a writer raises after it has been
    built does not end the run.
    """

    def open(self, work_dir: Path, run_id: str | None, iteration: int) -> str | None:
        """Called once, before anything is written.

        Args:
            work_dir: the run's folder.
            run_id: what this method returned for the run that is resumed; None: a new run.
            iteration: finished iterations; above 0 for a resumed run, which may have written
                later ones.

        Returns:
            By what the run is found again when it is resumed; None: nothing is needed.
        """
        return None

    def config(self, text: str, values: dict[str, Any]) -> None:
        """Take the resolved config, as text and as nested dicts, lists and plain values."""

    def scalars(self, values: Mapping[str, float], iteration: int) -> None:
        """Take numbers by name: 'train/loss', 'val/bbox_mAP'; they may be NaN or infinite."""

    def images(self, pictures: Mapping[str, np.ndarray], iteration: int) -> None:
        """Take pictures by name: (H, W, 3) uint8 RGB."""

    def close(self, failed: bool) -> None:
        """Called at the run's end; ``failed``: an error or a signal ended it."""


def require_package(name: str, module: str, extra: str) -> None:
    """Refuse a writer whose package is missing, before anything is trained.

    Args:
        name: of the writer.
        module: what it imports.
        extra: of this package, which installs it.

    Raises:
        ImportError: there is no such module.
    """
    if not is_installed(module):
        raise ImportError(
            f"{name} needs the package {module!r}, which is not installed: pip install {module}, "
            f"or pip install -e '.[{extra}]' in a checkout; or leave the writer out of the config"
        )


def is_installed(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # it is in sys.modules without a spec, or as None
        return False


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts and lists of dicts as one dict with the dotted keys of ``--cfg-options``."""
    if isinstance(values, Mapping):
        items = values.items()
    elif isinstance(values, (list, tuple)) and any(isinstance(v, Mapping) for v in values):
        items = enumerate(values)
    else:
        return {prefix: values}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat
