"""The settings of a training run, checked before anything is built."""

from __future__ import annotations

from dataclasses import dataclass

import torch

COMPILE_MODES = ("default", "reduce-overhead")
AUTOCAST_DTYPES = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
_POSITIVE = (
    "max_epochs",
    "max_iters",
    "val_interval",
    "checkpoint_interval",
    "keep_last",
    "log_interval",
    "accumulate",
    "clip_grad_norm",
    "max_skips",
)
_SWITCHES = ("channels_last", "deterministic", "sync_bn", "shard_optimizer")


def weights_format(
    channels_last: bool | None, precision: str, device: torch.device
) -> torch.memory_format:
    """The memory format of convolution weights; arguments as in :class:`TrainSettings`."""
    if channels_last is None:
        channels_last = device.type == "cpu" or precision != "float32"
    return torch.channels_last if channels_last else torch.preserve_format


@dataclass
class TrainSettings:
    """How long, how precisely and with what records to train.

    Intervals are counted like the run: in epochs with ``max_epochs``, in iterations with
    ``max_iters``. An iteration is one batch. The end of a run is always validated and saved.

    Args:
        max_epochs: length of the run in epochs; or
        max_iters: in iterations. Exactly one of the two.
        val_interval: between validations; None: every epoch, or only at the end of a run that is
            counted in iterations.
        checkpoint_interval: between checkpoints; None: as ``val_interval``.
        keep_last: how many of the periodic checkpoints to keep, beside the best; None: all.
        best_metric: the metric that decides which checkpoint is the best (the highest value);
            None: the first that the evaluation gives.
        log_interval: iterations between two log lines.
        val_pictures: how many pictures of a validation, prediction beside ground truth, the run's
            writers are given.
        precision: 'float32', or autocast to 'bf16' or 'fp16' (with a gradient scaler).
        channels_last: keep the model's convolution weights in channels-last memory format; None:
            where that is faster as a rule, on a CPU and in reduced precision.
        compile: 'default' lets torch compile backbone, neck and dense head for each shape of
            images, 'reduce-overhead' (on GPUs only) record them as CUDA graphs too; None: neither.
        accumulate: batches per optimizer step; their gradients are averaged.
        clip_grad_norm: upper limit of the gradient's norm; None: no limit.
        ema: ``dict(decay=..., ramp_up=...)`` to keep an exponential moving average of the
            weights, which is then what is validated; None: no average.
        deterministic: only deterministic algorithms; an operation that has none is an error.
        on_nonfinite: what to do about a step whose loss or gradient is not finite; it never changes
            the weights. 'stop' ends the run and leaves the batch on disk, 'skip' goes on.
        max_skips: 'skip' stops too at this many such steps in a row.
        sync_bn: let batch normalisation use the statistics of all processes (on GPUs only).
        shard_optimizer: keep each part of the optimizer's state on one process only (ZeRO stage 1).

    Raises:
        ValueError: settings are out of range or contradict each other; all of them are listed.
    """

    max_epochs: int | None = None
    max_iters: int | None = None
    val_interval: int | None = None
    checkpoint_interval: int | None = None
    keep_last: int | None = 3
    best_metric: str | None = None
    log_interval: int = 50
    val_pictures: int = 4
    precision: str = "float32"
    channels_last: bool | None = None
    compile: str | None = None
    accumulate: int = 1
    clip_grad_norm: float | None = None
    ema: dict | None = None
    deterministic: bool = False
    on_nonfinite: str = "stop"
    max_skips: int = 10
    sync_bn: bool = False
    shard_optimizer: bool = False

    def __post_init__(self) -> None:
        if problems := self._problems():
            raise ValueError("config: train: " + "; ".join(problems))
        if self.val_interval is None:
            self.val_interval = 1 if self.max_epochs else self.max_iters
        if self.checkpoint_interval is None:
            self.checkpoint_interval = self.val_interval

    def memory_format(self, device: torch.device) -> torch.memory_format:
        """That of the convolutions' weights, for ``model.to()``."""
        return weights_format(self.channels_last, self.precision, device)

    @property
    def length(self) -> int:
        """Length of the run, in epochs or iterations."""
        return self.max_epochs or self.max_iters

    def unit(self, iterations_per_epoch: int) -> int:
        """How many iterations the run's length and intervals count as one."""
        return iterations_per_epoch if self.max_epochs else 1

    def _problems(self) -> list[str]:
        return self._wrong_types() or self._wrong_values()

    def _wrong_types(self) -> list[str]:
        expected = {name: (int, "a whole number") for name in (*_POSITIVE, "val_pictures")}
        expected["clip_grad_norm"] = ((int, float), "a number")
        expected |= {name: (bool, "True or False") for name in _SWITCHES}
        expected["ema"] = (dict, "dict(decay=..., ramp_up=...)")
        given = {name: getattr(self, name) for name in expected}
        return [
            f"{name} is {value!r}, expected {expected[name][1]}"
            for name, value in given.items()
            if value is not None
            and (
                not isinstance(value, expected[name][0])
                or (isinstance(value, bool) and expected[name][0] is not bool)
            )
        ]

    def _wrong_values(self) -> list[str]:
        problems = [
            f"{name} is {getattr(self, name)}, expected more than 0"
            for name in _POSITIVE
            if getattr(self, name) is not None and getattr(self, name) <= 0
        ]
        if self.val_pictures < 0:
            problems.append(f"val_pictures is {self.val_pictures}, expected 0 or more")
        if (self.max_epochs is None) == (self.max_iters is None):
            problems.append(
                "exactly one of max_epochs and max_iters must be set, they are "
                f"{self.max_epochs} and {self.max_iters}"
            )
        if self.precision not in AUTOCAST_DTYPES:
            problems.append(
                f"precision is {self.precision!r}, expected {', '.join(map(repr, AUTOCAST_DTYPES))}"
            )
        problems += self._wrong_compile()
        if self.on_nonfinite not in ("stop", "skip"):
            problems.append(f"on_nonfinite is {self.on_nonfinite!r}, expected 'stop' or 'skip'")
        if unknown := set(self.ema or ()) - {"decay", "ramp_up"}:
            problems.append(f"ema has {sorted(unknown)}, expected only 'decay' and 'ramp_up'")
        return problems

    def _wrong_compile(self) -> list[str]:
        if self.compile is not None and self.compile not in COMPILE_MODES:
            modes = ", ".join(map(repr, COMPILE_MODES))
            return [f"compile is {self.compile!r}, expected None, {modes}"]
        if self.compile == "reduce-overhead" and self.accumulate > 1:
            # the gradients of a batch lie where a replay of the graph writes those of the next
            return [
                f"compile is 'reduce-overhead', which cannot add up gradients, and accumulate is "
                f"{self.accumulate}: use compile='default'"
            ]
        return []
