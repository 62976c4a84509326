"""Released models: listing them, downloading and converting them."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from mmdet_lite.apis.config import shipped_configs
from mmdet_lite.apis.convert import convert_checkpoint
from mmdet_lite.apis.download import alone, check_sha256, download
from mmdet_lite.compat.zoo import PREFIX, ZooModel, find_model, match_models

logger = logging.getLogger("mmdet_lite")

_CACHE = "MMDET_LITE_CACHE"


def cache_folder() -> Path:
    """Where downloads and converted models are kept.

    ``MMDET_LITE_CACHE``, else ``mmdet_lite`` in ``XDG_CACHE_HOME``, else in ``~/.cache``.
    """
    if own := os.environ.get(_CACHE):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmdet_lite"


def get_model(name: str, out_dir: str | Path | None = None) -> Path:
    """A released model's weights under our names; downloaded and converted the first time.

    Args:
        name: of the zoo, with or without ``zoo:``.
        out_dir: a folder to copy the file to; None: it stays in the cache only.

    Returns:
        The path of the file.

    Raises:
        ValueError: an unknown name, or the download has another checksum.
        ConnectionError: it cannot be downloaded; says where to put it by hand.
        CheckpointError: the download cannot be read.
        OSError: a file cannot be written.
    """
    model = find_model(name.removeprefix(PREFIX))
    converted = cache_folder() / "zoo" / f"{model.name}-{model.sha256_prefix}.pth"
    with alone(converted.with_suffix(".lock")):  # the processes of a run ask at the same time
        if not converted.is_file():
            _convert(model, converted)
    if out_dir is None:
        return converted
    copy = Path(out_dir) / f"{model.name}.pth"
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(converted, copy)
    checksum = converted.with_name(converted.name + ".sha256").read_text().split()[0]
    copy.with_name(copy.name + ".sha256").write_text(f"{checksum}  {copy.name}\n")
    return copy


def _convert(model: ZooModel, converted: Path) -> None:
    file = cache_folder() / "downloads" / model.file_name
    if file.is_file():  # put there by hand, or the conversion was broken off
        check_sha256(file, model.sha256_prefix, model.url)
    else:
        logger.info("downloading %s", model.url)
        download(model.url, file, model.sha256_prefix)
    convert_checkpoint(file, converted, "mmdet")
    config = shipped_config(model) or f"MMDetection's {model.config}"
    logger.info("%s: use it with %s", model.name, config)


def shipped_config(model: ZooModel) -> str | None:
    """The config of the same path that comes with the package, or None."""
    inside = Path(model.config).relative_to("configs")
    return model.config if (shipped_configs() / inside).is_file() else None


def list_models(pattern: str | None = None) -> str:
    """A table of the models whose name contains ``pattern``.

    Raises:
        ValueError: there is none.
    """
    models = match_models(pattern)
    if not models:
        raise ValueError(f"the zoo has no model whose name contains {pattern!r}")
    width = max(len(model.name) for model in models)
    lines = [f"{'name':{width}}  box AP  mask AP  config"]
    for model in models:
        mask = "" if model.mask_ap is None else f"{model.mask_ap:.1f}"
        config = shipped_config(model) or f"MMDetection's {model.config}"
        lines.append(f"{model.name:{width}}  {model.box_ap:6.1f}  {mask:>7}  {config}")
    return "\n".join(lines)
