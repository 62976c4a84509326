"""What a checkpoint of a run holds, and how a run takes it back."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from mmdet_lite.engine.checkpoint import load_checkpoint
from mmdet_lite.engine.distributed import gather_to_main, rank, world_size
from mmdet_lite.engine.hooks import hook_states, load_hook_states
from mmdet_lite.engine.optimizer import algorithm, full_state
from mmdet_lite.engine.weights import load_exactly

if TYPE_CHECKING:
    from mmdet_lite.engine.trainer import Trainer

logger = logging.getLogger(__name__)


_FORMAT = 3  # of the dict below; a run of another format is not resumed


def run_state(trainer: Trainer) -> dict:
    """Everything that changes during training, taken after an optimizer step.

    All processes call it together. ``identity`` is what a resumed run must have in common with
    this one.
    """
    return {
        "model": trainer.model.state_dict(),
        "ema": None if trainer.ema is None else trainer.ema.state_dict(),
        "optimizer": full_state(trainer.optimizer),
        "lr_scheduler": trainer.update.lr_scheduler.state_dict(),
        "scaler": trainer.update.scaler.state_dict(),
        "progress": trainer.progress.state_dict(),
        "skips": trainer.guard.state_dict(),
        "compiled_shapes": _compiled_shapes(trainer),
        "hooks": hook_states(trainer.hooks),
        "iteration": trainer.iteration,
        "epoch": trainer.epoch,
        "metrics": trainer.metrics,
        "validated": trainer.validated,
        "best": trainer.best,
        "identity": _identity(trainer),
        "arithmetic": _arithmetic(trainer),
        "meta": trainer.meta,
    }


def load_run_state(trainer: Trainer, path: str | Path) -> None:
    """Put a trainer where the run that wrote a checkpoint was.

    Args:
        trainer: newly built, with the model, optimizer and settings of that run.
        path: the checkpoint.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file cannot be read safely.
        ValueError: it does not hold a run, or one that differs from this one.
    """
    state = load_checkpoint(path)
    _check_same_run(state, _identity(trainer), path)
    model = trainer.model
    load_exactly(model, state["model"], str(path))
    if trainer.ema is not None:
        trainer.ema.load_state_dict(state["ema"])
    _load_optimizer(trainer.optimizer, state["optimizer"])
    trainer.update.lr_scheduler.load_state_dict(state["lr_scheduler"])
    trainer.update.scaler.load_state_dict(state["scaler"])
    trainer.progress.load_state_dict(state["progress"])
    _load_compiled_shapes(trainer, state.get("compiled_shapes"))
    load_hook_states(trainer.hooks, state["hooks"])
    trainer.guard.load_state_dict(state["skips"])
    trainer.iteration = state["iteration"]
    trainer.metrics = state["metrics"]
    trainer.validated = state["validated"]
    trainer.best = state["best"]
    _tell_other_arithmetic(state["arithmetic"], _arithmetic(trainer), path)


def _compiled_shapes(trainer: Trainer) -> list[list[list[int]]] | None:
    """Those of every process, in the order of ranks; on the main process only."""
    if trainer.compiled is None:
        return None
    return gather_to_main([list(shape) for shape in trainer.compiled.shapes])


def _load_compiled_shapes(trainer: Trainer, shapes: list[list[list[int]]] | None) -> None:
    """Continue with this process's own, where there are as many processes as there were."""
    if trainer.compiled is not None and shapes is not None and len(shapes) == world_size():
        trainer.compiled.shapes = [tuple(shape) for shape in shapes[rank()]]


def _load_optimizer(optimizer: Optimizer, state: dict) -> None:
    """Load an optimizer's state with its settings, and say which of the config's these replace."""
    configured = [dict(group) for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    replaced = {
        f"{name} {ours[name]} by {theirs[name]}"
        for ours, theirs in zip(configured, optimizer.param_groups, strict=True)
        for name in ours.keys() & theirs.keys() - _changing(ours)
        if ours[name] != theirs[name]
    }
    if replaced:
        logger.warning(
            "a resumed run keeps the optimizer settings that it began with; this replaces %s. To "
            "train on with others, start a new run with load_from",
            ", ".join(sorted(replaced)),
        )


def _changing(group: dict) -> set[str]:
    """What a schedule changes in a parameter group, and what is no setting."""
    scheduled = {"momentum"} if "initial_momentum" in group else set()
    return {"params", "param_names", "lr"} | scheduled


def _identity(trainer: Trainer) -> dict:
    return {
        "optimizer": algorithm(trainer.optimizer),
        "parameter groups": [g.get("param_names") for g in trainer.optimizer.param_groups],
        "accumulate": trainer.settings.accumulate,
        "precision": trainer.settings.precision,
        "ema": trainer.ema is not None,
        "classes": trainer.meta.get("classes"),
        "images per iteration, over all processes": trainer.data.batch_size,
        "iterations per epoch": trainer.data.iterations_per_epoch,
        "checkpoint format": _FORMAT,
    }


def _arithmetic(trainer: Trainer) -> dict:
    """All that decides in which order and by which instructions a run takes its sums."""
    device = trainer.device
    if device.type == "cuda":
        of_device = {"device": torch.cuda.get_device_name(device)}
    else:
        of_device = {
            "device": f"{device.type} with {torch.backends.cpu.get_cpu_capability()}",
            "threads of a process": torch.get_num_threads(),
        }
    return {
        "processes": world_size(),
        **of_device,
        "torch": str(torch.__version__),
        "train.compile": trainer.settings.compile,
    }


def _tell_other_arithmetic(saved: dict, own: dict, path: str | Path) -> None:
    names = [name for name in {**saved, **own} if saved.get(name) != own.get(name)]
    if names:
        differences = (f"{name} {saved.get(name, '-')}, now {own.get(name, '-')}" for name in names)
        logger.warning(
            "%s was written with other arithmetic (%s): images, their order and their pixels are "
            "the same, but sums are taken otherwise, so the last digits differ",
            *(path, "; ".join(differences)),
        )


def _check_same_run(state: dict, identity: dict, path: str | Path) -> None:
    if "identity" not in state:
        raise ValueError(
            f"{path} holds no run to resume, only {', '.join(map(str, list(state)[:5]))}; to start "
            "a new run from its weights, set load_from"
        )
    saved = state["identity"]
    differing = [name for name in identity if saved.get(name) != identity[name]]
    if differing:
        listed = "; ".join(_difference(name, saved.get(name), identity[name]) for name in differing)
        raise ValueError(
            f"{path} cannot be resumed by this run, which differs: {listed}. Resume with the "
            "config of that run, or start a new run from its weights with load_from"
        )


def _difference(name: str, saved: Any, own: Any) -> str:
    if name == "parameter groups":
        return f"the {name} hold other parameters (frozen layers or param_groups changed?)"
    return f"{name} was {saved} and is {own}"
