"""Showing a config: its text, the model that it describes, names and shapes of the weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.build import build_model
from mmdet_lite.apis.config import SECTIONS, require
from mmdet_lite.apis.foreign_config import translation_notes


def print_config(cfg: Config, build: bool = False, state_dict: str | Path | None = None) -> None:
    """Print a config's sections in this package's form, and what building its model gives.

    The model is built without memory for its weights.

    Args:
        cfg: the config.
        build: build the model and print its layers' sizes.
        state_dict: JSON file to write names and shapes of the weights to; implies ``build``.

    Raises:
        TypeError, KeyError, ValueError: there is no model, or it cannot be built.
    """
    for line in translation_notes(cfg):
        print(f"# {line}")
    print(Config({name: cfg[name] for name in SECTIONS if name in cfg}).pretty_text)
    if not build and state_dict is None:
        return
    require(cfg, ("model",))
    with torch.device("meta"):
        model = build_model(cfg)
    print(_describe(model))
    if state_dict is not None:
        shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
        Path(state_dict).write_text(json.dumps(shapes, indent=1))
        print(f"wrote the names and shapes of {len(shapes)} tensors to {state_dict}")


def _describe(model: nn.Module) -> str:
    """Parameters of the model and of its parts, in millions."""
    rows = [("model", model), *model.named_children()]
    lines = []
    for name, part in rows:
        counts = [(p.numel(), p.requires_grad) for p in part.parameters()]
        total, trained = sum(n for n, _ in counts), sum(n for n, is_trained in counts if is_trained)
        if total:
            kind = type(part).__name__
            size = f"{total / 1e6:8.2f} M parameters, {trained / 1e6:.2f} M trained"
            lines.append(f"{name:12} {kind:22} {size}")
    return "\n".join(lines)
