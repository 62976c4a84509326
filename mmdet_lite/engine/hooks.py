"""Users' own code inside the loop."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from mmdet_lite.registry import HOOKS
from mmdet_lite.structures.samples import Batch

if TYPE_CHECKING:
    from mmdet_lite.engine.trainer import Trainer

logger = logging.getLogger(__name__)


class Hook:
    """Base class: override what you need, register it in ``HOOKS``, name it in the config.

    A hook reads the trainer's attributes (``iteration``, ``epoch``, ``max_iterations``, ``model``,
    ``optimizer``, ``log``, ``work_dir``, ``metrics``) and may call ``trainer.stop(reason)``.

    Each of several processes calls hooks of its own. Metrics are the same on all of them, losses
    are not. Only the main one (``engine.distributed.is_main``) should write files, and all or none
    must stop.
    """

    def before_train(self, trainer: Trainer) -> None:
        """Called once, after a resume has been loaded."""

    def before_step(self, trainer: Trainer, batch: Batch) -> None:
        """Called with the batch on the device; ``trainer.iteration`` counts from 0."""

    def after_step(self, trainer: Trainer, losses: dict[str, Tensor]) -> None:
        """Called after backward and update, with the model's losses, detached, on the device."""

    def after_epoch(self, trainer: Trainer) -> None:
        """Called when every image has been seen once more, before a validation that is due."""

    def after_validation(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        """Called after each validation, before the checkpoint is written."""

    def after_train(self, trainer: Trainer) -> None:
        """Called when training has reached its end (not after an error)."""

    def state_dict(self) -> dict:
        """What a resumed run needs, as tensors and plain values; it goes into each checkpoint."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        """Take back what :meth:`state_dict` returned."""


@HOOKS.register_module()
class EarlyStopping(Hook):
    """Stop when a metric has not risen for a number of validations in a row.

    Args:
        metric: name of the metric, higher is better.
        patience: validations without a new maximum after which training stops.
        min_delta: a new maximum must be higher than the last by more than this.
    """

    def __init__(self, metric: str, patience: int, min_delta: float = 0.0):
        if patience < 1:
            raise ValueError(f"EarlyStopping: patience is {patience}, expected 1 or more")
        self.metric = metric
        self.patience = patience
        self.min_delta = min_delta
        self.best = -math.inf
        self.validations_since_best = 0

    def before_train(self, trainer: Trainer) -> None:
        trainer.data.check_metric(self.metric, "EarlyStopping.metric")
        self._stop_if_due(trainer)  # the resumed run may have stopped already

    def after_validation(self, trainer: Trainer, metrics: dict[str, float]) -> None:
        if self.metric not in metrics:
            raise ValueError(
                f"EarlyStopping: there is no metric {self.metric!r}; the validation gave "
                f"{', '.join(metrics)}"
            )
        if metrics[self.metric] > self.best + self.min_delta:
            self.best = metrics[self.metric]
            self.validations_since_best = 0
        else:
            self.validations_since_best += 1
        self._stop_if_due(trainer)

    def state_dict(self) -> dict:
        return {"best": self.best, "validations_since_best": self.validations_since_best}

    def load_state_dict(self, state: dict) -> None:
        self.best = state["best"]
        self.validations_since_best = state["validations_since_best"]

    def _stop_if_due(self, trainer: Trainer) -> None:
        if self.validations_since_best >= self.patience:
            trainer.stop(
                f"{self.metric} has not risen above {self.best:.4f} for "
                f"{self.validations_since_best} validations"
            )


def hook_states(hooks: Sequence[Hook]) -> dict[str, dict]:
    """The hooks' states by class name; a class that occurs again is numbered."""
    return dict(zip(numbered_names(hooks), (hook.state_dict() for hook in hooks), strict=True))


def load_hook_states(hooks: Sequence[Hook], states: dict[str, dict]) -> None:
    """Give the hooks their states; warn of hooks without a state and of states without a hook."""
    by_name = dict(zip(numbered_names(hooks), hooks, strict=True))
    for name in by_name.keys() & states.keys():
        by_name[name].load_state_dict(states[name])
    for name in sorted(by_name.keys() - states.keys()):
        logger.warning("the checkpoint has no state of the hook %s: it starts anew", name)
    for name in sorted(states.keys() - by_name.keys()):
        logger.warning("the checkpoint has a state of the hook %s, which this run lacks", name)


def numbered_names(objects: Sequence[object]) -> list[str]:
    """Names of the objects' classes; where one occurs again it is numbered."""
    seen: Counter[str] = Counter()
    names = []
    for one in objects:
        name = type(one).__name__
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return names
