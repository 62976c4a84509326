"""Training steps and detection, ours and those of peers, in turns in one process.

Peers are torchvision and, where it is installed, MMDetection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmdet_lite.apis.build import build_model, choose_device
from mmdet_lite.apis.config import section
from mmdet_lite.benchmarks import mmdetection, peers
from mmdet_lite.benchmarks.ceiling import count_flops, product_rate
from mmdet_lite.benchmarks.counts import Counts, count
from mmdet_lite.benchmarks.inputs import InputSize, random_batch
from mmdet_lite.benchmarks.memory import peak_memory
from mmdet_lite.benchmarks.profiling import count_launches, save_trace
from mmdet_lite.benchmarks.rows import Row, Run, count_row, take_turns, time_row
from mmdet_lite.compat.torchvision import convert_torchvision_state_dict
from mmdet_lite.engine.compiled_regions import CompiledRegions
from mmdet_lite.engine.optimizer import build_optimizer
from mmdet_lite.engine.progress import HostCopy, total_loss
from mmdet_lite.engine.settings import AUTOCAST_DTYPES, TrainSettings
from mmdet_lite.engine.update import WeightUpdate
from mmdet_lite.registry import SCHEDULES, build
from mmdet_lite.structures.samples import to_device

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

    @property
    def dtype(self) -> torch.dtype:
        """Of convolutions and products."""
        return AUTOCAST_DTYPES[self.precision] or torch.float32

    def autocast(self, device: torch.device) -> Callable:
        """Makes the context of the forward pass."""
        enabled = self.dtype is not torch.float32
        return partial(torch.autocast, device.type, self.dtype, enabled=enabled)


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
    traces: Path | None = None,
) -> list[Row]:
    """Time whole training steps: losses, gradients, update of the weights.

    Args:
        cfg: of a Faster or Mask R-CNN with a ResNet-50 and FPN.
        size: of the inputs.
        variants: of ours; torchvision's computes in float32.
        rounds, warmup: turns of each, and before these.
        traces: folder for a profiler's trace of one run of each.

    Returns:
        For each variant a row of times and one of peak memory, on a GPU one of kernel launches;
        rows of the rate, operations and waits, which cannot be seen of compiled ones.

    Raises:
        ValueError: the config's model is not one that torchvision has.
    """
    match = _Match(cfg, size)
    runs = {variant: partial(match.our_step, variant) for variant in variants}
    return _compare("training step", match, runs, match.their_steps(), rounds, warmup, traces)


def benchmark_infer(
    cfg: Config,
    size: InputSize,
    variants: Sequence[Variant],
    rounds: int = 10,
    warmup: int = 2,
    traces: Path | None = None,
) -> list[Row]:
    """Time detection, from pixels to boxes and mask probabilities; arguments as in
    :func:`benchmark_train`.

    Raises:
        ValueError: the config's model is not one that torchvision has, or a variant is compiled.
    """
    if any(variant.compile for variant in variants):
        raise ValueError("--variants: ',compile' is for training steps; detection is not compiled")
    match = _Match(cfg, size)
    runs = {variant: partial(match.our_detection, variant) for variant in variants}
    return _compare("detection", match, runs, match.their_detections(), rounds, warmup, traces)


class _Match:
    """Our model and those of peers, with the same weights, before the same images.

    Args:
        cfg: of a Faster or Mask R-CNN with a ResNet-50 and FPN.
        size: of the inputs.
    """

    def __init__(self, cfg: Config, size: InputSize):
        self.cfg, self.size = cfg, size
        self.device = choose_device()
        self.num_classes, self.with_masks = peers.kind_of(cfg)
        batch = random_batch(size, self.num_classes, self.with_masks)
        self.batch = to_device(batch, self.device)
        self.weights = convert_torchvision_state_dict(self.their_model().state_dict())

    def their_model(self) -> nn.Module:
        """The same in every call."""
        return peers.torchvision_detector(self.num_classes, self.with_masks, self.batch)

    def our_model(self, variant: Variant) -> nn.Module:
        """With the weights of torchvision's."""
        model = build_model(self.cfg)
        model.load_state_dict(self.weights)
        model = model.to(self.device)
        return model.to(memory_format=torch.channels_last) if variant.channels_last else model

    def our_step(self, variant: Variant) -> Run:
        """The step that training makes, with its checks of losses and gradients."""
        cfg, batch, model = self.cfg, self.batch, self.our_model(variant).train()
        settings = TrainSettings(**section(cfg, "train", TrainSettings))
        settings = replace(settings, precision=variant.precision)
        rules = section(cfg, "param_groups")
        optimizer = build_optimizer({**section(cfg, "optimizer"), "lr": _LR}, model, rules)
        update = WeightUpdate(model, optimizer, build(cfg.schedule, SCHEDULES), settings, 1000)
        autocast = variant.autocast(self.device)
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

    def our_detection(self, variant: Variant) -> Run:
        """From pixels to boxes and mask probabilities."""
        model, autocast = self.our_model(variant).eval(), variant.autocast(self.device)

        def detect() -> None:
            with torch.inference_mode(), autocast():
                model(self.batch)

        return detect

    def their_steps(self) -> dict[str, Callable[[], Run]]:
        """What makes the training step of each peer."""
        steps = {"torchvision": self._torchvision_step}
        return (
            {**steps, "MMDetection": self._mmdetection_step}
            if mmdetection.is_installed()
            else steps
        )

    def their_detections(self) -> dict[str, Callable[[], Run]]:
        """What makes the detection of each peer."""
        runs = {"torchvision": self._torchvision_detection}
        return (
            {**runs, "MMDetection": self._mmdetection_detection}
            if mmdetection.is_installed()
            else runs
        )

    def _torchvision_step(self) -> Run:
        """The step of torchvision's reference training."""
        model = self.their_model().train()
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=_LR, momentum=0.9, weight_decay=1e-4)
        return peers.training_step(model, optimizer, self.batch)

    def _torchvision_detection(self) -> Run:
        """From pixels to boxes and mask probabilities."""
        model = self.their_model().eval()
        images, _ = peers.torchvision_inputs(self.batch)

        def detect() -> None:
            with torch.inference_mode():
                model(images)

        return detect

    def _mmdetection_step(self) -> Run:
        return mmdetection.training_step(self._mmdetection_model().train(), self.batch, _LR)

    def _mmdetection_detection(self) -> Run:
        return mmdetection.detection(self._mmdetection_model().eval(), self.batch)

    def _mmdetection_model(self) -> nn.Module:
        return mmdetection.mmdetection_detector(
            self.num_classes, self.with_masks, self.weights, self.device
        )


def _compare(
    what: str,
    match: _Match,
    ours: dict[Variant, Callable[[], Run]],
    theirs: dict[str, Callable[[], Run]],
    rounds: int,
    warmup: int,
    traces: Path | None,
) -> list[Row]:
    """Times, peak memory and, but for compiled variants, counts of each against each peer's."""
    makers = {**ours, **theirs}
    memory = {name: peak_memory(make, match.device) for name, make in makers.items()}
    runs = {name: make() for name, make in makers.items()}
    for run in runs.values():
        run()  # makes what later runs use: anchors, the optimizer's state, compiled code
    # What is compiled does not show its operations.
    counts = {n: count(run) for n, run in runs.items() if n in theirs or not n.compile}
    seconds = take_turns(runs, rounds, warmup, match.device)
    is_gpu = match.device.type == "cuda"
    launches = {name: count_launches(run) for name, run in runs.items()} if is_gpu else {}
    for name, run in runs.items() if traces else ():
        file_name = name if name in theirs else name.name.replace(", ", "_")
        save_trace(run, traces / f"{file_name}.json")
    rows = []
    for variant in ours:
        case = f"{what}, {variant.name}"
        settings = {**asdict(match.size), "variant": variant.name, "rounds": rounds}
        for peer in theirs:
            rows.append(time_row(case, seconds[variant], seconds[peer], peer, settings))
        for peer in theirs:
            peaks = memory[variant], memory[peer]
            rows.append(count_row(f"{case}: peak memory", *peaks, peer, "MB", settings))
        for peer in theirs if launches else ():
            pair = launches[variant], launches[peer]
            rows.append(count_row(f"{case}: launches", *pair, peer, "launches", settings))
        if variant in counts:
            rates = (
                count_flops(runs[variant]) / median(seconds[variant]) / 1e9,
                product_rate(variant.dtype, match.device) / 1e9,
            )
            product = "a large product"
            rows.append(count_row(f"{case}: rate", *rates, product, "GFLOP/s", settings))
            for peer in theirs:
                rows += _count_rows(case, counts[variant], counts[peer], peer, settings)
    return rows


def _count_rows(
    case: str, ours: Counts, peer: Counts, peer_name: str, settings: dict[str, Any]
) -> list[Row]:
    kinds = {
        "other than convolutions and products": (ours.operations, peer.operations, "operations"),
        "convolutions and products": (ours.heavy, peer.heavy, "operations"),
        "host waits": (ours.waits, peer.waits, "waits"),
    }
    return [
        count_row(f"{case}: {name}", a, b, peer_name, unit, settings)
        for name, (a, b, unit) in kinds.items()
    ]
