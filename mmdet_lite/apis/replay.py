"""Running a dumped batch again, to find where a number that is not finite comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import nn
from torch.nn.utils import get_total_norm

from mmdet_lite.apis.batch_view import save_pictures
from mmdet_lite.apis.build import build_model, choose_device, read_path
from mmdet_lite.apis.classes import fill_num_classes
from mmdet_lite.apis.config import require, section
from mmdet_lite.apis.test import prepare_model
from mmdet_lite.engine.batch_dump import environment, load_batch
from mmdet_lite.engine.checkpoint import load_checkpoint
from mmdet_lite.engine.finite_trace import FiniteTrace, is_finite
from mmdet_lite.engine.progress import total_loss
from mmdet_lite.engine.randomness import seed_step, use_deterministic_algorithms
from mmdet_lite.engine.settings import AUTOCAST_DTYPES
from mmdet_lite.engine.weights import class_names, load_exactly
from mmdet_lite.structures.samples import Batch, to_device


@dataclass
class Replay:
    """What running a dumped batch again came to.

    Attributes:
        file: of the batch.
        weights: the file with the weights.
        batch: the batch, on the CPU.
        info: what was stored with it, see :func:`mmdet_lite.engine.batch_dump.save_batch`.
        precision: of the replay.
        environment: device, torch and CPU threads of the replay.
        values: the model's losses and other numbers, their sum ``loss``, and ``grad_norm``.
        trace: where the first number that is not finite was made.
        bad_weights: names of weights that were not finite beforehand.
        bad_gradients: names of parameters whose gradient is not finite.
        num_gradients: how many parameters have a gradient.
    """

    file: Path
    weights: Path
    batch: Batch
    info: dict[str, Any]
    precision: str
    environment: dict[str, str | int]
    values: dict[str, float]
    trace: FiniteTrace
    bad_weights: list[str]
    bad_gradients: list[str]
    num_gradients: int

    @property
    def not_finite(self) -> list[str]:
        """Names of the losses that are not finite, and ``grad_norm`` if it is not."""
        guarded = (name for name in self.values if "loss" in name or name == "grad_norm")
        return [name for name in guarded if not math.isfinite(self.values[name])]

    def is_identical(self, name: str) -> bool:
        """Whether a value is, bit for bit, the one of the run."""
        now, then = self.values.get(name), self.info["losses"].get(name)
        if now is None or then is None:
            return False
        return now == then or (math.isnan(now) and math.isnan(then))


def replay(
    cfg: Config,
    batch_file: str | Path,
    weights: str | Path | None = None,
    precision: str | None = None,
    show_dir: str | Path | None = None,
) -> Replay:
    """Compute the losses and gradients of a dumped batch, as the run did; nothing is updated.

    Sums depend on the number of CPU threads, so this process takes that of the run.

    Args:
        cfg: the run's config.
        batch_file: ``batch_rank_<r>.pth``.
        weights: weights before the step, under 'model'; None: ``weights.pth`` beside the batch.
        precision: 'float32', 'bf16' or 'fp16'; None: the run's.
        show_dir: folder for pictures of the batch with its ground truth.

    Raises:
        FileNotFoundError: a file is missing.
        CheckpointError: a file is damaged, refused, or not what it should be.
        ValueError: the weights do not fit the model, the batch has no ground truth or the precision
            is none of these.
    """
    require(cfg, ("model",))
    batch_file = read_path(batch_file, "batch")
    batch, info = load_batch(batch_file)
    precision = precision or info["precision"]
    _check(batch_file, batch, precision)
    weights = _find_weights(batch_file, weights)
    model, classes = _load_model(cfg, weights)
    if show_dir is not None:
        save_pictures(batch, classes or _label_names(batch), Path(show_dir))
    device = choose_device()
    torch.set_num_threads(info["threads"])
    if section(cfg, "train").get("deterministic"):
        use_deterministic_algorithms()
    model = prepare_model(model, cfg, device).train()
    bad_weights = [name for name, value in model.state_dict().items() if not is_finite(value)]

    seed_step(info["seed"], info["iteration"], info["rank"])
    trace = FiniteTrace(model)
    values = _run(trace, to_device(batch, device), precision)
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    values["grad_norm"] = get_total_norm(list(gradients.values())).item()
    return Replay(
        file=batch_file,
        weights=weights,
        batch=batch,
        info=info,
        precision=precision,
        environment=environment(device),
        values=values,
        trace=trace,
        bad_weights=bad_weights,
        bad_gradients=[name for name, value in gradients.items() if not is_finite(value)],
        num_gradients=len(gradients),
    )


def _check(batch_file: Path, batch: Batch, precision: str) -> None:
    if batch.gt is None:
        raise ValueError(f"{batch_file} has no ground truth, without which there are no losses")
    if precision not in AUTOCAST_DTYPES:
        raise ValueError(f"precision is {precision!r}, expected {', '.join(AUTOCAST_DTYPES)}")


def _find_weights(batch_file: Path, weights: str | Path | None) -> Path:
    if weights is not None:
        return read_path(weights, "--weights")
    beside = batch_file.with_name("weights.pth")
    if not beside.is_file():
        raise FileNotFoundError(
            f"there is no weights.pth beside {batch_file}; give the weights before the step, or a "
            "checkpoint of shortly before, with --weights"
        )
    return beside


def _load_model(cfg: Config, weights: Path) -> tuple[nn.Module, list[str] | None]:
    """The model with the weights that were trained, never their average; and its class names."""
    content = load_checkpoint(weights)
    if not isinstance(content.get("model"), dict):
        raise ValueError(
            f"{weights} has no weights under 'model', only {', '.join(map(str, content))}; give "
            "the weights.pth of a dumped batch, or a checkpoint of a run"
        )
    classes = class_names(content)
    if classes is not None:
        cfg = fill_num_classes(cfg, classes, str(weights))
    model = build_model(cfg)
    load_exactly(model, content["model"], str(weights))
    return model, classes


def _label_names(batch: Batch) -> list[str]:
    return [str(label) for label in range(int(batch.gt.labels.max()) + 1)]


def _run(trace: FiniteTrace, batch: Batch, precision: str) -> dict[str, float]:
    dtype = AUTOCAST_DTYPES[precision]
    with torch.autocast(batch.images.device.type, dtype, enabled=dtype is not None):
        losses = trace.forward(batch)
    total = total_loss(losses)
    trace.backward(total)
    return {
        name: value.detach().float().item() for name, value in {**losses, "loss": total}.items()
    }
