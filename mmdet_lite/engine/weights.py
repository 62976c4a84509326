"""Loading weights into a model, strictly or as far as they fit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from mmdet_lite.engine.checkpoint import load_checkpoint
from mmdet_lite.models.class_rows import ClassRows

logger = logging.getLogger(__name__)

_LISTED = 10
_MOST_CLASS_TENSORS = 10  # tensors that grow with the number of classes, in any of the detectors


@dataclass
class _Mismatch:
    """How given weights differ from the model's; shapes are (given, the model's)."""

    missing: list[str]
    unexpected: list[str]
    reshaped: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def any(self) -> bool:
        return bool(self.missing or self.unexpected or self.reshaped)

    def report(self, limit: int) -> str:
        """One line a kind of difference, each with its count and the first ``limit`` names."""
        reshaped = [f"{k} {given} -> {own}" for k, (given, own) in self.reshaped.items()]
        lines = [
            _list_names("missing", self.missing, limit),
            _list_names("not in the model", self.unexpected, limit),
            _list_names("of another shape (given -> model)", reshaped, limit),
        ]
        return "\n".join(f"  {line}" for line in lines if line)


def load_weights(
    model: nn.Module,
    checkpoint: dict | str | Path,
    strict: bool = True,
    classes: Sequence[str] | None = None,
) -> list[str] | None:
    """Load weights: all of them exactly, or (``strict=False``) those that fit.

    Averaged (EMA) weights are preferred where the checkpoint has them, since they are what its
    metrics were measured with.

    Args:
        model: if ``classes`` is given with ``class_rows()``, state-dict name -> ``ClassRows``.
        checkpoint: a file of torch.save or ``.safetensors``, or the dict inside one: ours,
            ``{'state_dict': ...}``, or bare tensors.
        strict: names and shapes must be equal. Otherwise what does not fit is left out and listed.
        classes: the model's class names; rows that belong to a class are then taken by its name
            from the checkpoint, which must know its own names. Other classes stay initialised.

    Returns:
        The class names that the checkpoint holds, or None.

    Raises:
        ValueError: the weights do not fit, or class names are wanted and missing.
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be read safely.
    """
    source = "the given weights" if isinstance(checkpoint, dict) else str(checkpoint)
    content = checkpoint if isinstance(checkpoint, dict) else load_checkpoint(checkpoint)
    weights = find_weights(content, source)
    known = class_names(content)
    if classes is not None:
        weights = _match_classes(model, weights, known, classes, source)
    if strict:
        load_exactly(model, weights, source)
    else:
        _load_fitting(model, weights, source)
    logger.info("%s: loaded into %s", source, type(model).__name__)
    return known


def class_names(content: dict) -> list[str] | None:
    """The class names that a checkpoint (ours, or MMDetection 3.x's) was trained with.

    Args:
        content: the checkpoint.
    """
    meta = content.get("meta")
    if not isinstance(meta, dict):
        return None
    names = meta.get("classes") or (meta.get("dataset_meta") or {}).get("classes")
    return list(names) if names else None


def load_exactly(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Load a state dict whose names and shapes must be the model's.

    Args:
        model: receives the weights.
        weights: name -> tensor.
        source: where they come from, for messages.

    Raises:
        ValueError: names or shapes differ; lists which.
    """
    check_fit(model, weights, source)
    model.load_state_dict(weights)


def check_fit(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Compare names and shapes; the model may be on the meta device.

    Args:
        model: the detector.
        weights: name -> tensor.
        source: where they come from, for messages.

    Raises:
        ValueError: names or shapes differ; lists which.
    """
    mismatch = _compare(weights, model.state_dict())
    if mismatch.any():
        raise ValueError(
            f"{source}: the weights do not fit {type(model).__name__}\n"
            f"{mismatch.report(_LISTED)}\n{_hint(mismatch, weights)}"
        )


def _load_fitting(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    mismatch = _compare(weights, model.state_dict())
    left_out = {*mismatch.unexpected, *mismatch.reshaped}
    fitting = {name: value for name, value in weights.items() if name not in left_out}
    if not fitting:
        raise ValueError(
            f"{source}: no weight fits {type(model).__name__}, it is of another architecture\n"
            f"{mismatch.report(_LISTED)}\n{_hint(mismatch, weights)}"
        )
    model.load_state_dict(fitting, strict=False)
    if mismatch.any():
        logger.warning(
            "%s: %d of %d tensors fit; these differ and were left out or left as initialised\n%s",
            source,
            len(fitting),
            len(weights),
            mismatch.report(_LISTED),
        )


def find_weights(content: dict, source: str, averaged: bool = True) -> dict[str, Tensor]:
    """The name -> tensor dict inside a checkpoint, without wrappers' prefixes.

    Args:
        content: the checkpoint.
        source: where it comes from, for messages.
        averaged: take the averaged (EMA) weights where there are some.

    Raises:
        ValueError: there are no weights.
    """
    keys = ("ema", "model", "state_dict") if averaged else ("model", "state_dict")
    candidates = [content[key] for key in keys if content.get(key)]
    weights = next((c for c in candidates if isinstance(c, dict)), content)
    if candidates and weights is content.get("ema"):
        logger.info("%s: taking the averaged (EMA) weights", source)
        weights = {name: value for name, value in weights.items() if name != "n_averaged"}
    others = [name for name, value in weights.items() if not isinstance(value, Tensor)]
    if others or not weights:
        raise ValueError(
            f"{source} holds no weights: expected a dict of tensors, or one under 'model' or "
            f"'state_dict'; found the keys {', '.join(map(str, list(content)[:_LISTED])) or 'none'}"
        )
    if all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def _compare(weights: dict[str, Tensor], own: dict[str, Tensor]) -> _Mismatch:
    return _Mismatch(
        missing=[name for name in own if name not in weights],
        unexpected=[name for name in weights if name not in own],
        reshaped={
            name: (tuple(value.shape), tuple(own[name].shape))
            for name, value in weights.items()
            if name in own and value.shape != own[name].shape
        },
    )


def _hint(mismatch: _Mismatch, weights: dict[str, Tensor]) -> str:
    if len(mismatch.unexpected) == len(weights):
        return (
            "None of its names is the model's. If another program made it (MMDetection, "
            "torchvision, detectron2, NanoDet-Plus, YOLOv5, YOLOv8), take it over with `mmdet-lite "
            "convert-checkpoint` first; otherwise use the config that it was trained with."
        )
    if mismatch.missing or mismatch.unexpected or len(mismatch.reshaped) > _MOST_CLASS_TENSORS:
        return "Was it made by another architecture? Use the config that it was trained with."
    return (
        "Was it trained on another number of classes? Use its own config; to fine-tune from it, "
        "set load_from, which leaves such tensors out."
    )


def _list_names(title: str, names: Sequence[str], limit: int) -> str:
    if not names:
        return ""
    shown = ", ".join(names[:limit])
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return f"{title} ({len(names)}): {shown}{more}"


def _match_classes(
    model: nn.Module,
    weights: dict[str, Tensor],
    old: Sequence[str] | None,
    new: Sequence[str],
    source: str,
) -> dict[str, Tensor]:
    """Reorder the rows of class-dependent tensors to the model's classes."""
    if old is None:
        raise ValueError(
            f"{source}: classes are to be matched by name, but it does not tell its class names "
            "(meta.classes); load it without matching classes"
        )
    shared = [name for name in new if name in old]
    if not shared:
        raise ValueError(
            f"{source}: none of its classes ({', '.join(old[:_LISTED])}) is among the model's "
            f"({', '.join(new[:_LISTED])}); load it without matching classes"
        )
    added = [name for name in new if name not in old]
    logger.info("%s: %d classes matched by name: %s", source, len(shared), ", ".join(shared))
    if added:
        logger.info("%s: not known there, left as initialised: %s", source, ", ".join(added))
    own = model.state_dict()
    matched = dict(weights)
    for name, layout in model.class_rows().items():
        value = weights.get(name)
        # a tensor of any other shape is not laid out by class: comparing will report it
        if value is not None and _has_rows(value, own[name], layout, len(old), len(new)):
            matched[name] = _take_rows(value, own[name], layout, old, new)
    return matched


def _has_rows(value: Tensor, own: Tensor, layout: ClassRows, old: int, new: int) -> bool:
    def count(classes: int) -> int:
        return layout.groups * (layout.shared + layout.rows * (classes + layout.has_background))

    is_laid_out = (len(value), len(own)) == (count(old), count(new))
    return is_laid_out and value.shape[1:] == own.shape[1:]


def _take_rows(
    value: Tensor, own: Tensor, layout: ClassRows, old: Sequence[str], new: Sequence[str]
) -> Tensor:
    """``own`` with the rows of the classes that ``value`` knows, and of none or the background."""
    result = own.detach().clone()
    groups = [tensor.unflatten(0, (layout.groups, -1)) for tensor in (result, value)]  # views
    groups[0][:, : layout.shared] = groups[1][:, : layout.shared]
    target, source = (group[:, layout.shared :].unflatten(1, (-1, layout.rows)) for group in groups)
    for index, name in enumerate(new):
        if name in old:
            target[:, index] = source[:, list(old).index(name)]
    target[:, len(new) :] = source[:, len(old) :]
    return result
