"""Training steps and detection, ours and torchvision's, in turns in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.build import build_model, choose_device
from mmdet_lite.apis.config import require, section
from mmdet_lite.benchmarks import peers
from mmdet_lite.benchmarks.ceiling import count_flops, product_rate
from mmdet_lite.benchmarks.counts import Counts, count
from mmdet_lite.benchmarks.inputs import InputSize, random_batch
from mmdet_lite.benchmarks.memory import peak_memory
from mmdet_lite.benchmarks.rows import Row, Run, count_row, take_turns, time_row
from mmdet_lite.compat.torchvision import convert_torchvision_state_dict
from mmdet_lite.engine.compiled_regions import CompiledRegions
from mmdet_lite.engine.optimizer import build_optimizer
from mmdet_lite.engine.progress import HostCopy, total_loss
from mmdet_lite.engine.settings import AUTOCAST_DTYPES, TrainSettings
from mmdet_lite.engine.update import WeightUpdate
from mmdet_lite.registry import SCHEDULES, build
from mmdet_lite.structures.samples import Batch, to_device

PEER = "torchvision"

_WORDS = ("channels_last", "compile")  # what a variant may have beside its precision

_LR = 1e-4  # the weights stay near those that both begin with


@dataclass(frozen=True)
class Variant:
    """How a model computes.

    Attributes:
        precision: 'float32', 'bf16' or 'fp16'.
        channels_last: memory format of weights and images.
        compile: with the parts compiled that ``train.compile='default'`` compiles.
    """

    precision: str = "float32"
    channels_last: bool = False
    compile: bool = False

    @property
    def name(self) -> str:
        """For people."""
        words = [word for word in _WORDS if getattr(self, word)]
        return ", ".join([self.precision, *words])


def parse_variant(text: str) -> Variant:
    """``bf16,channels_last,compile`` as a variant.

    Raises:
        ValueError: an unknown precision or word.
    """
    precision, *words = text.split(",")
    if precision not in AUTOCAST_DTYPES or not set(words) <= set(_WORDS):
        raise ValueError(
            f"--variants: expected {', '.join(AUTOCAST_DTYPES)}, alone or with "
            f"{' and '.join(f',{word}' for word in _WORDS)}, got {text!r}"
        )
    return Variant(precision, **dict.fromkeys(words, True))


def benchmark_train(
    cfg: Config,
    size: InputSize,
    variants: Sequence[Variant],
    rounds: int = 10,
    warmup: int = 2,
) -> list[Row]:
    """Time whole training steps: losses, gradients, update of the weights.

    Args:
        cfg: of a Faster or Mask R-CNN with a ResNet-50 and FPN.
        size: of the inputs.
        variants: of ours; torchvision's computes in float32.
        rounds, warmup: turns of each, and before these.

    Returns:
        For each variant a row of times and one of peak memory; a row each of operations and waits,
        which cannot be seen of compiled ones.

    Raises:
        ValueError: the config's model is not one that torchvision has.
    """
    device = choose_device()
    batch = to_device(_batch(cfg, size), device)
    runs = {variant.name: partial(_our_step, cfg, variant, batch) for variant in variants}
    runs[PEER] = partial(_their_step, cfg, batch)
    compiled = {variant.name for variant in variants if variant.compile}
    return _compare("training step", runs, size, rounds, warmup, device, uncounted=compiled)


def benchmark_infer(
    cfg: Config,
    size: InputSize,
    variants: Sequence[Variant],
    rounds: int = 10,
    warmup: int = 2,
) -> list[Row]:
    """Time detection, from pixels to boxes and mask probabilities; arguments as in
    :func:`benchmark_train`.

    Raises:
        ValueError: the config's model is not one that torchvision has, or a variant is compiled.
    """
    if any(variant.compile for variant in variants):
        raise ValueError("--variants: ',compile' is for training steps; detection is not compiled")
    device = choose_device()
    batch = to_device(_batch(cfg, size), device)
    runs = {variant.name: partial(_our_detection, cfg, variant, batch) for variant in variants}
    runs[PEER] = partial(_their_detection, cfg, batch)
    return _compare("detection", runs, size, rounds, warmup, device)


def _compare(
    what: str,
    makers: dict[str, Callable[[], Run]],
    size: InputSize,
    rounds: int,
    warmup: int,
    device: torch.device,
    uncounted: Set[str] = frozenset(),
) -> list[Row]:
    """Times, peak memory and, but for some, counts of each against the last one."""
    memory = {name: peak_memory(make, device) for name, make in makers.items()}
    runs = {name: make() for name, make in makers.items()}
    counts = {name: count(run) for name, run in runs.items() if name not in uncounted}
    seconds = take_turns(runs, rounds, warmup, device)
    rows = []
    for name in list(runs)[:-1]:
        case, settings = f"{what}, {name}", {**asdict(size), "variant": name, "rounds": rounds}
        rows.append(time_row(case, seconds[name], seconds[PEER], PEER, settings))
        if name in counts:
            rows.append(_rate_row(case, runs[name], median(seconds[name]), name, device, settings))
        rows.append(
            count_row(f"{case}: peak memory", memory[name], memory[PEER], PEER, "MB", settings)
        )
        if name in counts:
            rows += _count_rows(case, counts[name], counts[PEER], settings)
    return rows


def _rate_row(
    case: str,
    run: Run,
    seconds: float,
    variant: str,
    device: torch.device,
    settings: dict[str, Any],
) -> Row:
    """How near a variant comes to what the machine can do."""
    dtype = AUTOCAST_DTYPES[variant.partition(",")[0]] or torch.float32
    rates = count_flops(run) / seconds, product_rate(dtype, device)
    ours, peer = (rate / 1e9 for rate in rates)
    return count_row(f"{case}: rate", ours, peer, "a large product", "GFLOP/s", settings)


def _count_rows(case: str, ours: Counts, peer: Counts, settings: dict[str, Any]) -> list[Row]:
    kinds = {
        "other than convolutions and products": (ours.operations, peer.operations, "operations"),
        "convolutions and products": (ours.heavy, peer.heavy, "operations"),
        "host waits": (ours.waits, peer.waits, "waits"),
    }
    return [
        count_row(f"{case}: {name}", a, b, PEER, unit, settings)
        for name, (a, b, unit) in kinds.items()
    ]


def _batch(cfg: Config, size: InputSize) -> Batch:
    require(cfg, ("model",))
    num_classes, with_masks = _kind(cfg)
    return random_batch(size, num_classes, with_masks)


def _kind(cfg: Config) -> tuple[int, bool]:
    """Number of classes, and whether there are masks."""
    head = cfg.model.get("roi_head")
    backbone = cfg.model.get("backbone", {})
    if head is None or backbone.get("type") != "ResNet" or backbone.get("depth") != 50:
        raise ValueError(
            "the benchmark compares Faster and Mask R-CNN with a ResNet-50 and FPN, which "
            "torchvision has too; give a config of one of them, such as "
            "configs/mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py"
        )
    return head.bbox_head.num_classes, head.get("mask_head") is not None


def _their_model(cfg: Config, batch: Batch) -> nn.Module:
    return peers.torchvision_detector(*_kind(cfg), batch)


def _our_model(cfg: Config, variant: Variant, batch: Batch) -> nn.Module:
    """With the weights of torchvision's."""
    model = build_model(cfg)
    converted = convert_torchvision_state_dict(_their_model(cfg, batch).state_dict())
    model.load_state_dict(converted)
    model = model.to(batch.images.device)
    return model.to(memory_format=torch.channels_last) if variant.channels_last else model


def _autocast(precision: str, device: torch.device) -> Callable:
    dtype = AUTOCAST_DTYPES[precision]
    return partial(torch.autocast, device.type, dtype) if dtype else nullcontext


def _our_step(cfg: Config, variant: Variant, batch: Batch) -> Run:
    """The step that training makes, with its checks of losses and gradients."""
    model = _our_model(cfg, variant, batch).train()
    settings = TrainSettings(**section(cfg, "train", TrainSettings))
    settings = replace(settings, precision=variant.precision)
    rules = section(cfg, "param_groups")
    optimizer = build_optimizer({**section(cfg, "optimizer"), "lr": _LR}, model, rules)
    update = WeightUpdate(model, optimizer, build(cfg.schedule, SCHEDULES), settings, 1000)
    autocast = _autocast(variant.precision, batch.images.device)
    regions = CompiledRegions(model, "default") if variant.compile else None

    def step() -> None:
        compiled = nullcontext() if regions is None else regions.step(batch.images.shape)
        with autocast(), compiled:
            losses = model(batch)
        total = total_loss(losses)
        numbers = HostCopy({**losses, "loss": total})
        update.backward(total, 0)
        numbers.read()
        update.gradient_norm()
        update.apply()

    return step


def _their_step(cfg: Config, batch: Batch) -> Run:
    model = _their_model(cfg, batch).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=_LR, momentum=0.9, weight_decay=1e-4)
    return peers.training_step(model, optimizer, batch, nullcontext)


def _our_detection(cfg: Config, variant: Variant, batch: Batch) -> Run:
    model = _our_model(cfg, variant, batch).eval()
    autocast = _autocast(variant.precision, batch.images.device)

    def detect() -> None:
        with torch.inference_mode(), autocast():
            model(batch)

    return detect


def _their_detection(cfg: Config, batch: Batch) -> Run:
    model = _their_model(cfg, batch).eval()
    images, _ = peers.torchvision_inputs(batch)

    def detect() -> None:
        with torch.inference_mode():
            model(images)

    return detect
