"""Publishing a model: its weights, without what only training needs."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import Tensor

from mmdet_lite.apis.build import read_path
from mmdet_lite.engine.checkpoint import load_checkpoint, save_checkpoint, write_atomically
from mmdet_lite.engine.weights import class_names, find_weights
from mmdet_lite.safetensors_file import SAFETENSORS, safetensors_bytes

logger = logging.getLogger("mmdet_lite")

_KEPT_META = ("category_ids", "config", "mmdet_lite", "torch", "torchvision")


def publish_model(checkpoint: str | Path, out: str | Path, raw: bool = False) -> None:
    """Write a checkpoint's weights, class names, config and versions to a file of their own.

    Args:
        checkpoint: any file that :func:`~mmdet_lite.engine.weights.load_weights` takes.
        out: the file to write, ``.safetensors`` or ``.pth``; its checksum goes beside it.
        raw: take the weights as trained, where the default is their average (EMA) if there is one.

    Raises:
        ValueError: ``out`` has another suffix or is the checkpoint, or that holds no weights.
        FileNotFoundError: there is no checkpoint.
        CheckpointError: the checkpoint cannot be read safely.
        ImportError: a .safetensors file is wanted and the package is not installed.
        OSError: the file cannot be written.
    """
    source, out = read_path(checkpoint, "checkpoint"), Path(out)
    check_out(out, source)
    content = load_checkpoint(source)
    weights = find_weights(content, str(source), averaged=not raw)
    meta = _published_meta(content)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_weights(weights, meta, out)
    logger.info("%s", _summary(source, out, weights, meta.get("classes")))


def check_out(out: Path, source: Path) -> None:
    """Refuse to write weights in an unknown form, or over what they are taken from.

    Raises:
        ValueError: ``out`` has another suffix than .pth and .safetensors, or is ``source``.
    """
    if out.suffix not in (SAFETENSORS, ".pth"):
        raise ValueError(
            f"the file to write, {str(out)!r}, ends in {out.suffix or 'nothing'!r}: expected "
            f"{SAFETENSORS} or .pth"
        )
    if out.exists() and out.samefile(source):  # the same through a link, too
        raise ValueError(
            f"the file to write, {str(out)!r}, is the checkpoint itself, and the rest of it would "
            "be lost; choose another name"
        )


def _published_meta(content: dict) -> dict:
    """What users of the weights need: classes, config and versions, as far as they are known."""
    classes = class_names(content)
    meta = content.get("meta")
    given = meta if isinstance(meta, dict) else {}
    kept = {key: given[key] for key in _KEPT_META if key in given}
    return kept if classes is None else {"classes": classes, **kept}


def write_weights(weights: dict[str, Tensor], meta: dict, out: Path) -> None:
    """Write weights and what belongs to them, with a checksum beside.

    Args:
        weights: name -> tensor.
        meta: plain values: ``classes``, ``config`` and the like.
        out: NAME.pth or NAME.safetensors.

    Raises:
        ImportError: a .safetensors file is wanted and the package is not installed.
        OSError: the file cannot be written.
    """
    if out.suffix == SAFETENSORS:
        file_content = safetensors_bytes(weights, meta)
        write_atomically(out, lambda file: file.write(file_content))
    else:
        save_checkpoint({"state_dict": weights, "meta": meta}, out)


def _summary(source: Path, out: Path, weights: dict[str, Tensor], classes: list[str] | None) -> str:
    before, after = (f"{path.stat().st_size / 1e6:.1f} MB" for path in (source, out))
    named = "class names unknown" if classes is None else f"{len(classes)} classes"
    listed = "" if classes is None else f": {', '.join(classes)}"
    return f"wrote {out}, {after} ({source}: {before})\n{len(weights)} tensors, {named}{listed}"
