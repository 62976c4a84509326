"""Weights in the .safetensors format: tensors by name, and what belongs to them as JSON.

The package ``safetensors`` is optional, so it is imported where it is used.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

SAFETENSORS = ".safetensors"

_META = "mmdet_lite.meta"
_NOT_INSTALLED = (
    "a .safetensors file needs the package safetensors, which is not installed: "
    "pip install safetensors, or install mmdet_lite[safetensors]"
)


def read_safetensors(path: Path, device: str = "cpu") -> dict[str, dict]:
    """Read weights, from any program, and what was stored with them.

    Args:
        path: the file.
        device: where to put the tensors.

    Returns:
        ``{'state_dict': name -> tensor, 'meta': dict}``; other programs' files have an empty
        ``meta``.

    Raises:
        ImportError: the package ``safetensors`` is not installed.
        ValueError: the file is damaged or of another format.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise ImportError(_NOT_INSTALLED) from error
    try:
        with safe_open(path, framework="pt", device=device) as file:
            names = file.keys()
            weights = {name: file.get_tensor(name) for name in names}
            meta = json.loads((file.metadata() or {}).get(_META, "{}"))
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} cannot be read as safetensors ({path.stat().st_size} bytes on disk): {error}. "
            "It is truncated, damaged or of another format; copy the file again or make it anew"
        ) from error
    return {"state_dict": weights, "meta": meta}


def safetensors_bytes(weights: dict[str, Tensor], meta: dict) -> bytes:
    """The content of a .safetensors file.

    Args:
        weights: name -> tensor, on any device; they may share memory, each is written in full.
        meta: what belongs to them; plain values that JSON has.

    Raises:
        ImportError: the package ``safetensors`` is not installed.
    """
    try:
        from safetensors.torch import save
    except ImportError as error:
        raise ImportError(_NOT_INSTALLED) from error
    # the format knows neither shared memory nor strides
    own = {
        name: value.clone(memory_format=torch.contiguous_format) for name, value in weights.items()
    }
    # 'format' is what the loaders of Hugging Face ask for
    return save(own, metadata={"format": "pt", _META: json.dumps(meta)})
