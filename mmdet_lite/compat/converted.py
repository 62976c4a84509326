"""What the conversion of a foreign checkpoint gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

# COCO's category ids that its boxes have, and their classes in that order.
_IDS = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
# fmt: off
_CLASSES = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat",
    "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack",
    "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball",
    "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket",
    "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair",
    "couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote",
    "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book",
    "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
]
# fmt: on
COCO_CLASSES = dict(zip(_IDS, _CLASSES, strict=True))


@dataclass
class Converted:
    """Weights under our names, and what belongs to them.

    Attributes:
        weights: name -> tensor.
        source: what the checkpoint was, for people.
        config: the config whose model computes what the original computes; None: not known.
        options: what that config must be told with ``--cfg-options``.
        notes: what else a user has to know, a sentence each.
        classes: class names in the order of the labels; None: not known.
        config_text: the config that the original was trained with, as text.
    """

    weights: dict[str, Tensor]
    source: str
    config: str | None = None
    options: dict[str, object] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    classes: list[str] | None = None
    config_text: str | None = None


def add_batch_counts(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every batch norm the counter that frozen ones come without.

    Args:
        weights: name -> tensor.
    """
    counts = {}
    for name in weights:
        stem, _, last = name.rpartition(".")
        if last == "running_var" and f"{stem}.num_batches_tracked" not in weights:
            counts[f"{stem}.num_batches_tracked"] = torch.tensor(0)
    return weights | counts


def require_tensors(state: object, source: str) -> dict[str, Tensor]:
    """The state dict, if it is one.

    Args:
        state: what stands in its place.
        source: where it comes from, for messages.

    Raises:
        ValueError: there is something else than tensors by name in it, or nothing.
    """
    if not isinstance(state, dict) or not state:
        raise ValueError(f"{source} holds no weights: expected a dict of tensors")
    others = [str(name) for name, value in state.items() if not isinstance(value, Tensor)]
    if others:
        raise ValueError(f"{source}: not tensors: {', '.join(others[:5])} ({len(others)} in all)")
    return state


def unknown_names(names: Sequence[str], what: str) -> ValueError:
    """The error for parameters that a converter has no place for.

    Args:
        names: the parameters.
        what: whose they are not.
    """
    shown = ", ".join(names[:5])
    return ValueError(f"{len(names)} parameters are not those of {what}: {shown}")


def count_blocks(names: Iterable[str], prefix: str) -> int:
    """How many blocks a stage has, whose parameters are ``PREFIX`` + number + '.' + rest."""
    numbers = {n.removeprefix(prefix).split(".")[0] for n in names if n.startswith(prefix)}
    return len(numbers)
