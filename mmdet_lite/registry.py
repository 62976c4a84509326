"""The registries, and the one ``build()`` that turns a config dict into an object."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

from mmengine.registry import Registry

from mmdet_lite.argument_types import check_types

MODELS = Registry("model", scope="mmdet_lite", locations=["mmdet_lite.models.registered"])
DATASETS = Registry("dataset", scope="mmdet_lite", locations=["mmdet_lite.data.registered"])
TRANSFORMS = Registry("transform", scope="mmdet_lite", locations=["mmdet_lite.data.registered"])
METRICS = Registry("metric", scope="mmdet_lite", locations=["mmdet_lite.evaluation"])
OPTIMIZERS = Registry("optimizer", scope="mmdet_lite", locations=["mmdet_lite.engine"])
SCHEDULES = Registry("schedule", scope="mmdet_lite", locations=["mmdet_lite.engine"])
HOOKS = Registry("hook", scope="mmdet_lite", locations=["mmdet_lite.engine"])
WRITERS = Registry("writer", scope="mmdet_lite", locations=["mmdet_lite.engine.writers"])

ALL_REGISTRIES = (MODELS, DATASETS, TRANSFORMS, METRICS, OPTIMIZERS, SCHEDULES, HOOKS, WRITERS)


def build(cfg: dict, registry: Registry, **given: Any) -> Any:
    """Turn a config dict into an object: build nested dicts, then call the class with keywords.

    A nested dict that has a ``type`` is built too, from whichever registry knows that type; but the
    value of a key that ends in ``_cfg`` (mmcv's ``norm_cfg``) is an argument as it stands.

    Args:
        cfg: ``dict(type='ClassName', **arguments)``; it is not changed.
        registry: where the outermost ``type`` must be registered.
        **given: arguments that only the caller knows (the optimizer's parameters, for example).

    Returns:
        The object.

    Raises:
        TypeError: ``cfg`` is not a dict, or the class does not accept the arguments, or its type
            hints ask for others: a number where there is text, for example.
        KeyError: there is no ``type``, or no such type is registered.
    """
    cls, arguments = _read(cfg, registry, given)
    return cls(**arguments, **given)


def check(cfg: dict, registry: Registry, **given: Any) -> None:
    """Raise what :func:`build` would before it calls the class; nested dicts are built."""
    _read(cfg, registry, given)


def find_class(name: str | type, registries: tuple[Registry, ...] = ALL_REGISTRIES) -> type:
    """Look a registered class up by its name.

    What is registered already comes first: a transform is found without importing the models.

    Raises:
        KeyError: no such name; the message lists near matches and where else it is registered.
    """
    if isinstance(name, type):
        return name
    for registry in registries:
        if name in registry.module_dict:
            return registry.module_dict[name]
    for registry in registries:
        registry.import_from_location()
        if name in registry.module_dict:
            return registry.module_dict[name]
    raise KeyError(_unknown_type_message(name, registries))


def _read(cfg: dict, registry: Registry, given: dict[str, Any]) -> tuple[type, dict[str, Any]]:
    """The class that a config dict names, and its arguments, which fit together."""
    if not isinstance(cfg, dict):
        raise TypeError(f"expected a dict with 'type' for a {registry.name}, got {cfg!r}")
    if "type" not in cfg:
        raise KeyError(f"the {registry.name} config has no 'type': {dict(cfg)}")
    cls = find_class(cfg["type"], (registry,))
    if twice := sorted(set(cfg) & set(given)):
        raise TypeError(
            f"{cls.__name__}: {', '.join(map(repr, twice))} is set by the run and cannot stand in "
            f"the {registry.name} config; remove it there"
        )
    arguments = _build_items({key: value for key, value in cfg.items() if key != "type"})
    _check_arguments(cls, arguments | given)
    check_types(cls, arguments, _is_built)
    return cls, arguments


def _build_items(items: dict) -> dict:
    return {k: v if k.endswith("_cfg") else _build_nested(v) for k, v in items.items()}


def _build_nested(value: Any) -> Any:
    if isinstance(value, dict):
        if "type" not in value:
            return _build_items(value)
        cls = find_class(value["type"])
        owner = next((r for r in ALL_REGISTRIES if cls in r.module_dict.values()), MODELS)
        return build(value, owner)
    if isinstance(value, (list, tuple)):
        return type(value)(_build_nested(item) for item in value)
    return value


def _is_built(cls: type) -> bool:
    """Whether some registered class is this one, or derived from it; or it is one of torch's."""
    from torch import Tensor, nn  # here, so that reading a config needs no torch

    if cls in (nn.Module, Tensor):
        return True
    known = [one for registry in ALL_REGISTRIES for one in registry.module_dict.values()]
    return any(cls in getattr(one, "__mro__", ()) for one in known)


def _unknown_type_message(name: str, registries: tuple[Registry, ...]) -> str:
    for registry in ALL_REGISTRIES:
        registry.import_from_location()
    kinds = " or ".join(registry.name for registry in registries) + " "
    if len(registries) == len(ALL_REGISTRIES):
        kinds = ""
    known = sorted({key for registry in registries for key in registry.module_dict})
    lower = {key.lower(): key for key in known}
    near = [lower[key] for key in difflib.get_close_matches(str(name).lower(), lower, n=3)]
    message = f"unknown {kinds}type {name!r}"
    elsewhere = [r.name for r in ALL_REGISTRIES if name in r.module_dict]
    if elsewhere:
        message += f" (it is registered as a {elsewhere[0]}, which cannot stand here)"
    message += f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    message += f" Registered: {', '.join(known)}." if not near else ""
    return message + " Classes of your own are found once `custom_imports` names their module."


def _check_arguments(cls: type, arguments: dict[str, Any]) -> None:
    parameters = inspect.signature(cls).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    accepted = [p.name for p in parameters]
    unknown = [name for name in arguments if name not in accepted]
    required = [
        p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL
    ]
    missing = [name for name in required if name not in arguments]
    if not unknown and not missing:
        return
    problems = []
    for name in unknown:
        near = difflib.get_close_matches(name, accepted, n=1)
        problems.append(
            f"unknown argument {name!r}" + (f" (did you mean {near[0]!r}?)" if near else "")
        )
    problems += [f"missing argument {name!r}" for name in missing]
    raise TypeError(f"{cls.__name__}: {'; '.join(problems)}. It accepts: {', '.join(accepted)}")
