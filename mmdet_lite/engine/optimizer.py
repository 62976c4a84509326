"""Optimizers from a config: torch's classes, and the parameter groups they work on."""

from __future__ import annotations

import inspect
import logging
import re
from collections import defaultdict
from dataclasses import dataclass, field
from numbers import Real

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mmdet_lite.engine.distributed import is_main, world_size
from mmdet_lite.ranges import check_not_negative, check_shares
from mmdet_lite.registry import OPTIMIZERS, build, check

logger = logging.getLogger(__name__)

_FUSED = ("cpu", "cuda")  # devices on which every optimizer that can be fused is

_RANGES = {
    ("lr", "weight_decay", "eps"): check_not_negative,
    ("momentum", "dampening", "betas[0]", "betas[1]"): check_shares,
}

NORM_LAYERS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.SyncBatchNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


def _register_torch_optimizers() -> None:
    for name, cls in vars(torch.optim).items():
        if isinstance(cls, type) and issubclass(cls, Optimizer) and cls is not Optimizer:
            OPTIMIZERS.register_module(name=name, module=cls)


_register_torch_optimizers()


@dataclass(frozen=True)
class ParamGroupRules:
    """Which parameters deviate from the optimizer's own lr and weight decay.

    Patterns are regular expressions searched in the parameter's name; the factors of all patterns
    that match are multiplied.

    Args:
        norm_decay: weight decay of the normalisation layers' weights and biases.
        bias_decay: weight decay of all other biases.
        bias_lr: factor on the learning rate of all biases but those of normalisation layers.
        lr_multipliers: pattern -> factor on the learning rate.
        decay_multipliers: pattern -> factor on the weight decay, after the two above.
        exempt: patterns of parameters to which the first three do not apply.
        split_biases: biases, those of normalisation layers too, form groups of their own, which a
            schedule can treat differently.

    Raises:
        ValueError: a number is negative.
    """

    norm_decay: float | None = None
    bias_decay: float | None = None
    bias_lr: float = 1.0
    lr_multipliers: dict[str, float] = field(default_factory=dict)
    decay_multipliers: dict[str, float] = field(default_factory=dict)
    exempt: tuple[str, ...] = ()
    split_biases: bool = False

    def __post_init__(self) -> None:
        numbers = {"norm_decay": self.norm_decay, "bias_decay": self.bias_decay}
        numbers |= {"bias_lr": self.bias_lr, **self.lr_multipliers, **self.decay_multipliers}
        given = {f"param_groups.{key}": v for key, v in numbers.items() if v is not None}
        check_not_negative("config", **given)

    def lr_factor(self, name: str, owner: nn.Module) -> float:
        """The factor on the learning rate of a parameter that belongs to the layer ``owner``."""
        is_bias = name.rpartition(".")[2] == "bias" and not isinstance(owner, NORM_LAYERS)
        own = self.bias_lr if is_bias and not self._is_exempt(name) else 1.0
        return own * _multiply(self.lr_multipliers, name)

    def is_split(self, name: str) -> bool:
        """Whether a parameter is kept apart from those that are no biases."""
        return self.split_biases and name.rpartition(".")[2] == "bias"

    def decay(self, name: str, owner: nn.Module, default: float) -> float:
        """The weight decay of a parameter that belongs to the layer ``owner``."""
        if self._is_exempt(name):
            pass
        elif self.norm_decay is not None and isinstance(owner, NORM_LAYERS):
            default = self.norm_decay
        elif self.bias_decay is not None and name.rpartition(".")[2] == "bias":
            default = self.bias_decay
        return default * _multiply(self.decay_multipliers, name)

    def _is_exempt(self, name: str) -> bool:
        return any(re.search(pattern, name) for pattern in self.exempt)


def build_optimizer(cfg: dict, model: nn.Module, param_groups: dict | None = None) -> Optimizer:
    """Build an optimizer over the model's trainable parameters.

    Args:
        cfg: ``dict(type='SGD', lr=0.02, ...)``, from ``torch.optim`` or registered by you. torch's
            are fused where they can be, unless ``fused=False`` or ``foreach=True`` is set.
        model: its parameters with ``requires_grad`` are optimized, whatever else is left alone.
        param_groups: arguments of :class:`ParamGroupRules`.

    Returns:
        The optimizer. Parameters that share lr and weight decay form a group, which knows their
        names (``param_names``); the group on the optimizer's own lr comes first, biases that are
        split off come last.

    Raises:
        KeyError: there is no such optimizer.
        TypeError: an argument is unknown or missing.
        ValueError: nothing is trainable, a value is out of the optimizer's range, or a multiplier
            pattern matches no trainable parameter.
    """
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise ValueError(
            f"{type(model).__name__} has no trainable parameter (none has requires_grad); "
            "freeze fewer layers"
        )
    check_optimizer(cfg)
    rules = build({"type": ParamGroupRules, **(param_groups or {})}, OPTIMIZERS)
    _check_patterns(rules, list(trainable))
    everything = {"params": list(trainable.items())}
    cfg = _fused(cfg, trainable)
    try:
        defaults = build(cfg, OPTIMIZERS, params=[everything]).defaults
    except ValueError as error:  # in torch's words, which do not say whose value it is
        settings = ", ".join(f"{k}={v!r}" for k, v in cfg.items() if k not in ("type", "fused"))
        raise ValueError(f"config: optimizer {cfg['type']} has {settings}: {error}") from error
    groups = _group_parameters(model, trainable, rules, defaults)
    optimizer = build(cfg, OPTIMIZERS, params=groups)
    _log_summary(optimizer, model)
    return optimizer


def check_optimizer(cfg: dict) -> None:
    """Find mistakes in the optimizer's config without a model.

    torch does not check all of its numbers: with a momentum of 2 it diverges.

    Args:
        cfg: as for :func:`build_optimizer`.

    Raises:
        KeyError: there is no such optimizer.
        TypeError: an argument is unknown or missing, or of another type.
        ValueError: a number is out of its range.
    """
    check(cfg, OPTIMIZERS, params=None)
    numbers = {key: value for key, value in cfg.items() if isinstance(value, Real)}
    betas = cfg.get("betas") or ()
    numbers |= {f"betas[{i}]": value for i, value in enumerate(betas)}
    for names, check_range in _RANGES.items():
        given = {f"optimizer.{key}": v for key, v in numbers.items() if key in names}
        check_range("config", **given)


def shard(optimizer: Optimizer) -> Optimizer:
    """Keep each part of an optimizer's state on one process only (ZeRO stage 1).

    The weights after a step are the same. A single process keeps the optimizer as it is.

    Args:
        optimizer: newly built, without state.
    """
    if world_size() == 1:
        return optimizer
    from torch.distributed.optim import ZeroRedundancyOptimizer

    groups = [dict(group) for group in optimizer.param_groups]
    accepted = inspect.signature(type(optimizer)).parameters  # AdamW's defaults hold one more
    defaults = {name: value for name, value in optimizer.defaults.items() if name in accepted}
    return ZeroRedundancyOptimizer(groups, type(optimizer), **defaults)


def full_state(optimizer: Optimizer) -> dict | None:
    """An optimizer's whole state; of a sharded one on the main process only, None on the others.

    All processes call it together.
    """
    if hasattr(optimizer, "consolidate_state_dict"):
        optimizer.consolidate_state_dict(to=0)
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # the copies to the host are under way
        if not is_main():
            return None
    return optimizer.state_dict()


def algorithm(optimizer: Optimizer) -> str:
    """The name of an optimizer's class; of a sharded one, of what is sharded."""
    return type(getattr(optimizer, "optim", optimizer)).__name__


def scale_lr(lr: float, base_batch_size: int, actual_batch_size: int) -> float:
    """Scale a learning rate linearly with the batch size, and say so in the log.

    Args:
        lr: the learning rate meant for ``base_batch_size``.
        base_batch_size: images per optimizer step that ``lr`` was tuned for.
        actual_batch_size: images per optimizer step of this run, over all processes.

    Returns:
        The learning rate for this run.
    """
    scaled = lr * actual_batch_size / base_batch_size
    logger.info(
        "learning rate: %g in the config, for batches of %d images; this run has %d, so %g",
        lr,
        base_batch_size,
        actual_batch_size,
        scaled,
    )
    return scaled


def _fused(cfg: dict, parameters: dict[str, Tensor]) -> dict:
    """The config with ``fused=True`` where torch has such a step and nothing else is asked for."""
    cls = OPTIMIZERS.get(cfg.get("type")) if isinstance(cfg.get("type"), str) else None
    if cls is None or cls.__module__.partition(".")[0] != "torch":
        return cfg
    accepts = "fused" in inspect.signature(cls).parameters
    asked = any(cfg.get(name) for name in ("foreach", "capturable", "differentiable"))
    suits = all(p.is_floating_point() and p.device.type in _FUSED for p in parameters.values())
    return {"fused": True, **cfg} if accepts and suits and not asked else cfg


def _group_parameters(
    model: nn.Module, trainable: dict[str, Tensor], rules: ParamGroupRules, defaults: dict
) -> list[dict]:
    """Parameters of equal lr factor and weight decay together; names travel with them."""
    groups = defaultdict(list)
    for name, parameter in trainable.items():
        owner = model.get_submodule(name.rpartition(".")[0])
        decay = rules.decay(name, owner, defaults.get("weight_decay", 0.0))
        key = (rules.is_split(name), rules.lr_factor(name, owner), decay)
        groups[key].append((name, parameter))
    ordered = sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] != 1))
    return [
        {"params": members, "lr": defaults["lr"] * factor, "weight_decay": decay}
        for (_, factor, decay), members in ordered
    ]


def _multiply(multipliers: dict[str, float], name: str) -> float:
    product = 1.0
    for pattern, factor in multipliers.items():
        if re.search(pattern, name):
            product *= factor
    return product


def _check_patterns(rules: ParamGroupRules, names: list[str]) -> None:
    problems = [
        f"{option} {pattern!r}"
        for option in ("lr_multipliers", "decay_multipliers", "exempt")
        for pattern in getattr(rules, option)
        if not any(re.search(pattern, name) for name in names)
    ]
    if problems:
        raise ValueError(
            f"param_groups: {', '.join(problems)} matches no trainable parameter. Patterns are "
            f"regular expressions searched in names like {', '.join(names[:3])}"
        )


def _log_summary(optimizer: Optimizer, model: nn.Module) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    frozen = sum(1 for p in model.parameters() if not p.requires_grad)
    logger.info(
        "optimizer %s: %d trainable parameters (%.2f M values), %d frozen; parameter groups: %d",
        type(optimizer).__name__,
        len(parameters),
        sum(p.numel() for p in parameters) / 1e6,
        frozen,
        len(optimizer.param_groups),
    )
