"""Whether the maps of a detector's backbone are those that its neck takes, and so on to its heads.

Letters: L levels, C channels.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

_IMAGES = 2  # a batch norm in training wants several values a channel
_CELLS = 2  # sides of the coarsest map, for the same reason


def check_connections(model: nn.Module) -> None:
    """Compare channels and strides of feature maps with what the config says of them.

    Images pass through backbone and neck on the meta device, on which only shapes are computed; the
    model stays as it is. Parts that do not tell what they take, or cannot run there, are left out.

    Args:
        model: a detector, on any device.

    Raises:
        ValueError: channels or strides differ; the message names the key to change.
    """
    backbone, neck = getattr(model, "backbone", None), getattr(model, "neck", None)
    heads = dict(_heads(model))
    if not isinstance(backbone, nn.Module) or not heads:
        return
    strides = [stride for head in heads.values() for stride in _strides(head) or ()]
    side = _CELLS * max(strides, default=64)
    maps = _run(backbone, torch.empty(_IMAGES, 3, side, side, device="meta"))
    if maps is None:
        return
    source = f"model.backbone ({type(backbone).__name__})"
    if neck is not None:
        _check_channels("model.neck", getattr(neck, "in_channels", None), maps, source)
        maps = _run(neck, maps)
        source = f"model.neck ({type(neck).__name__})"
    for name, head in heads.items() if maps is not None else ():
        _check_channels(name, getattr(head, "in_channels", None), maps, source)
        _check_strides(name, head, maps, side, source)


def _heads(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """What looks at the feature maps, or at regions of them, by its key in the config."""
    for name in ("bbox_head", "rpn_head"):
        if isinstance(head := getattr(model, name, None), nn.Module):
            yield f"model.{name}", head
    roi_head = getattr(model, "roi_head", None)
    names = ["bbox_roi_extractor", "mask_roi_extractor"]
    if getattr(roi_head, "shared_head", None) is None:  # which has channels of its own
        names += ["bbox_head", "mask_head"]
    for name in names:
        part = getattr(roi_head, name, None)
        stages = enumerate(part) if isinstance(part, nn.ModuleList) else [("", part)]
        for stage, module in stages:
            if isinstance(module, nn.Module):
                yield f"model.roi_head.{name}" + (f".{stage}" if stage != "" else ""), module


def _run(module: nn.Module, inputs: Any) -> Sequence[Tensor] | None:
    """The maps, without values; None where they cannot be computed."""
    tensors = (*module.named_parameters(), *module.named_buffers())
    empty = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors}
    try:
        with torch.no_grad():
            maps = functional_call(module, empty, (inputs,))
    except Exception:  # of a user's own, as a rule; its first step will say what is wrong with it
        return None
    return maps if all(isinstance(one, Tensor) and one.dim() == 4 for one in maps) else None


def _check_channels(name: str, expected: Any, maps: Sequence[Tensor], source: str) -> None:
    given = [one.shape[1] for one in maps]
    if expected is None:
        return
    if isinstance(expected, int):
        fits, right = set(given) == {expected}, given[0]
    else:
        fits, right = list(expected) == given, given
    if not fits:
        shown = expected if isinstance(expected, int) else list(expected)
        raise ValueError(
            f"{name}.in_channels is {shown}, but {source} gives {len(given)} maps of {given} "
            f"channels: set {name}.in_channels={right}, or change what gives them"
        )


def _strides(head: nn.Module) -> Sequence[int] | None:
    generator = getattr(head, "anchor_generator", getattr(head, "prior_generator", None))
    return getattr(generator, "strides", getattr(head, "featmap_strides", None))


def _check_strides(
    name: str, head: nn.Module, maps: Sequence[Tensor], side: int, source: str
) -> None:
    expected = _strides(head)
    if expected is None or not all(isinstance(stride, int) for stride in expected):
        return
    given = [side // one.shape[2] for one in maps]
    pools = hasattr(head, "featmap_strides")  # which may leave out the last levels
    if list(expected) != (given[: len(expected)] if pools else given):
        raise ValueError(
            f"{name}.{_key_of_strides(head)} is {list(expected)}, but {source} gives {len(given)} "
            f"maps of the strides {given}"
        )


def _key_of_strides(head: nn.Module) -> str:
    """Where the config has them: the head's own argument or one of its generator's."""
    arguments = inspect.signature(type(head)).parameters
    generators = ("anchor_generator", "prior_generator")
    generator = next((name for name in generators if name in arguments), None)
    return (
        f"{generator}.strides"
        if generator
        else next((name for name in ("featmap_strides", "strides") if name in arguments), "strides")
    )
