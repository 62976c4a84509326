"""Writing a config of MMDetection as one of this package."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmdet_lite.apis.config import load_config, shipped_configs
from mmdet_lite.apis.foreign_config import is_translated, tell_translation
from mmdet_lite.compat.mmdet.write import choose_bases, same, write_sections

logger = logging.getLogger("mmdet_lite")


def migrate_config(
    source: str | Path, out: str | Path, options: dict[str, Any] | None = None
) -> Path:
    """Translate a config and write it, with what it shares with shipped ones as its ``_base_``.

    Args:
        source: the config, in MMDetection's form.
        out: the file to write; it must not exist.
        options: see :func:`load_config`.

    Returns:
        The file.

    Raises:
        FileExistsError: there is such a file.
        FileNotFoundError: there is no such config.
        ValueError: ``out`` is no .py file; or the config is not in MMDetection's form, or has
            settings without a counterpart.
    """
    out = Path(out)
    if out.suffix != ".py":
        raise ValueError(f"{out}: name the file to write, which ends in .py")
    if out.exists():
        raise FileExistsError(f"{out} exists; name a new file")
    cfg = load_config(source, options)
    if not is_translated(cfg):
        raise ValueError(f"{source} is not in MMDetection's form; there is nothing to migrate")
    tell_translation(cfg)
    out.parent.mkdir(parents=True, exist_ok=True)
    native = cfg.to_dict()
    bases, rest = choose_bases(native, _shipped_bases())
    _write(out, source, bases, rest)
    written = load_config(out)
    if not all(same(written.get(name), value) for name, value in native.items()):
        _write(out, source, [], native)  # a base that does not merge as expected
    logger.info("wrote %s%s", out, f", based on {', '.join(bases)}" if bases else "")
    return out


def _shipped_bases() -> dict[str, dict[str, Any]]:
    folder = shipped_configs() / "_base_"
    return {
        str(path.relative_to(folder)): Config.fromfile(path).to_dict()
        for path in sorted(folder.glob("*/*.py"))
    }


def _write(out: Path, source: str | Path, bases: list[str], sections: dict[str, Any]) -> None:
    lines = (
        f"# python tools/train.py {out}\n# Translated from {Path(source).name} of MMDetection.\n"
    )
    if bases:
        folder = os.path.relpath(shipped_configs() / "_base_", out.parent.absolute())
        listed = "".join(f'    "{Path(folder, base).as_posix()}",\n' for base in bases)
        lines += f"_base_ = [\n{listed}]\n"
    out.write_text(lines + write_sections(sections))
